"""The broker for the tests of this folder."""

from __future__ import annotations

import pytest

from brokers import Kafka, shared_broker


@pytest.fixture(scope="session")
def kafka() -> Kafka:
    """A broker that runs."""
    return shared_broker()
