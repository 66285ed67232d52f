"""Whether features are what they should be."""
