"""The positions of a group whose messages are read by another program, such as a stream engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tiffin.backends.kafka.places import end_offsets, first_offset
from tiffin.contracts.stream import Start, Until
from tiffin.contracts.stream_engine import GroupPositions
from tiffin.errors import StreamError

#: What the brokers say to a commit from outside of a group that has members.
_HAS_MEMBERS = (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS)


class KafkaPositions(GroupPositions):
    """The positions of a group without members.

    Args:
        consumer: bears the name of the group and never joins it; closed with the positions.
        topic: whose they are.
        partitions: all that the topic has now.
        timeout_seconds: how long an answer may take.
        wrap: makes an error of an error of librdkafka.
    """

    def __init__(
        self,
        consumer: Consumer,
        topic: str,
        partitions: Sequence[int],
        timeout_seconds: float,
        wrap: Callable[[KafkaError], StreamError],
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._partitions = partitions
        self._timeout = timeout_seconds
        self._wrap = wrap
        self._ends: dict[int, int] = {}
        self._notes: dict[int, str] = {}

    def begin(self, start: Start) -> Mapping[int, int]:
        """Where reading begins."""
        wanted = [TopicPartition(self._topic, partition) for partition in self._partitions]
        try:
            for place in self._consumer.committed(wanted, timeout=self._timeout):
                offset = first_offset(self._consumer, place, start, self._timeout)
                low, _ = self._consumer.get_watermark_offsets(place, timeout=self._timeout)
                if offset < low:
                    raise self._wrap(KafkaError(KafkaError._AUTO_OFFSET_RESET))
                self._ends[place.partition] = offset
                self._notes[place.partition] = place.metadata or ""
        except KafkaException as error:
            raise self._wrap(error.args[0]) from error
        return dict(self._ends)

    def ends(self, until: Until) -> Mapping[int, int]:
        """Where reading ends."""
        try:
            return end_offsets(self._consumer, self._topic, self._partitions, until, self._timeout)
        except KafkaException as error:
            raise self._wrap(error.args[0]) from error

    def notes(self) -> Mapping[int, str]:
        """What is kept with the positions."""
        return dict(self._notes)

    def commit(self, ends: Mapping[int, int], notes: Mapping[int, str]) -> None:
        """Commit, and wait for it."""
        places = [TopicPartition(self._topic, number, end, notes.get(number, "")) for number, end in ends.items()]
        if not places:
            return
        try:
            answers = self._consumer.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            raise self._refused(error.args[0]) from error
        for answer in answers or ():
            if answer.error is not None:
                raise self._refused(answer.error)
        self._ends |= ends
        self._notes |= notes

    def _refused(self, error: KafkaError) -> StreamError:
        if error.code() in _HAS_MEMBERS:
            return StreamError(
                f"the group of topic {self._topic} has workers of its own, so its position cannot be moved from here",
                subject=f"topic {self._topic}",
                hint="end the workers that were started without stream_engine; nothing that was read is lost",
            )
        return self._wrap(error)

    def lag(self) -> int:
        """How many messages are behind the positions."""
        waiting = 0
        try:
            for partition, end in self._ends.items():
                place = TopicPartition(self._topic, partition)
                _, high = self._consumer.get_watermark_offsets(place, timeout=self._timeout)
                waiting += max(0, int(high) - end)
        except KafkaException as error:
            raise self._wrap(error.args[0]) from error
        return waiting

    def close(self) -> None:
        """Let go of the consumer."""
        self._consumer.close()
