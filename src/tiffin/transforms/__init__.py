"""Users' functions at work: their inputs in the form they expect, their outputs held to what they declare."""
