"""DuckDB: the embedded offline engine."""
