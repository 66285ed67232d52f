"""Fetches a Kafka broker for tests, from its published jars by Maven, once; `python tools/kafka_jars.py` says where.

It lies in the user's cache. What is missing is said on the error stream, and the process ends with 1.
"""

from __future__ import annotations

import sys

from maven import fetch

VERSION = "4.1.0"


if __name__ == "__main__":
    sys.exit(fetch(f"kafka-{VERSION}", "org.apache.kafka", "kafka_2.13", VERSION) or 0)
