"""One folder per system; a backend imports its own client library and nothing of another backend."""
