"""Whether features are what they should be and fresh, what their values are like, and who is told when they are not."""
