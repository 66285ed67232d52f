"""What the values mean: `rules.md` is the authority, `oracle.py` the slow reference that follows it.

Nothing that runs in production imports the oracle; tests hold every engine, store, transport and cache to it.
"""
