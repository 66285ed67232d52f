"""Tables for requests that are refused, and for retrieval without entity rows, written by hand; see `tables.py`."""

from __future__ import annotations

from semantics.cases import UTC_US, RefusalCase, SpineCase, drivers, fact
from semantics.tables import SCORES, TRIPS, WEATHER, stats
from tiffin.errors import InputError, NameCollisionError, TypeMismatchError
from tiffin.semantics.oracle import View
from tiffin.semantics.oracle_requests import Frame, Join

ONE = stats(fact((1,), 10, x=1))


def one_row(**values: tuple[str, object]) -> Frame:
    """A frame of one row, given as `column=(type, value)`."""
    types = {column: kind for column, (kind, _) in values.items()}
    return Frame(types, [{column: value for column, (_, value) in values.items()}])


REFUSALS = [
    RefusalCase(
        "no timestamp column",
        ("PIT-6",),
        one_row(driver=("int64", 1), when=("string", "2024-01-01")),
        ONE,
        InputError,
        ("timestamp", "none", "event_timestamp"),
    ),
    RefusalCase(
        "two timestamp columns, none called event_timestamp",
        ("PIT-6",),
        one_row(driver=("int64", 1), booked=(UTC_US, 1), flown=("timestamp[ns]", 1)),
        ONE,
        InputError,
        ("booked", "flown", "event_timestamp"),
    ),
    RefusalCase(
        "a null time names its row",
        ("PIT-7",),
        drivers((1, 10), (1, None), (1, 12)),
        ONE,
        InputError,
        ("row 1", "event_timestamp"),
    ),
    RefusalCase(
        "a text that is no time names its row",
        ("PIT-7",),
        Frame(
            {"driver": "int64", "event_timestamp": "string"},
            [
                {"driver": 1, "event_timestamp": "2024-01-01"},
                {"driver": 1, "event_timestamp": "2024-02-29"},
                {"driver": 1, "event_timestamp": "2023-02-29"},
            ],
        ),
        ONE,
        InputError,
        ("row 2", "event_timestamp", "2023-02-29"),
    ),
    RefusalCase(
        "a feature with the name of an entity column",
        ("PIT-9",),
        one_row(driver=("int64", 1), event_timestamp=(UTC_US, 10), x=("double", 0.0)),
        ONE,
        NameCollisionError,
        ("'x'", "stats:x", "full_feature_names"),
    ),
    RefusalCase(
        "two features with one name",
        ("PIT-9",),
        drivers((1, 10)),
        (Join(TRIPS), Join(SCORES)),
        NameCollisionError,
        ("trips:x", "scores:x", "full_feature_names"),
    ),
    RefusalCase(
        "a full feature name that is an entity column",
        ("PIT-9",),
        one_row(driver=("int64", 1), event_timestamp=(UTC_US, 10), stats__x=("double", 0.0)),
        ONE,
        NameCollisionError,
        ("stats__x", "stats:x"),
        full_feature_names=True,
    ),
    RefusalCase(
        "one view twice under one name",
        ("PIT-9", "PIT-11"),
        one_row(origin=("string", "JFK"), dest=("string", "SFO"), event_timestamp=(UTC_US, 10)),
        (Join(WEATHER, None, {"airport": "origin"}), Join(WEATHER, None, {"airport": "dest"})),
        NameCollisionError,
        ("weather", "with_name"),
        full_feature_names=True,
    ),
    RefusalCase(
        "names collide in an empty frame too, before anything runs",
        ("PIT-9", "PIT-10"),
        Frame({"driver": "int64", "event_timestamp": UTC_US, "x": "int64"}),
        ONE,
        NameCollisionError,
        ("'x'", "stats:x"),
    ),
    RefusalCase(
        "a bool is not an int key",
        ("TYP-3",),
        one_row(driver=("bool", True), event_timestamp=(UTC_US, 10)),
        ONE,
        TypeMismatchError,
        ("driver",),
    ),
    RefusalCase(
        "a float is not an int key",
        ("TYP-3",),
        one_row(driver=("double", 1.0), event_timestamp=(UTC_US, 10)),
        ONE,
        TypeMismatchError,
        ("driver",),
    ),
    RefusalCase(
        "a text that is no int names its row",
        ("TYP-3",),
        Frame(
            {"driver": "string", "event_timestamp": UTC_US},
            [{"driver": "1", "event_timestamp": 10}, {"driver": "1.0", "event_timestamp": 10}],
        ),
        ONE,
        TypeMismatchError,
        ("row 1", "driver", "1.0"),
    ),
]

