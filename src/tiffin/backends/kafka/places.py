"""Where reading of a partition begins or ends, as the brokers tell."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import OFFSET_END, Consumer, TopicPartition

from tiffin.contracts.stream import Start, Until


def first_offset(consumer: Consumer, committed: TopicPartition, start: Start, timeout_seconds: float) -> int:
    """The offset of the first message to read.

    Args:
        consumer: asks the brokers.
        committed: the partition, with the position of the group in it.
        start: where to begin.
        timeout_seconds: how long an answer may take.
    """
    if start.place == "committed" and committed.offset >= 0:
        return int(committed.offset)
    low, high = consumer.get_watermark_offsets(committed, timeout=timeout_seconds)
    if start.place == "latest":
        return int(high)
    if start.place == "time":
        return _offset_at(consumer, committed, start.time_us, int(high), timeout_seconds)
    return int(low)


def end_offsets(
    consumer: Consumer, topic: str, partitions: Sequence[int], until: Until, timeout_seconds: float
) -> dict[int, int]:
    """For each partition the offset behind the last message to read.

    Args:
        consumer: asks the brokers.
        topic: whose partitions they are.
        partitions: they.
        until: where to end.
        timeout_seconds: how long an answer may take.
    """
    ends = {}
    for partition in partitions:
        place = TopicPartition(topic, partition)
        _, high = consumer.get_watermark_offsets(place, timeout=timeout_seconds)
        moment = until.time_us
        ends[partition] = high if moment is None else _offset_at(consumer, place, moment, high, timeout_seconds)
    return ends


def _offset_at(consumer: Consumer, place: TopicPartition, time_us: int, high: int, timeout_seconds: float) -> int:
    """The first message of a partition from a moment on; its end, which is handed in, where there is none."""
    wanted = TopicPartition(place.topic, place.partition, -(-time_us // 1000))
    (found,) = consumer.offsets_for_times([wanted], timeout=timeout_seconds)
    return high if found.offset in (OFFSET_END, -1) or found.offset < 0 else int(found.offset)
