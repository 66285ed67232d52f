"""The memory of this process as an online store: for tests, notebooks and trials."""
