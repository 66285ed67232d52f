"""What the examples share: a model over a table, values held to one another, bars of progress."""
