"""The feature repository of the clicks example."""
