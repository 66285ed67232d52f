"""An append-only log of immutable snapshots of definitions."""
