"""SQLite: the default online store."""
