"""The algebra of windowed aggregates: what a window holds, and how its facts become one value. No I/O."""
