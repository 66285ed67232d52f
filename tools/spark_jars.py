"""Fetches Spark's source for Kafka for tests, by Maven, once; `python tools/spark_jars.py` says where.

It is that of the PySpark that is installed, and lies in the user's cache. What is missing is said on the error stream,
and the process ends with 1.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

from maven import fetch

#: What a Spark has anyway.
OWN = "org.apache.hadoop,org.scala-lang,org.scala-lang.modules,org.slf4j,org.lz4,org.xerial.snappy"


def main() -> str:
    """Fetches it; returns what is wrong, or nothing."""
    try:
        spark = version("pyspark")
    except PackageNotFoundError:
        return "pyspark is not installed; pip install 'tiffin[spark]' provides it"
    return fetch(f"spark-kafka-{spark}", "org.apache.spark", "spark-sql-kafka-0-10_2.13", spark, without=OWN)


if __name__ == "__main__":
    sys.exit(main() or 0)
