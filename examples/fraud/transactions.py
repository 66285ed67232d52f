"""Card transactions, made up from a seed: cards with habits, merchants with prices, and now and then a stolen card.

A fact has two times: when it happened (``event_timestamp``) and when it was known (``created``). A terminal reports
within seconds, some only at the end of their day; a fraud is reported by the owner of the card, days later.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

#: The first moment, and how many days of transactions there are.
START = datetime.fromisoformat("2025-01-01T00:00:00+00:00")
DAYS = 60

CATEGORIES = ("groceries", "fuel", "restaurants", "clothes", "travel", "electronics", "games", "vouchers")
#: What a purchase in each category costs, as a multiple of what the card is used to; how much trade each has with
#: owners, and with thieves.
_PRICES = np.array([0.7, 1.0, 0.8, 1.5, 4.0, 3.0, 0.5, 1.0])
_OWNERS = np.array([30, 14, 22, 10, 3, 4, 6, 2]) / 91
_THIEVES = np.array([3, 1, 2, 8, 8, 30, 20, 28]) / 100

_SECOND, _MINUTE, _HOUR, _DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
_UTC_US = pa.timestamp("us", "UTC")

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class World:
    """What is generated.

    Attributes:
        transactions: ``transaction_id``, ``card``, ``merchant``, ``category``, ``amount``, ``event_timestamp``,
            ``created`` and the label ``fraud``, in the order in which they happened.
        reports: the frauds that were reported: ``transaction_id``, ``card``, ``merchant``, ``event_timestamp`` of the
            transaction, and ``created``, when the report came in.
    """

    transactions: pa.Table
    reports: pa.Table


@dataclass(frozen=True)
class _Places:
    """Cards and merchants: what a card usually spends, and of each merchant category, price level and trade."""

    level: Floats
    category: Ints
    price: Floats
    crowd: Floats


#: Of payments: card, merchant, amount, and microseconds after the start.
_Payments = tuple[Ints, Ints, Floats, Floats]


def make_world(size: int, seed: int = 0) -> World:
    """About one fraud in a hundred transactions.

    Args:
        size: how many transactions; a card has about fifty, a merchant five hundred.
        seed: the same seed and size give the same world.
    """
    random = np.random.default_rng(seed)
    places = _places(random, cards=max(20, size // 50), merchants=max(40, size // 500))
    bursts = 2 + random.poisson(2, round(size * 0.01 / 4))
    frauds = int(bursts.sum())
    by_owners, by_thieves = _by_owners(random, places, size - frauds), _by_thieves(random, places, bursts)
    card, merchant, amount, after = (np.concatenate(pair) for pair in zip(by_owners, by_thieves, strict=True))
    at = after.astype(np.int64)

    names = pa.array([f"m{number:04}" for number in range(len(places.category))])
    table = pa.table(
        {
            "card": pa.array(card),
            "merchant": names.take(pa.array(merchant)),
            "category": pa.array(CATEGORIES).take(pa.array(places.category[merchant])),
            "amount": pa.array(np.round(amount, 2).clip(0.01)),
            "event_timestamp": _times(at),
            "created": _times(at + _terminal_delays(random, size)),
            "fraud": pa.array(np.arange(size) >= size - frauds),
        }
    )
    transactions = table.take(pa.array(np.argsort(at, kind="stable")))
    transactions = transactions.add_column(0, "transaction_id", pa.array(np.arange(size)))
    return World(transactions, _reports(random, transactions))


def _places(random: np.random.Generator, cards: int, merchants: int) -> _Places:
    category = random.choice(len(CATEGORIES), merchants, p=_OWNERS)
    category[: len(CATEGORIES)] = np.arange(len(CATEGORIES))
    return _Places(
        level=random.lognormal(3, 0.6, cards),
        category=category,
        price=_PRICES[category] * random.lognormal(0, 0.3, merchants),
        crowd=1 / np.arange(4, merchants + 4),
    )


def _by_owners(random: np.random.Generator, places: _Places, count: int) -> _Payments:
    """A few favourite merchants, trips with several purchases, by day rather than by night; a large one at times."""
    busy = random.gamma(2, size=len(places.level))
    card = random.choice(len(busy), count, p=busy / busy.sum())
    hour = random.normal(15, 4, count) % 24
    at = random.integers(0, DAYS, count) * float(_DAY) + hour * _HOUR
    # A third are bought on the way of another purchase, that of the row before, a quarter of an hour later or so.
    trips = np.flatnonzero(random.random(count) < 0.33)
    trips = trips[trips > 0]
    card[trips] = card[trips - 1]
    at[trips] = at[trips - 1] + random.exponential(15 * _MINUTE, len(trips))

    crowd = places.crowd / places.crowd.sum()
    favourites = random.choice(len(crowd), (len(busy), 12), p=crowd)
    merchant = favourites[card, random.integers(0, 12, count)]
    elsewhere = random.random(count) < 0.12
    merchant[elsewhere] = random.choice(len(crowd), int(elsewhere.sum()), p=crowd)
    amount = places.level[card] * places.price[merchant] * random.lognormal(0, 0.35, count)
    amount[random.random(count) < 0.02] *= 6
    return card, merchant, amount, at.clip(0, DAYS * float(_DAY) - 1)


def _by_thieves(random: np.random.Generator, places: _Places, bursts: Ints) -> _Payments:
    """Several purchases within minutes, for more than the owner spends, where thieves go; the first may be a test.

    Args:
        random: the source of chance.
        places: where.
        bursts: for each stolen card, how often it is used.
    """
    count = int(bursts.sum())
    card = np.repeat(random.integers(0, len(places.level), len(bursts)), bursts)
    first = np.cumsum(bursts) - bursts
    gaps = random.exponential(4 * _MINUTE, count)
    gaps[first] = 0
    waited = np.cumsum(gaps)
    begun = random.uniform(0, DAYS * _DAY - 2 * _HOUR, len(bursts))
    at = np.repeat(begun - waited[first], bursts) + waited

    liked = places.crowd**0.5 * (_THIEVES / np.bincount(places.category))[places.category]
    merchant = random.choice(len(liked), count, p=liked / liked.sum())
    amount = places.level[card] * random.lognormal(1.0, 0.9, count)
    tests = first[random.random(len(first)) < 0.5]
    amount[tests] = random.uniform(0.5, 3, len(tests))
    return card, merchant, amount, at.clip(0, DAYS * float(_DAY) - 1)


def _reports(random: np.random.Generator, transactions: pa.Table) -> pa.Table:
    """Nine of ten frauds, each reported some days later; the owners of the others never notice."""
    noticed = transactions["fraud"].to_numpy() & (random.random(transactions.num_rows) < 0.9)
    frauds = transactions.filter(pa.array(noticed))
    waited = (random.lognormal(np.log(4), 0.7, frauds.num_rows) * _DAY).astype(np.int64)
    at = frauds["event_timestamp"].cast(pa.int64()).to_numpy()
    reports = frauds.select(["transaction_id", "card", "merchant", "event_timestamp"])
    return reports.append_column("created", pa.array(at + waited).cast(_UTC_US))


def _terminal_delays(random: np.random.Generator, count: int) -> Ints:
    """Microseconds until a transaction is known: seconds, but hours where a terminal is offline."""
    delay = random.lognormal(np.log(2), 0.8, count) * _SECOND
    offline = random.random(count) < 0.02
    delay[offline] = random.uniform(0, 12 * _HOUR, int(offline.sum()))
    return delay.astype(np.int64)


def _times(after_start_us: Ints) -> pa.Array:
    return pa.array(after_start_us + int(START.timestamp()) * _SECOND).cast(_UTC_US)
