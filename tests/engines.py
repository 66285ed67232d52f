"""A stream engine of a third party, found by its class path: it carries pickled tasks no further than to a thread."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from tiffin.contracts.options import options_from
from tiffin.contracts.stream import Messages
from tiffin.contracts.stream_engine import StreamEngine, StreamEngineCapabilities, StreamJob, StreamQuery
from tiffin.errors import TiffinError


@dataclass(frozen=True)
class HereOptions:
    """How large a batch of one partition is, and how large the parts are that its task gets."""

    batch: int = 200
    part: int = 70


class HereEngine(StreamEngine):
    """Gives each partition a task of its own, and its messages in parts."""

    capabilities: ClassVar[StreamEngineCapabilities] = StreamEngineCapabilities("here", frozenset({"kafka"}))
    options_type: ClassVar[type] = HereOptions

    def __init__(self, options: HereOptions) -> None:
        self._options = options

    @classmethod
    def from_config(cls, options: Mapping[str, object], project: str) -> Self:
        return cls(options_from(HereOptions, "stream_engine", options))

    def start(self, job: StreamJob) -> StreamQuery:
        return HereQuery(job, self._options)

    def close(self) -> None:
        pass


class EndlessEngine(HereEngine):
    """Has no ends of its own: it reads what is there up to the end of the job, and waits for more."""

    def start(self, job: StreamJob) -> StreamQuery:
        return EndlessQuery(job, self._options)


class HereQuery(StreamQuery):
    """Runs in a thread of its own, as those of real engines do."""

    has_ends = True

    def __init__(self, job: StreamJob, options: HereOptions) -> None:
        self._job, self._options = job, options
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        from confluent_kafka import Consumer

        address = self._job.address
        servers = {"bootstrap.servers": address.settings["bootstrap.servers"]}
        consumer = Consumer(servers | {"group.id": "here", "enable.partition.eof": True, "enable.auto.commit": False})
        positions = dict(self._job.begin)
        try:
            while not self._stop.is_set():
                batches = {place: self._read(consumer, place, positions[place]) for place in positions}
                if not any(batches.values()):
                    if self._job.ends is not None and self.has_ends:
                        return
                    continue
                task = pickle.dumps(self._job.task())
                # More than one try at the same messages, as where a machine was lost.
                for _ in range(2):
                    results = [pickle.loads(task)(self._parts(found)) for found in batches.values()]  # noqa: S301
                self._job.done(results)
                positions |= {place: found[-1].offset() + 1 for place, found in batches.items() if found}
        except TiffinError as error:
            self._error = error
        finally:
            consumer.close()

    def _read(self, consumer: Any, partition: int, offset: int) -> list[Any]:
        from confluent_kafka import TopicPartition

        consumer.assign([TopicPartition(self._job.address.stream, partition, offset)])
        found: list[Any] = []
        while len(found) < self._options.batch:
            message = consumer.poll(5)
            if message is None or message.error() is not None:
                break
            if self._job.ends is not None and message.offset() >= self._job.ends[partition]:
                break
            found.append(message)
        return found

    def _parts(self, found: list[Any]) -> Iterator[Messages]:
        for first in range(0, len(found), self._options.part):
            some = found[first : first + self._options.part]
            yield Messages(
                [each.value() for each in some],
                np.asarray([each.partition() for each in some], np.int32),
                [each.offset() for each in some],
                lambda some=some: [each.key() for each in some],
                lambda some=some: [each.timestamp()[1] * 1000 for each in some],
                lambda some=some: [each.headers() or () for each in some],
            )

    def wait(self, seconds: float) -> bool:
        self._thread.join(seconds)
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


class EndlessQuery(HereQuery):
    """Goes on until it is stopped."""

    has_ends = False
