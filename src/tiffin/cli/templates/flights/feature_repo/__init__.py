"""The feature repository of the flights project."""
