"""The bytes of the online store: keys, rows, and the read pipeline without I/O."""
