"""Schema registries, asked by HTTP."""
