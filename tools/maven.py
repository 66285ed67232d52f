"""Fetches published jars with what they need, by Maven, once; they lie in the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tiffin.tests</groupId>
  <artifactId>jars</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>{}</groupId>
      <artifactId>{}</artifactId>
      <version>{}</version>
    </dependency>
  </dependencies>
</project>
"""
SECONDS = 600


def folder(name: str) -> Path:
    """Where jars are, or will be."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "tiffin" / name


def fetch(name: str, group: str, artifact: str, version: str, *, without: str = "") -> str:
    """Fetches jars where they are not there yet, and prints where they are; returns what is wrong, or nothing.

    Args:
        name: of their folder.
        group: of what is wanted.
        artifact: its name; what it needs comes along.
        version: its version.
        without: groups that are left out, with commas between them.
    """
    missing = [program for program in ("java", "mvn") if shutil.which(program) is None]
    jars = folder(name)
    if jars.exists() and "java" not in missing:
        print(jars)
        return ""
    if missing:
        return f"{' and '.join(missing)} not found; apt-get install default-jre-headless maven provides them"
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jars.parent) as place:
        (Path(place) / "pom.xml").write_text(POM.format(group, artifact, version))
        command = ["mvn", "-q", "-B", PLUGIN, f"-DoutputDirectory={place}/jars", "-DincludeScope=runtime"]
        command += [f"-DexcludeGroupIds={without}"] if without else []
        try:
            done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return f"Maven has not fetched {artifact} {version} within {SECONDS} s"
        if done.returncode:
            return f"Maven cannot fetch {artifact} {version}: {done.stdout.strip()[-300:]}"
        try:
            (Path(place) / "jars").rename(jars)
        except OSError:
            if not jars.exists():
                raise
    print(jars)
    return ""
