"""The keys that an online benchmark asks for: the same for every side, drawn from a seed."""

from __future__ import annotations

import random

from benchmarks.data import KEYS, parse_rows

_QUESTIONS = 10_000


def key_count(facts: str) -> int:
    """How many keys a data set of facts has."""
    kind, size, *_ = facts.split("-")
    return {"latest": parse_rows(size), "wide": parse_rows(size), "few": KEYS // 10}.get(kind, KEYS)


def asked_keys(facts: str, keys: int) -> list[list[int]]:
    """The questions, by index: each asks for so many different keys."""
    rng = random.Random(f"{facts} {keys}")
    population = range(key_count(facts))
    return [rng.sample(population, keys) for _ in range(_QUESTIONS)]


def sampled_keys(facts: str) -> list[int]:
    """A thousand keys to read back after a store was filled."""
    return sorted(random.Random(facts).sample(range(key_count(facts)), 1_000))
