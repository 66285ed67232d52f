"""Streams on Structured Streaming: one query per stream, whose batches are worked off on the executors.

Spark's checkpoint lies in a temporary folder and ends with the run: where a run begins, the position of the group says,
which is moved after each batch. So there is one record of how far a stream is, not two that can differ.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import pyspark
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from tiffin.backends.spark.config import SparkOptions
from tiffin.backends.spark.messages import COLUMNS, RESULT, worked_off
from tiffin.contracts.options import options_from
from tiffin.contracts.stream_engine import StreamEngine, StreamEngineCapabilities, StreamJob, StreamQuery
from tiffin.errors import StreamError, TiffinError

log = logging.getLogger("tiffin.spark")

#: What reads Kafka, for the version of Spark that is installed; it is fetched where the settings name no other jars.
_PACKAGE = f"org.apache.spark:spark-sql-kafka-0-10_2.13:{pyspark.__version__}"
_JARS = ("spark.jars", "spark.jars.packages")
#: What its library raises, and what that meets when Spark's process is gone.
_SPARKS = (PySparkException, Py4JError, OSError)
#: What holds unless the settings say otherwise.
_CONF = {
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.streaming.forceDeleteTempCheckpointLocation": "true",
}


class SparkStreamEngine(StreamEngine):
    """A session of Spark; one that is there already is used, and left as it was."""

    capabilities: ClassVar[StreamEngineCapabilities] = StreamEngineCapabilities(
        name="spark",
        brokers=frozenset({"kafka"}),
        link="https://spark.apache.org/docs/latest/streaming/structured-streaming-kafka-integration.html",
    )
    options_type: ClassVar[type] = SparkOptions

    def __init__(self, options: SparkOptions, project: str) -> None:
        self._options = options
        self._project = project
        self._session: SparkSession | None = None
        self._is_own = False
        self._queries: list[SparkQuery] = []

    @classmethod
    def from_config(cls, options: Mapping[str, object], project: str) -> Self:
        """Build it from the section ``stream_engine``.

        Raises:
            ConfigError: an option is unknown or has a wrong value.
        """
        return cls(options_from(SparkOptions, "stream_engine", options), project)

    def start(self, job: StreamJob) -> SparkQuery:
        """Start a query."""
        address, options = job.address, self._options
        settings = {
            **{f"kafka.{name}": value for name, value in address.settings.items()},
            **{f"kafka.{name}": str(value) for name, value in options.kafka.items()},
            "subscribe": address.stream,
            "startingOffsets": json.dumps({address.stream: {str(place): at for place, at in job.begin.items()}}),
            "failOnDataLoss": "true",
            "includeHeaders": "true",
            "maxOffsetsPerTrigger": str(options.max_messages_per_batch),
        }
        query = SparkQuery(job)
        with _failures(f"stream {address.stream}"):
            rows = self._opened().readStream.format("kafka").options(**settings).load().select(*COLUMNS)
            if job.ends:
                # A stream has no end of its own in Spark; what comes later does not leave its JVM.
                before = (f"WHEN {place} THEN offset < {end}" for place, end in job.ends.items())
                rows = rows.where(f"CASE partition {' '.join(before)} ELSE true END")
            writer = rows.writeStream.queryName(job.name).foreachBatch(query.work_off)
            if job.ends is not None:
                writer = writer.trigger(availableNow=True)
            else:
                seconds = max(options.trigger_seconds, job.seconds_between)
                writer = writer.trigger(processingTime=f"{seconds:g} seconds")
            query.begin(writer.start())
        self._queries.append(query)
        return query

    def _opened(self) -> SparkSession:
        if self._session is None:
            self._session = SparkSession.getActiveSession()
        if self._session is None:
            conf = self._options.conf
            builder = SparkSession.builder.appName(f"tiffin stream {self._project}")
            jars = {} if any(name in conf for name in _JARS) else {"spark.jars.packages": _PACKAGE}
            for name, value in (_CONF | jars | conf).items():
                builder = builder.config(name, value)
            if self._options.master:
                builder = builder.master(self._options.master)
            if self._is_on_this_machine():
                os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
            with _own_signals():
                self._session = builder.getOrCreate()
            self._is_own = True
        return self._session

    def _is_on_this_machine(self) -> bool:
        """Whether executors are; without a master they are, unless `spark-submit` has started this process."""
        master = self._options.master
        return master.startswith("local") if master else "PYSPARK_GATEWAY_PORT" not in os.environ

    def close(self) -> None:
        """End the queries that run, and the session if it was made here."""
        try:
            with _failures("its end"):
                for query in self._queries:
                    query.end()
                if self._session is not None and self._is_own:
                    self._session.stop()
        except StreamError as error:
            # Its process is gone; what it had failed with before is told already.
            log.info("%s", error.message)
        self._session = None


class SparkQuery(StreamQuery):
    """A query of Structured Streaming."""

    def __init__(self, job: StreamJob) -> None:
        self._job = job
        self._query: Any = None
        self._error: BaseException | None = None
        self._is_stopping = False
        self._busy = threading.Lock()

    def begin(self, query: Any) -> None:
        """Take the query that has been started."""
        self._query = query

    def work_off(self, batch: DataFrame, _: int) -> None:
        """Have a batch worked off where its rows are; called by Spark in a thread of its own."""
        with self._busy:
            if self._is_stopping:
                # What Spark takes for done here is read again: its position is not moved.
                return
            try:
                task = self._job.task()
                results = batch.mapInArrow(lambda batches: worked_off(task, batches), RESULT).collect()
                self._job.done([bytes(row[0]) for row in results])
            except BaseException as error:
                self._error = error
                raise

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended."""
        with self._failures():
            return bool(self._query.awaitTermination(seconds))

    def stop(self) -> None:
        """End it after its batch."""
        self._is_stopping = True
        with self._busy:
            pass  # The batch is done, and the next one will find that there is nothing to do.
        with self._failures():
            self.end()

    def end(self) -> None:
        """End it at once; raises what Spark raises."""
        self._is_stopping = True
        self._query.stop()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """What went wrong on this side instead of Spark's account of it."""
        try:
            with _failures(f"stream {self._job.address.stream}"):
                yield
        except StreamError as error:
            own = self._error
            if own is None or (isinstance(own, _SPARKS) and not isinstance(own, TiffinError)):
                raise
            raise own from error


@contextmanager
def _failures(subject: str) -> Iterator[None]:
    """Make an error of tiffin's of one of Spark's."""
    try:
        yield
    except _SPARKS as error:
        raise StreamError(
            f"Spark has failed on {subject}: {_first_line(error)}",
            subject=subject,
            hint="look at Spark's log and at stream_engine in feature_store.yaml; nothing that was read is lost",
        ) from error


def _first_line(error: Exception) -> str:
    try:
        lines = [line for line in str(error).splitlines() if line.strip()]
    except (Py4JError, OSError):
        # The words are asked for at a process that may be gone.
        lines = []
    # Where the library only says that something has failed in Java, what that was follows after a colon.
    causes = [line[2:] for line in lines if line.startswith(": ")]
    return next(iter(causes + lines), type(error).__name__)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the handler of Ctrl-C, in the place of which PySpark puts its own."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before)
