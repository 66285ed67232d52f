"""PostgreSQL as online store: a table a view, read by one prepared statement, compared by ``ON CONFLICT``."""
