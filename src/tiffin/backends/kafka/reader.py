"""A member of a group of consumers: batches of messages, positions that are committed when the work is durable."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tiffin.backends.kafka.places import end_offsets, first_offset
from tiffin.contracts.stream import Messages, Start, StreamReader, Until
from tiffin.errors import StreamError

log = logging.getLogger("tiffin.kafka")

#: How long to wait for company of a first message, and how many are taken from librdkafka at once.
_LINGER_SECONDS, _STEP = 0.02, 2_000
#: How often positions are committed while work goes on; a crash works off again what came since.
_COMMIT_SECONDS = 0.5
#: What goes by without harm: the group is about to divide the partitions anew, or the connection comes back.
_HARMLESS = (
    KafkaError._MAX_POLL_EXCEEDED,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError._NO_OFFSET,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)


class KafkaReader(StreamReader):
    """Reads a topic.

    Partitions are divided among the members of the group bit by bit (cooperative), so that the others go on meanwhile.

    Args:
        open_consumer: gives the consumer, which calls what it is given when a commit was answered; closed with the
            reader.
        topic: what is read.
        partitions: all partitions that the topic has.
        start: where to begin.
        until: where to end.
        timeout_seconds: how long an answer about positions may take.
        wrap: makes an error of an error of librdkafka.
    """

    def __init__(
        self,
        open_consumer: Callable[[Callable[[KafkaError | None, list[TopicPartition]], None]], Consumer],
        topic: str,
        partitions: Sequence[int],
        *,
        start: Start,
        until: Until | None,
        timeout_seconds: float,
        wrap: Callable[[KafkaError], StreamError],
    ) -> None:
        self._consumer = open_consumer(self._answered)
        self._topic = topic
        self._start = start
        self._timeout = timeout_seconds
        self._wrap = wrap
        self._began: set[int] = set()
        self._polled: dict[int, int] = {}
        self._done: dict[int, int] = {}
        self._sent: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._marks: dict[int, str] = {}
        self._notes: dict[int, str] = {}
        self._held: list[Message] = []
        self._committed_at = time.monotonic()
        self._ends: dict[int, int] = {}
        self._is_bounded = until is not None
        try:
            if until is not None:
                self._ends = end_offsets(self._consumer, topic, partitions, until, timeout_seconds)
            calls = {"on_assign": self._assign, "on_revoke": self._revoke, "on_lost": self._lose}
            self._consumer.subscribe([topic], **calls)
        except BaseException as error:
            self._consumer.close()
            if isinstance(error, KafkaException):
                raise wrap(error.args[0]) from error
            raise

    # --- Reading -----------------------------------------------------------------------------------------------------

    def poll(self, max_messages: int, max_bytes: int, wait_seconds: float) -> Messages | None:
        """The next messages. The first one is waited for, and then its company, for a moment."""
        try:
            found, self._held = self._held, []
            if not found:
                first = self._consumer.poll(wait_seconds)
                if first is None:
                    self._commit(flush=False)
                    return None
                found = [first]
            linger, held_bytes = _LINGER_SECONDS, sum(map(len, found))
            while len(found) < max_messages and held_bytes < max_bytes:
                more = self._consumer.consume(min(_STEP, max_messages - len(found)), linger)
                found += more
                if len(more) < _STEP:
                    break
                linger, held_bytes = 0.0, held_bytes + sum(map(len, more))
        except KafkaException as error:
            raise self._wrap(error.args[0]) from error
        return self._messages(found)

    def _messages(self, found: list[Message]) -> Messages | None:
        """Messages without the events among them, and without those after the end."""
        events = [message for message in found if message.error() is not None]
        if events:
            found = [message for message in found if message.error() is None]
        newest = {message.partition(): message.offset() for message in found}
        if any(offset >= self._ends.get(partition, offset + 1) for partition, offset in newest.items()):
            found = [message for message in found if message.offset() < self._ends[message.partition()]]
            newest = {message.partition(): message.offset() for message in found}
        self._polled |= {partition: offset + 1 for partition, offset in newest.items() if partition in self._polled}
        for event in events:
            self._take_event(event)
        self._pause([partition for partition in newest if self._is_at_end(partition)])
        if not found:
            return None
        return Messages(
            [message.value() for message in found],
            np.asarray([message.partition() for message in found], np.int32),
            [message.offset() for message in found],
            lambda: [message.key() for message in found],
            lambda: [message.timestamp()[1] * 1000 for message in found],
            lambda: [message.headers() or () for message in found],
        )

    def _take_event(self, event: Message) -> None:
        """What librdkafka tells among the messages: an end, which may lie behind the last message, or an error."""
        error = event.error()
        if error.code() == KafkaError._PARTITION_EOF:
            if event.partition() in self._polled:
                self._polled[event.partition()] = max(self._polled[event.partition()], event.offset())
        elif error.code() not in _HARMLESS:
            raise self._wrap(error)
        else:
            log.info("topic %s: %s", self._topic, error.str())

    def keep_alive(self) -> None:
        """Ask for nothing, so that the group does not take this worker for lost."""
        try:
            held = [place for place in self._consumer.assignment() if not self._is_at_end(place.partition)]
            self._consumer.pause(held)
            # A partition that comes in here is not paused, and its first message may be given.
            message = self._consumer.poll(0)
            if message is not None:
                self._held.append(message)
            still = {place.partition for place in self._consumer.assignment()}
            self._consumer.resume([place for place in held if place.partition in still])
        except KafkaException as error:
            raise self._wrap(error.args[0]) from error

    # --- Positions ---------------------------------------------------------------------------------------------------

    def mark(self, notes: Mapping[int, str]) -> None:
        """Note something, to be committed together with the positions."""
        self._marks |= {partition: note for partition, note in notes.items() if partition in self._polled}

    def done(self, *, flush: bool = False) -> None:
        """Say that everything polled so far is durable; committed now and then."""
        self._done |= self._polled
        self._notes |= self._marks
        self._commit(flush=flush)

    def notes(self) -> Mapping[int, str]:
        """What was marked last, else committed together with the positions."""
        return dict(self._marks)

    def _commit(self, *, flush: bool) -> None:
        if not flush and time.monotonic() < self._committed_at + _COMMIT_SECONDS:
            return
        self._committed_at = time.monotonic()
        self._commit_some(list(self._done), waits=flush)

    def _commit_some(self, partitions: Sequence[int], *, waits: bool) -> None:
        # What was sent before need not have been accepted; who waits makes sure.
        known = self._committed if waits else self._sent
        places = [
            TopicPartition(self._topic, partition, self._done[partition], self._notes.get(partition, ""))
            for partition in partitions
            if partition in self._done and self._done[partition] != known.get(partition)
        ]
        if not places:
            return
        try:
            self._consumer.commit(offsets=places, asynchronous=not waits)
        except KafkaException as error:
            # Whoever has the partition now works it off again from the position before, which changes nothing.
            log.info("topic %s: positions are not committed: %s", self._topic, error.args[0].str())
            if error.args[0].code() not in _HARMLESS:
                raise self._wrap(error.args[0]) from error
            return
        offsets = {place.partition: place.offset for place in places}
        self._sent |= offsets
        if waits:
            self._committed |= offsets

    def _answered(self, error: KafkaError | None, places: list[TopicPartition]) -> None:
        """A commit that nobody waited for was answered; one that was refused is sent again."""
        for place in places:
            if error is not None or place.error is not None:
                self._sent.pop(place.partition, None)
            elif place.partition in self._done:
                self._committed[place.partition] = place.offset

    def _assign(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Partitions come: go on where the group is, or begin where this run is told to."""
        positions = []
        for place in consumer.committed(places, timeout=self._timeout) if places else ():
            partition = place.partition
            is_first = partition not in self._began
            offset = self._first_offset(place, is_first)
            self._began.add(partition)
            self._polled[partition] = self._done[partition] = offset
            self._committed[partition] = self._sent[partition] = place.offset
            self._marks[partition] = self._notes[partition] = place.metadata or ""
            positions.append(TopicPartition(self._topic, partition, offset))
        consumer.incremental_assign(positions)
        # A partition that comes back would still be paused, if it was when it went.
        consumer.resume([place for place in positions if not self._is_at_end(place.partition)])
        self._pause([place.partition for place in positions if self._is_at_end(place.partition)])

    def _first_offset(self, committed: TopicPartition, is_first: bool) -> int:
        return first_offset(self._consumer, committed, self._start if is_first else Start(), self._timeout)

    def _revoke(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Partitions go: everything polled of them is durable by now, since they only go while polling."""
        self._commit_some([place.partition for place in places], waits=True)
        self._forget(places)
        consumer.incremental_unassign(places)

    def _lose(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Partitions are gone already: somebody else has them, and goes on from what was committed."""
        self._forget(places)
        consumer.incremental_unassign(places)

    def _forget(self, places: Sequence[TopicPartition]) -> None:
        for place in places:
            for known in (self._polled, self._done, self._sent, self._committed, self._marks, self._notes):
                known.pop(place.partition, None)
        gone = {place.partition for place in places}
        self._held = [message for message in self._held if message.partition() not in gone]

    # --- The end -----------------------------------------------------------------------------------------------------

    def _is_at_end(self, partition: int) -> bool:
        return self._is_bounded and self._polled.get(partition, -1) >= self._ends.get(partition, 0)

    def _pause(self, partitions: Sequence[int]) -> None:
        self._consumer.pause([TopicPartition(self._topic, partition) for partition in partitions])

    def is_finished(self) -> bool:
        """Whether all partitions have been worked off up to the end, those of other workers included."""
        if not self._is_bounded or not all(self._is_at_end(partition) for partition in self._polled):
            return False
        others = [TopicPartition(self._topic, p) for p in self._ends if p not in self._polled]
        if not others:
            return True
        try:
            found = self._consumer.committed(others, timeout=self._timeout)
        except KafkaException as error:
            raise self._wrap(error.args[0]) from error
        return all(place.offset >= self._ends[place.partition] or not self._ends[place.partition] for place in found)

    def lag(self) -> int | None:
        """Messages that the brokers have told of and that were not polled yet."""
        waiting = 0
        for partition, position in self._polled.items():
            _, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
            waiting += max(0, high - position) if high >= 0 else 0
        return waiting

    def name(self, partition: int) -> str:
        """The number."""
        return str(partition)

    def close(self) -> None:
        """Commit what is done and leave the group at once, so that nobody waits for this worker."""
        try:
            self._commit(flush=True)
        finally:
            consumer: Any = self._consumer
            consumer.close()
