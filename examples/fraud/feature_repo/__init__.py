"""The feature repository of the fraud example."""
