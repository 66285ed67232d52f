"""From plans to SQL, as sqlglot trees: one strategy per family of engines."""
