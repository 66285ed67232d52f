"""Fetches a Kafka broker for tests, from its published jars by Maven, once; `python tools/kafka_jars.py` says where.

It lies in the user's cache. What is missing is said on the error stream, and the process ends with 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

VERSION = "4.1.0"
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tiffin.tests</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""
SECONDS = 600


def folder() -> Path:
    """Where the jars are, or will be."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "tiffin" / f"kafka-{VERSION}"


def main() -> str:
    """Fetches them where they are not there yet; returns what is wrong, or nothing."""
    missing = [program for program in ("java", "mvn") if shutil.which(program) is None]
    jars = folder()
    if jars.exists() and "java" not in missing:
        print(jars)
        return ""
    if missing:
        return f"{' and '.join(missing)} not found; apt-get install default-jre-headless maven provides them"
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jars.parent) as name:
        (Path(name) / "pom.xml").write_text(POM)
        command = ["mvn", "-q", "-B", PLUGIN, f"-DoutputDirectory={name}/jars", "-DincludeScope=runtime"]
        try:
            done = subprocess.run(command, cwd=name, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return f"Maven has not fetched Kafka {VERSION} within {SECONDS} s"
        if done.returncode:
            return f"Maven cannot fetch Kafka {VERSION}: {done.stdout.strip()[-300:]}"
        try:
            (Path(name) / "jars").rename(jars)
        except OSError:
            if not jars.exists():
                raise
    print(jars)
    return ""


if __name__ == "__main__":
    sys.exit(main() or 0)
