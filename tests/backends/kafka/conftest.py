"""One broker for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from brokers import Kafka, kafka_broker


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """A broker without passwords."""
    with kafka_broker() as broker:
        yield broker
