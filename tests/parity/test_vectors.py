"""What is precomputed for a service is at every moment what is read from its views one by one (ONL-4)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from parity.repository import Repository, commit
from tiffin.contracts.online import ReadRequest, WriteBatch, WriteResult
from tiffin.definitions import Aggregation, FeatureService
from tiffin.errors import NotFoundError, RequestError, StoreUnavailableError
from tiffin.online.response import OnlineResponse
from tiffin.online.vectors import VectorReader
from tiffin.operations.apply import apply
from tiffin.operations.delete import delete_entities
from tiffin.operations.online import explain_online, read_online, read_online_async
from tiffin.operations.vectors import precompute
from tiffin.planning.vectors import vector_spec
from tiffin.time import SECOND_US, ManualClock
from tiffin.types import Float64, Int64, String
from unit.online.drivers import WEATHER, opened, push, view

STATS = view("stats", {"trips": Int64, "rating": Float64}, ttl=timedelta(hours=2))
SUMS = view("sums", {"n": Int64}, aggregations=[Aggregation("*", "count", timedelta(hours=1), name="n")])
NAMES = view("names", {"title": String})
FEATURES = ["names:title", "stats:rating", "stats:trips"]
KEYS = [1, 2, 3, 4, 5, None, 2]
SERVICE = FeatureService(name="model", features=[NAMES, STATS[["rating", "trips"]]], precompute_online=True)


@pytest.fixture
def repository(tmp_path: Path, section: dict[str, object]) -> Iterator[Repository]:
    """A repository over one of the stores."""
    repository = opened(tmp_path, STATS, NAMES, SERVICE, online=section)
    yield repository
    repository.close()


def service(repository: Repository) -> FeatureService:
    return repository.snapshot().service("model")


def answer(repository: Repository, asked: Any, keys: list[Any] = KEYS) -> str:
    return shown(read_online(repository, asked, {"driver_id": keys}))


def shown(read: OnlineResponse) -> str:
    """All that an answer says; as text, since NaN is not equal to itself."""
    return repr((read.to_dict(), read.statuses(), read.event_us(), read.to_arrow().to_pylist()))


def good(repository: Repository, keys: list[int]) -> list[bool]:
    """Whether each key has a vector that is believed."""
    spec = vector_spec(repository.snapshot(), service(repository))
    stored = [b"i" + (key + (1 << 63)).to_bytes(8, "big") for key in keys]
    reader = VectorReader(len(spec.members))
    return [reader.rows(row) is not None for row in repository.online.read([ReadRequest(spec.table, stored)])[0]]


def write(repository: Repository, chance: random.Random) -> None:
    """One write of whatever kind."""
    keys, hours = chance.sample([1, 2, 3, 4], 2), chance.choice([0.5, 1, 1.5, 3])
    kind = chance.random()
    if kind < 0.45:
        push(
            repository, "stats", hours, driver_id=keys, trips=[chance.randrange(9), None], rating=[chance.random()] * 2
        )
    elif kind < 0.9:
        push(repository, "names", hours, driver_id=keys, title=[f"name {chance.randrange(9)}", None])
    else:
        delete_entities(repository, {"driver_id": keys[:1]}, [chance.choice(["stats", "names"])])


def test_answers_are_those_of_the_views_whatever_is_written(repository: Repository) -> None:
    chance = random.Random(7)
    push(repository, "stats", driver_id=[1, 2], trips=[10, None], rating=[0.5, float("nan")])
    assert answer(repository, service(repository)) == answer(repository, FEATURES)
    assert good(repository, [1]) == [False]
    assert precompute(repository) == 2
    assert good(repository, [1, 2, 3]) == [True, True, False]
    for _ in range(25):
        write(repository, chance)
        assert answer(repository, service(repository)) == answer(repository, FEATURES)
    assert all(good(repository, [1, 2, 3, 4]))
    clock = repository.clock
    assert isinstance(clock, ManualClock)
    clock.advance(timedelta(hours=1))
    assert answer(repository, service(repository)) == answer(repository, FEATURES)
    assert explain_online(repository, service(repository))["precomputed"]


async def test_answers_are_the_same_without_holding_up_the_event_loop(repository: Repository) -> None:
    push(repository, "stats", driver_id=[1, 2], trips=[10, None], rating=[0.5, 1.5])
    precompute(repository, "model")
    push(repository, "names", driver_id=[2, 3], title=["b", "c"])
    read = await read_online_async(repository, service(repository), {"driver_id": KEYS})
    assert shown(read) == answer(repository, FEATURES)
    await repository.online.close_async()


def test_writers_at_once_leave_what_all_of_them_have_written(repository: Repository) -> None:
    push(repository, "names", 4, driver_id=[1], title=["first"])
    precompute(repository)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda seed: [write(repository, random.Random(seed * 100 + n)) for n in range(8)], range(6)))
    assert all(good(repository, [1, 2, 3, 4]))
    assert answer(repository, service(repository)) == answer(repository, FEATURES)


@pytest.mark.parametrize("is_written", [False, True], ids=["before it wrote", "after it wrote"])
def test_a_writer_that_dies_is_no_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_written: bool) -> None:
    repository = opened(tmp_path, STATS, NAMES, SERVICE)
    push(repository, "stats", driver_id=[1], trips=[1], rating=[1.0])
    precompute(repository)
    write_now = repository.online.write

    def die(batch: WriteBatch) -> WriteResult:
        if is_written:
            write_now(batch)
        raise StoreUnavailableError("gone")

    change = partial(push, repository, "stats", 0.5, driver_id=[1], trips=[2], rating=[2.0])
    with monkeypatch.context() as patched:
        patched.setattr(repository.online, "write", die)
        with pytest.raises(StoreUnavailableError):
            change()
    assert good(repository, [1]) == [False]
    assert answer(repository, service(repository), [1]) == answer(repository, FEATURES, [1])
    # The dead one's word stands until it is old: others cannot know that it will not write any more.
    change()
    assert good(repository, [1]) == [False]
    assert isinstance(repository.clock, ManualClock)
    repository.clock.advance(timedelta(seconds=601))
    change()
    assert good(repository, [1]) == [True]
    assert answer(repository, service(repository), [1]) == answer(repository, FEATURES, [1])


def test_vectors_that_nobody_has_kept_are_not_believed_later(tmp_path: Path) -> None:
    repository = opened(tmp_path, STATS, NAMES, SERVICE)
    push(repository, "stats", driver_id=[1], trips=[1], rating=[1.0])
    precompute(repository)
    assert good(repository, [1]) == [True]
    apply(repository, FeatureService(name="model", features=SERVICE.features))
    push(repository, "stats", 0.5, driver_id=[1], trips=[2], rating=[2.0])
    apply(repository, SERVICE)
    assert good(repository, [1]) == [False]
    assert answer(repository, service(repository)) == answer(repository, FEATURES)


def test_nothing_is_kept_before_it_is_asked_for(tmp_path: Path) -> None:
    repository = opened(tmp_path, STATS, NAMES, SERVICE)
    push(repository, "stats", driver_id=[1], trips=[1], rating=[1.0])
    answer(repository, service(repository))
    assert [info.rows for info in repository.online.tables("tests.:")] == [0]


def test_a_table_that_is_replaced_has_vectors_of_its_own(tmp_path: Path) -> None:
    repository = opened(tmp_path, STATS, NAMES, SERVICE)
    push(repository, "stats", driver_id=[1], trips=[1], rating=[1.0])
    precompute(repository)
    commit(repository, [NAMES, SERVICE, view("stats", {"trips": Int64, "rating": Float64}, ttl=timedelta(hours=1))])
    old = repository.snapshot()
    newer = old.with_storage("stats", _moved(old.storage("stats")))
    repository.registry.commit(newer, old.version, created_us=0, author="tests", message="")
    repository.adopt(newer)
    repository.online.ensure(["tests.stats.2"])
    push(repository, "stats", driver_id=[1, 2], trips=[7, 8], rating=[7.0, 8.0])
    assert answer(repository, service(repository)) == answer(repository, FEATURES)
    assert precompute(repository) == 2
    assert len(repository.online.tables("tests.:")) == 1
    assert answer(repository, service(repository)) == answer(repository, FEATURES)


def _moved(storage: Any) -> Any:
    return type(storage)(2, "tests.stats.2", storage.layouts, (storage.table,), SECOND_US)


@pytest.mark.parametrize(
    ("service", "words"),
    [
        (FeatureService(name="m", features=[STATS]), "is not to be precomputed"),
        (FeatureService(name="m", features=[STATS, WEATHER], precompute_online=True), "is read by 2 keys"),
        (FeatureService(name="m", features=[SUMS], precompute_online=True), "has windows, in view sums"),
    ],
)
def test_a_service_that_cannot_be_precomputed_says_why_and_is_read_as_ever(
    tmp_path: Path, service: FeatureService, words: str
) -> None:
    repository = opened(tmp_path, STATS, WEATHER, SUMS, service)
    with pytest.raises(RequestError, match=words):
        precompute(repository, "m")
    found = read_online(repository, repository.snapshot().service("m"), [{"driver_id": 1, "city": "Oslo"}])
    assert found.to_dict()["driver_id"] == [1]


def test_a_service_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="model"):
        precompute(opened(tmp_path, STATS, SERVICE), "modle")