SPINES = [
    SpineCase(
        "every fact between the two dates, both ends inclusive, makes a row in the order of time",
        ("PIT-12",),
        stats(fact((2,), 30, x=4), fact((1,), 9, x=1), fact((1,), 10, x=2), fact((2,), 10, x=3), fact((1,), 31, x=5)),
        10,
        30,
        None,
        ("driver", "event_timestamp", "x"),
        ((1, 10, 2), (2, 10, 3), (2, 30, 4)),
    ),
    SpineCase(
        "facts of one key and time make one row, which is evaluated as of then",
        ("PIT-12",),
        stats(fact((1,), 10, 10, x=1), fact((1,), 10, 12, x=2), fact((None,), 10, x=9)),
        0,
        99,
        None,
        ("driver", "event_timestamp", "x"),
        ((1, 10, 1),),
    ),
    SpineCase(
        "in mode event the row of a corrected fact has the correction",
        ("PIT-12",),
        stats(fact((1,), 10, 10, x=1), fact((1,), 10, 12, x=2)),
        0,
        99,
        None,
        ("driver", "event_timestamp", "x"),
        ((1, 10, 2),),
        mode="event",
    ),
    SpineCase(
        "keys filter the rows",
        ("PIT-12",),
        stats(fact((1,), 10, x=1), fact((2,), 11, x=2), fact((3,), 12, x=3)),
        0,
        99,
        ({"driver": 3}, {"driver": 1}, {"driver": 404}),
        ("driver", "event_timestamp", "x"),
        ((1, 10, 1), (3, 12, 3)),
    ),
    SpineCase(
        "keys of two columns filter together, and null agrees with nothing",
        ("PIT-12",),
        (
            Join(
                View(
                    "visits",
                    {"driver": "int64", "city": "int64"},
                    {"n": "int64"},
                    [fact((1, 7), 10, n=1), fact((1, 8), 11, n=2), fact((2, 7), 12, n=3), fact((2, 8), 13, n=4)],
                )
            ),
            Join(View("trips", {"driver": "int64"}, {"trips": "int64"}, [fact((1,), 9, trips=1)])),
        ),
        0,
        99,
        ({"driver": 1, "city": 8}, {"driver": 2, "city": 7}, {"driver": 1, "city": None}),
        ("driver", "city", "event_timestamp", "n", "trips"),
        ((1, 8, 11, 2, 1), (2, 7, 12, 3, None)),
    ),
    SpineCase(
        "the facts of two views make one spine, each row with the features of both",
        ("PIT-12",),
        (
            Join(View("trips", {"driver": "int64"}, {"trips": "int64"}, [fact((1,), 10, trips=1)])),
            Join(
                View(
                    "scores",
                    {"driver": "int64"},
                    {"score": "int64"},
                    [fact((1,), 10, score=5), fact((1,), 15, score=6), fact((2,), 12, score=7)],
                )
            ),
        ),
        0,
        99,
        None,
        ("driver", "event_timestamp", "trips", "score"),
        ((1, 10, 1, 5), (2, 12, None, 7), (1, 15, 1, 6)),
    ),
    SpineCase(
        "a key column that a view does not have is null in the rows of its facts, and sorts last",
        ("PIT-12",),
        (
            Join(View("trips", {"driver": "int64"}, {"trips": "int64"}, [fact((1,), 10, trips=1)])),
            Join(View("market", {}, {"rate": "int64"}, [fact((), 10, rate=3), fact((), 20, rate=4)])),
        ),
        0,
        99,
        None,
        ("driver", "event_timestamp", "trips", "rate"),
        ((1, 10, 1, 3), (None, 10, None, 3), (None, 20, None, 4)),
    ),
    SpineCase(
        "no facts in the range give an empty frame",
        ("PIT-12", "PIT-10"),
        stats(fact((1,), 10, x=1)),
        11,
        99,
        None,
        ("driver", "event_timestamp", "x"),
        (),
    ),
]
