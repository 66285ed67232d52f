"""A real Spark for tests: a standalone master and workers, processes of their own on the loopback."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from servers import Server, free_port, need, need_module, skip, wait_until

ROOT = Path(__file__).parents[1]
#: Small, and quick to start: it lives for seconds.
_JVM = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto"


@cache
def _jars() -> Path | None:
    done = subprocess.run([sys.executable, ROOT / "tools" / "spark_jars.py"], capture_output=True, text=True)
    return None if done.returncode else Path(done.stdout.strip())


def spark_conf() -> dict[str, str]:
    """What an application needs on this machine; skips where there is no Spark, or nothing that reads Kafka for it."""
    need_module("pyspark", "spark")
    need("java", "default-jre-headless")
    jars = _jars()
    if jars is None:
        skip("there is no source of Kafka for Spark here; `python tools/spark_jars.py` says what is missing")
    return {
        "spark.jars": ",".join(map(str, sorted(jars.glob("*.jar")))),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "512m",
        "spark.driver.extraJavaOptions": _JVM,
        "spark.executor.memory": "512m",
        "spark.executor.cores": "1",
        "spark.executor.extraJavaOptions": _JVM,
        "spark.ui.enabled": "false",
    }


@dataclass
class Spark:
    """A cluster of a test's own.

    Attributes:
        master: its process.
        workers: their processes; an executor dies with the worker that has started it.
        home: where each worker keeps the logs of its executors.
    """

    master: Server
    workers: list[Server]
    home: Path

    @property
    def url(self) -> str:
        """What an application names as its master."""
        return f"spark://127.0.0.1:{self.master.port}"


@contextmanager
def spark_cluster(workers: int = 2) -> Iterator[Spark]:
    """A cluster of its own, with one core for each worker."""
    spark_conf()
    import pyspark

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, ExitStack() as stack:
        home, installed = Path(name), Path(pyspark.__file__).parent
        java = ["env", f"SPARK_HOME={installed}", "SPARK_LOCAL_IP=127.0.0.1", "SPARK_SCALA_VERSION=2.13"]
        java += ["java", *_JVM.split(), "-Xmx256m", "-cp", f"{installed}/jars/*"]
        deploy = "org.apache.spark.deploy"
        port = free_port()
        words = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(free_port())]
        master = Server([*java, f"{deploy}.master.Master", *words], port, home)
        stack.callback(master.stop)
        master.start()
        spark = Spark(master, [], home)
        for number in range(workers):
            folder, port = home / f"worker{number}", free_port()
            folder.mkdir()
            words = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(free_port())]
            words += ["--cores", "1", "--memory", "600m", "--work-dir", str(folder)]
            worker = Server([*java, f"{deploy}.worker.Worker", *words, spark.url], port, folder, leads_group=True)
            stack.callback(worker.stop)
            worker.start()
            spark.workers.append(worker)
        wait_until(lambda: (home / "log").read_text().count("Registering worker") == workers, "the workers of Spark")
        yield spark
