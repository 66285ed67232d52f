"""A small repository of features of drivers, over generated data."""
