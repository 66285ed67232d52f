"""LMDB as online store: a memory map that all processes of a machine share."""
