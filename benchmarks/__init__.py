"""Benchmarks: tiffin beside the raw limit and, where it is installed, beside Feast, in one run on one machine.

`suites` says what is measured, `sides` holds the code under measurement (written by hand, tiffin, Feast), and the
modules here run every case in a process of its own, compare the values and write the tables. Nothing here is imported
by the package or by its tests.
"""
