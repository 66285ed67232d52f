"""Redis as online store: one string a view and entity, read by one MGET, compared by a script inside the server."""
