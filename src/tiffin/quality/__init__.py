"""Whether features are what they should be, what their values are like, and whether these have drifted."""
