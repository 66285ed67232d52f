"""For authors of backends: the suites that every backend passes. Needs pytest."""
