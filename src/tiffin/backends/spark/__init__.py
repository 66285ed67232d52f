"""Spark as what works streams off, through PySpark's Structured Streaming."""
