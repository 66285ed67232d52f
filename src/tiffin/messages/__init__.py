"""Messages of a stream, from their bytes to Arrow columns. Pure: no I/O and no clock."""
