"""Registries in SQL databases."""
