"""Kinesis as a stream, through botocore."""
