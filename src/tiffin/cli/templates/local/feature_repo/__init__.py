"""The feature repository of the drivers."""
