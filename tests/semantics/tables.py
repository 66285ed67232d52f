"""Tables for training sets: facts, entity rows and the answers, at least one per rule, written by hand.

They are data: the tests beside this file hold the oracle to them, and the same tables are meant for the real engines.
Nothing here is computed by the code under test. Ties that only the payload decides use small ints, no nulls, and
`encoded` with one byte per field: any encoding that keeps the order of fields and of small ints decides them alike.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from semantics.cases import (
    UTC_US,
    RetrievalCase,
    drivers,
    fact,
    seen,
    tombstone,
    view,
)
from tiffin.semantics.oracle import View
from tiffin.semantics.oracle_requests import Frame, Join

NEW_YEAR = 1_704_067_200_000_000  # 2024-01-01T00:00:00Z
DAY = 86_400_000_000
NAN = float("nan")


def stats(*facts, **options):
    """The one view of most tables, joined under its own name."""
    return (Join(view(*facts, **options)),)


ORDER = [
    RetrievalCase(
        "the greatest event time wins, wherever it stands in the file",
        ("ORD",),
        drivers((1, 30), (2, 30), (3, 30)),
        stats(
            *(fact((1,), 10, x=1), fact((1,), 20, x=2), fact((1,), 15, x=3)),
            *(fact((2,), 20, x=2), fact((2,), 15, x=3), fact((2,), 10, x=1)),
            *(fact((3,), 15, x=3), fact((3,), 10, x=1), fact((3,), 20, x=2)),
        ),
        ("x",),
        ((2,), (2,), (2,)),
        {"stats": seen(3)},
    ),
    RetrievalCase(
        "the event time comes before the known time",
        ("ORD",),
        drivers((1, 60)),
        stats(fact((1,), 10, 50, x=1), fact((1,), 20, 21, x=2)),
        ("x",),
        ((2,),),
        {"stats": seen(1)},
    ),
    RetrievalCase(
        "of one event time the greatest known time wins, and that is no tie",
        ("ORD", "PIT-4"),
        drivers((1, 20), (2, 20)),
        stats(
            *(fact((1,), 10, 11, x=1), fact((1,), 10, 15, x=2), fact((1,), 10, 12, x=3)),
            *(fact((2,), 10, 15, x=2), fact((2,), 10, 12, x=3), fact((2,), 10, 11, x=1)),
        ),
        ("x",),
        ((2,), (2,)),
        {"stats": seen(2)},
    ),
    RetrievalCase(
        "equal times are decided by the encoded payload, never by the file order, and counted",
        ("ORD", "PIT-4"),
        drivers((1, 10), (2, 10), (3, 10)),
        stats(
            *(fact((1,), 10, x=7, encoded=b"\x07"), fact((1,), 10, x=9, encoded=b"\x09")),
            *(fact((2,), 10, x=9, encoded=b"\x09"), fact((2,), 10, x=7, encoded=b"\x07")),
            fact((3,), 10, x=5, encoded=b"\x05"),
        ),
        ("x",),
        ((9,), (9,), (5,)),
        {"stats": seen(3, ties=2)},
    ),
    RetrievalCase(
        "encoded payloads compare as unsigned bytes",
        ("ORD", "PIT-4"),
        drivers((1, 10)),
        stats(fact((1,), 10, x=128, encoded=b"\x80"), fact((1,), 10, x=127, encoded=b"\x7f")),
        ("x",),
        ((128,),),
        {"stats": seen(1, ties=1)},
    ),
    RetrievalCase(
        "a tie of three facts counts once, and once more for each entity row",
        ("PIT-4",),
        drivers((1, 10), (1, 11), (1, 9)),
        stats(
            fact((1,), 10, x=1, encoded=b"\x01"),
            fact((1,), 10, x=3, encoded=b"\x03"),
            fact((1,), 10, x=2, encoded=b"\x02"),
        ),
        ("x",),
        ((3,), (3,), (None,)),
        {"stats": seen(2, missing=1, ties=2)},
    ),
    RetrievalCase(
        "exact duplicates are not a tie",
        ("PIT-4",),
        drivers((1, 10)),
        stats(fact((1,), 10, x=4, encoded=b"\x04"), fact((1,), 10, x=4, encoded=b"\x04")),
        ("x",),
        ((4,),),
        {"stats": seen(1)},
    ),
    RetrievalCase(
        "a tie that a newer fact makes moot is not counted",
        ("PIT-4",),
        drivers((1, 19), (1, 20)),
        stats(
            fact((1,), 10, x=7, encoded=b"\x07"),
            fact((1,), 10, x=9, encoded=b"\x09"),
            fact((1,), 20, x=1, encoded=b"\x01"),
        ),
        ("x",),
        ((9,), (1,)),
        {"stats": seen(2, ties=1)},
    ),
    RetrievalCase(
        "a tie among expired facts is not counted",
        ("PIT-4",),
        drivers((1, 16)),
        stats(fact((1,), 10, x=7, encoded=b"\x07"), fact((1,), 10, x=9, encoded=b"\x09"), ttl=5),
        ("x",),
        ((None,),),
        {"stats": seen(0, expired=1)},
    ),
    RetrievalCase(
        "a stream offset decides before the payload does",
        ("ORD", "PIT-4"),
        drivers((1, 10)),
        stats(fact((1,), 10, x=9, encoded=b"\x09", offset=1), fact((1,), 10, x=2, encoded=b"\x02", offset=2)),
        ("x",),
        ((2,),),
        {"stats": seen(1, ties=1)},
    ),
    RetrievalCase(
        "the winner of a tie does not depend on the features asked for",
        ("PIT-4", "PIT-5"),
        drivers((1, 10)),
        (
            Join(
                View(
                    "pair",
                    {"driver": "int64"},
                    {"x": "int64", "y": "int64"},
                    [fact((1,), 10, x=1, y=9, encoded=b"\x01\x09"), fact((1,), 10, x=2, y=3, encoded=b"\x02\x03")],
                )
            ),
        ),
        ("y",),
        ((3,),),
        {"pair": seen(1, ties=1)},
        request=("pair:y",),
    ),
    RetrievalCase(
        "a tombstone makes the key missing from its time on, and beats a value of equal times",
        ("ORD", "PIT-3"),
        drivers((1, 19), (1, 20), (1, 25), (1, 30)),
        stats(fact((1,), 10, x=1), tombstone((1,), 20), fact((1,), 20, x=2, encoded=b"\xff"), fact((1,), 30, x=3)),
        ("x",),
        ((1,), (None,), (None,), (3,)),
        {"stats": seen(2, missing=2)},
    ),
    RetrievalCase(
        "a tombstone older than the ttl is missing, not expired",
        ("PIT-3",),
        drivers((1, 50)),
        stats(fact((1,), 10, x=1), tombstone((1,), 20), ttl=5),
        ("x",),
        ((None,),),
        {"stats": seen(missing=1)},
    ),
]

ROWS = [
    RetrievalCase(
        "rows keep their order, their duplicates and their extra columns",
        ("PIT-1",),
        Frame(
            {"label": "string", "driver": "int64", "event_timestamp": UTC_US, "seats": "double"},
            [
                {"label": "late", "driver": 1, "event_timestamp": 30, "seats": 4.0},
                {"label": "early", "driver": 1, "event_timestamp": 10, "seats": None},
                {"label": "late", "driver": 1, "event_timestamp": 30, "seats": 4.0},
                {"label": "other label", "driver": 1, "event_timestamp": 30, "seats": NAN},
                {"label": None, "driver": 2, "event_timestamp": 20, "seats": 0.0},
            ],
        ),
        stats(fact((1,), 10, x=1), fact((1,), 20, x=2), fact((1,), 20, x=2), fact((2,), 20, x=5)),
        ("x",),
        ((2,), (1,), (2,), (2,), (5,)),
        {"stats": seen(5)},
    ),
    RetrievalCase(
        "a fact at t and a fact at t - ttl both qualify, one microsecond beyond does not",
        ("PIT-2",),
        drivers((1, 99), (1, 100), (1, 110), (1, 111)),
        stats(fact((1,), 100, x=1), ttl=10),
        ("x",),
        ((None,), (1,), (1,), (None,)),
        {"stats": seen(2, expired=1, missing=1)},
    ),
    RetrievalCase(
        "a ttl of a day includes the same time of the day before, in real dates",
        ("PIT-2",),
        drivers(
            (1, datetime(2024, 1, 1, tzinfo=UTC)),
            (1, datetime(2024, 1, 2, tzinfo=UTC)),
            (1, datetime(2024, 1, 2, 0, 0, 0, 1, tzinfo=UTC)),
            (1, datetime(2023, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ),
        stats(fact((1,), NEW_YEAR, x=1), ttl=DAY),
        ("x",),
        ((1,), (1,), (None,), (None,)),
        {"stats": seen(2, expired=1, missing=1)},
    ),
    RetrievalCase(
        "no ttl has no limit",
        ("PIT-2",),
        drivers((1, NEW_YEAR)),
        stats(fact((1,), -NEW_YEAR, x=1), ttl=None),
        ("x",),
        ((1,),),
        {"stats": seen(1)},
    ),
    RetrievalCase(
        "a ttl of zero has no limit",
        ("PIT-2",),
        drivers((1, NEW_YEAR)),
        stats(fact((1,), 0, x=1), ttl=0),
        ("x",),
        ((1,),),
        {"stats": seen(1)},
    ),
    RetrievalCase(
        "rows without a fact, before the first fact or past the ttl stay, with nulls",
        ("PIT-3",),
        drivers((404, 50), (1, 9), (1, 21), (1, 10)),
        stats(fact((1,), 10, x=1), ttl=10),
        ("x",),
        ((None,), (None,), (None,), (1,)),
        {"stats": seen(1, expired=1, missing=2)},
    ),
    RetrievalCase(
        "a view without facts gives nulls",
        ("PIT-3",),
        drivers((1, 50), (2, 50)),
        stats(),
        ("x",),
        ((None,), (None,)),
        {"stats": seen(missing=2)},
    ),
    RetrievalCase(
        "a fact whose field is null is matched and hides the older fact",
        ("PIT-3",),
        drivers((1, 20)),
        stats(fact((1,), 10, x=1), fact((1,), 20, x=None)),
        ("x",),
        ((None,),),
        {"stats": seen(1)},
    ),
    RetrievalCase(
        "an unknown key leaves the other ints exact ints",
        ("TYP-2",),
        drivers((1, 20), (404, 20)),
        stats(fact((1,), 10, x=9_007_199_254_740_993)),
        ("x",),
        ((9_007_199_254_740_993,), (None,)),
        {"stats": seen(1, missing=1)},
    ),
    RetrievalCase(
        "an empty entity frame gives an empty frame with every column",
        ("PIT-10", "TYP-2"),
        Frame({"driver": "int64", "event_timestamp": UTC_US, "label": "string"}),
        (
            Join(
                View(
                    "wide",
                    {"driver": "int64"},
                    {"count": "int64", "name": "string", "rate": "double"},
                    [fact((1,), 1, count=1, name="a", rate=0.5)],
                )
            ),
        ),
        ("count", "name", "rate"),
        (),
        {"wide": seen()},
    ),
]

KNOWLEDGE = [
    RetrievalCase(
        "a fact after t is not seen",
        ("PIT-5",),
        drivers((1, 10), (1, 11)),
        stats(fact((1,), 10, x=1), fact((1,), 11, x=99)),
        ("x",),
        ((1,), (99,)),
        {"stats": seen(2)},
    ),
    RetrievalCase(
        "mode known: a fact that becomes known after t is not seen before that",
        ("PIT-5",),
        drivers((1, 10), (1, 19), (1, 20)),
        stats(fact((1,), 5, x=4), fact((1,), 10, 20, x=5)),
        ("x",),
        ((4,), (4,), (5,)),
        {"stats": seen(3)},
    ),
    RetrievalCase(
        "mode event: a fact that becomes known after t is seen, and counted",
        ("PIT-5",),
        drivers((1, 9), (1, 10), (1, 19), (1, 20)),
        stats(fact((1,), 5, x=4), fact((1,), 10, 20, x=5)),
        ("x",),
        ((4,), (5,), (5,), (5,)),
        {"stats": seen(4, known_later=2)},
        mode="event",
    ),
    RetrievalCase(
        "mode known: a correction changes the value from the moment when it is known",
        ("PIT-4", "PIT-5"),
        drivers((1, 12), (1, 15), (1, 100)),
        stats(fact((1,), 10, 11, x=1), fact((1,), 10, 15, x=2)),
        ("x",),
        ((1,), (2,), (2,)),
        {"stats": seen(3)},
    ),
    RetrievalCase(
        "mode known: the ttl counts from the event time, not from the known time",
        ("PIT-2",),
        drivers((1, 29), (1, 30), (1, 31)),
        stats(fact((1,), 20, 30, x=1), ttl=10),
        ("x",),
        ((None,), (1,), (None,)),
        {"stats": seen(1, expired=1, missing=1)},
    ),
    RetrievalCase(
        "mode known: a newer fact not yet known does not hide that the known one is expired",
        ("PIT-2", "PIT-3"),
        drivers((1, 20)),
        stats(fact((1,), 5, x=1), fact((1,), 18, 40, x=2), ttl=10),
        ("x",),
        ((None,),),
        {"stats": seen(expired=1)},
    ),
    RetrievalCase(
        "mode event: an expired fact known only later is expired and not counted as known later",
        ("PIT-2",),
        drivers((1, 21)),
        stats(fact((1,), 10, 30, x=1), ttl=10),
        ("x",),
        ((None,),),
        {"stats": seen(expired=1)},
        mode="event",
    ),
]

TIMES = [
    RetrievalCase(
        "the only timestamp column is the time, whatever its name",
        ("PIT-6",),
        Frame(
            {"booked_at": UTC_US, "driver": "int64", "note": "string"},
            [{"booked_at": 10, "driver": 1, "note": "2024-01-01"}, {"booked_at": 9, "driver": 1, "note": ""}],
        ),
        stats(fact((1,), 10, x=1)),
        ("x",),
        ((1,), (None,)),
        {"stats": seen(1, missing=1)},
    ),
    RetrievalCase(
        "event_timestamp is the time beside other timestamp columns, even as text",
        ("PIT-6", "PIT-7"),
        Frame(
            {"created": UTC_US, "event_timestamp": "string", "driver": "int64"},
            [{"created": 5 * NEW_YEAR, "event_timestamp": "1970-01-01T00:00:00.000009Z", "driver": 1}],
        ),
        stats(fact((1,), 9, x=1), fact((1,), 10, x=2)),
        ("x",),
        ((1,),),
        {"stats": seen(1)},
    ),
    RetrievalCase(
        "texts in ISO 8601 parse, without a zone they are UTC, nanoseconds are floored",
        ("PIT-7",),
        Frame(
            {"driver": "int64", "event_timestamp": "string"},
            [
                {"driver": 1, "event_timestamp": text}
                for text in (
                    "2023-12-31T23:59:59.999999Z",
                    "2024-01-01T00:00:00Z",
                    "2024-01-01T00:00:00",
                    "2024-01-01",
                    "2024-01-01T05:30:00+05:30",
                    "2023-12-31 19:00:00-05:00",
                    "2024-01-01T00:00:00.000000999Z",
                    "2024-01-01T00:00:00.000001+00:00",
                )
            ],
        ),
        stats(fact((1,), NEW_YEAR, x=1), fact((1,), NEW_YEAR + 1, x=2)),
        ("x",),
        ((None,), (1,), (1,), (1,), (1,), (1,), (1,), (2,)),
        {"stats": seen(7, missing=1)},
    ),
    RetrievalCase(
        "naive datetimes are UTC",
        ("PIT-7",),
        Frame(
            {"driver": "int64", "event_timestamp": "timestamp[us]"},
            [
                {"driver": 1, "event_timestamp": datetime(2024, 1, 1)},
                {"driver": 1, "event_timestamp": datetime(2023, 12, 31, 23, 59, 59, 999_999)},
            ],
        ),
        stats(fact((1,), NEW_YEAR, x=1)),
        ("x",),
        ((1,), (None,)),
        {"stats": seen(1, missing=1)},
    ),
    RetrievalCase(
        "datetimes of another zone are the same instants and come back as they went in",
        ("PIT-7",),
        Frame(
            {"driver": "int64", "event_timestamp": "timestamp[us, tz=+05:30]"},
            [
                {"driver": 1, "event_timestamp": datetime(2024, 1, 1, 5, 30, tzinfo=timezone(timedelta(minutes=330)))},
                {"driver": 1, "event_timestamp": datetime(2024, 1, 1, 5, 29, tzinfo=timezone(timedelta(minutes=330)))},
            ],
        ),
        stats(fact((1,), NEW_YEAR, x=1)),
        ("x",),
        ((1,), (None,)),
        {"stats": seen(1, missing=1)},
    ),
    RetrievalCase(
        "nanoseconds are floored, also before 1970",
        ("PIT-7",),
        Frame(
            {"driver": "int64", "event_timestamp": "timestamp[ns]"},
            [{"driver": 1, "event_timestamp": ns} for ns in (-1001, -1000, -1, 0, 999, 1000)],
        ),
        stats(fact((1,), -1, x=0), fact((1,), 0, x=1), fact((1,), 1, x=2)),
        ("x",),
        ((None,), (0,), (0,), (1,), (1,), (2,)),
        {"stats": seen(5, missing=1)},
    ),
]

TWO_PARTS = View(
    "pairs",
    {"left": "string", "right": "string"},
    {"x": "int64"},
    [
        fact(("a|b", "c"), 10, x=1),
        fact(("a", "b|c"), 10, x=2),
        fact(("", "a"), 10, x=3),
        fact(("a", ""), 10, x=4),
        fact(("a", None), 10, x=5),
        fact(("c", "a|b"), 10, x=6),
    ],
)

KEYS = [
    RetrievalCase(
        "a null key keeps its row, with nulls, and matches no null in the facts",
        ("PIT-8",),
        drivers((None, 20), (1, 20), (None, 20)),
        stats(fact((None,), 10, x=9), fact((1,), 10, x=1)),
        ("x",),
        ((None,), (1,), (None,)),
        {"stats": seen(1, missing=2)},
    ),
    RetrievalCase(
        "a null in one part of a key matches nothing",
        ("PIT-8",),
        Frame(
            {"left": "string", "right": "string", "event_timestamp": UTC_US},
            [
                {"left": "a", "right": None, "event_timestamp": 20},
                {"left": None, "right": "a", "event_timestamp": 20},
                {"left": "a", "right": "", "event_timestamp": 20},
            ],
        ),
        (Join(TWO_PARTS),),
        ("x",),
        ((None,), (None,), (4,)),
        {"pairs": seen(1, missing=2)},
    ),
    RetrievalCase(
        "keys of two parts do not collide",
        ("TYP-3",),
        Frame(
            {"right": "string", "left": "string", "event_timestamp": UTC_US},
            [
                {"left": "a|b", "right": "c", "event_timestamp": 20},
                {"left": "a", "right": "b|c", "event_timestamp": 20},
                {"left": "", "right": "a", "event_timestamp": 20},
                {"left": "c", "right": "a|b", "event_timestamp": 20},
                {"left": "a|b|c", "right": "", "event_timestamp": 20},
            ],
        ),
        (Join(TWO_PARTS),),
        ("x",),
        ((1,), (2,), (3,), (6,), (None,)),
        {"pairs": seen(4, missing=1)},
    ),
    RetrievalCase(
        "ids with leading zeros stay texts",
        ("PIT-8", "TYP-3"),
        Frame(
            {"zip": "string", "event_timestamp": UTC_US},
            [{"zip": "007", "event_timestamp": 20}, {"zip": "7", "event_timestamp": 20}],
        ),
        (Join(View("towns", {"zip": "string"}, {"x": "int64"}, [fact(("007",), 10, x=1), fact(("07",), 10, x=2)])),),
        ("x",),
        ((1,), (None,)),
        {"towns": seen(1, missing=1)},
    ),
    RetrievalCase(
        "an int32 column finds int64 keys and stays int32",
        ("PIT-8", "TYP-3"),
        Frame(
            {"driver": "int32", "event_timestamp": UTC_US},
            [{"driver": 1, "event_timestamp": 20}, {"driver": None, "event_timestamp": 20}],
        ),
        stats(fact((1,), 10, x=1)),
        ("x",),
        ((1,), (None,)),
        {"stats": seen(1, missing=1)},
    ),
    RetrievalCase(
        "a column of texts finds int keys and stays text",
        ("PIT-8", "TYP-3"),
        Frame(
            {"driver": "string", "event_timestamp": UTC_US},
            [{"driver": text, "event_timestamp": 20} for text in ("1", "-2", "9007199254740993", None)],
        ),
        stats(fact((1,), 10, x=1), fact((-2,), 10, x=2), fact((9_007_199_254_740_993,), 10, x=3)),
        ("x",),
        ((1,), (2,), (3,), (None,)),
        {"stats": seen(3, missing=1)},
    ),
    RetrievalCase(
        "ids next to one another beyond the digits of a float are told apart, beside a null",
        ("PIT-8", "TYP-3"),
        drivers((9_007_199_254_740_992, 20), (9_007_199_254_740_993, 20), (None, 20)),
        stats(fact((9_007_199_254_740_992,), 10, x=2), fact((9_007_199_254_740_993,), 10, x=3)),
        ("x",),
        ((2,), (3,), (None,)),
        {"stats": seen(2, missing=1)},
    ),
]

WEATHER = View(
    "weather", {"airport": "string"}, {"wind": "int64"}, [fact(("JFK",), 10, wind=5), fact(("SFO",), 10, wind=7)]
)
TRIPS = View("trips", {"driver": "int64"}, {"x": "int64", "y": "string"}, [fact((1,), 10, x=1, y="one")])
SCORES = View("scores", {"driver": "int64"}, {"x": "int64"}, [fact((1,), 12, x=100)], ttl_us=5)

SEVERAL_VIEWS = [
    RetrievalCase(
        "one view joined twice under different keys",
        ("PIT-11",),
        Frame(
            {"origin": "string", "dest": "string", "event_timestamp": UTC_US},
            [
                {"origin": "JFK", "dest": "SFO", "event_timestamp": 20},
                {"origin": "SFO", "dest": "JFK", "event_timestamp": 20},
                {"origin": "JFK", "dest": "JFK", "event_timestamp": 9},
                {"origin": "JFK", "dest": "LAX", "event_timestamp": 20},
            ],
        ),
        (Join(WEATHER, "at_origin", {"airport": "origin"}), Join(WEATHER, "at_dest", {"airport": "dest"})),
        ("at_origin__wind", "at_dest__wind"),
        ((5, 7), (7, 5), (None, None), (5, None)),
        {"at_origin": seen(3, missing=1), "at_dest": seen(2, missing=2)},
        full_feature_names=True,
    ),
    RetrievalCase(
        "a view without entities joins every row by time only",
        ("PIT-11",),
        drivers((1, 9), (2, 10), (None, 20), (1, 31)),
        (Join(View("market", {}, {"rate": "double"}, [fact((), 10, rate=0.5), fact((), 20, rate=0.25)], ttl_us=10)),),
        ("rate",),
        ((None,), (0.5,), (0.25,), (None,)),
        {"market": seen(2, expired=1, missing=1)},
    ),
    RetrievalCase(
        "columns come as asked, the features of two views mixed",
        ("ONL-1", "PIT-5"),
        drivers((1, 15), (1, 18), (2, 15)),
        (Join(TRIPS), Join(SCORES)),
        ("trips__y", "scores__x", "trips__x"),
        (("one", 100, 1), ("one", None, 1), (None, None, None)),
        {"trips": seen(2, missing=1), "scores": seen(1, expired=1, missing=1)},
        request=("trips:y", "scores:x", "trips:x"),
        full_feature_names=True,
    ),
    RetrievalCase(
        "a view of which nothing is asked is neither in the way nor in the report",
        ("ONL-1", "PIT-9"),
        drivers((1, 15)),
        (Join(TRIPS), Join(SCORES)),
        ("x",),
        ((100,),),
        {"scores": seen(1)},
        request=("scores:x",),
    ),
    RetrievalCase(
        "full feature names keep equal names of two views apart",
        ("PIT-9",),
        drivers((1, 15)),
        (Join(SCORES), Join(TRIPS)),
        ("scores__x", "trips__x", "trips__y"),
        ((100, 1, "one"),),
        {"scores": seen(1), "trips": seen(1)},
        full_feature_names=True,
    ),
]

VALIDITY = [
    RetrievalCase(
        "a fact is served from its event time until just before its valid-to",
        ("PIT-13",),
        drivers((1, 9), (1, 10), (1, 19), (1, 20), (1, 500)),
        stats(fact((1,), 10, x=1, valid_to=20)),
        ("x",),
        ((None,), (1,), (1,), (None,), (None,)),
        {"stats": seen(2, expired=2, missing=1)},
    ),
    RetrievalCase(
        "after the end of the newest fact there is no way back to an older one that still holds",
        ("PIT-13",),
        drivers((1, 19), (1, 24), (1, 25), (1, 40)),
        stats(fact((1,), 10, x=1, valid_to=None), fact((1,), 20, x=2, valid_to=25), fact((1,), 40, x=3)),
        ("x",),
        ((1,), (2,), (None,), (3,)),
        {"stats": seen(3, expired=1)},
    ),
    RetrievalCase(
        "a validity that ends where it starts is never served and hides the older fact",
        ("PIT-13",),
        drivers((1, 20), (1, 21)),
        stats(fact((1,), 10, x=1, valid_to=100), fact((1,), 20, x=2, valid_to=20)),
        ("x",),
        ((None,), (None,)),
        {"stats": seen(expired=2)},
    ),
    RetrievalCase(
        "the ttl and the validity both have to hold",
        ("PIT-2", "PIT-13"),
        drivers((1, 15), (1, 16), (2, 13), (2, 12)),
        stats(fact((1,), 10, x=1, valid_to=100), fact((2,), 10, x=2, valid_to=13), ttl=5),
        ("x",),
        ((1,), (None,), (None,), (2,)),
        {"stats": seen(2, expired=2)},
    ),
]

DEFAULTS = [
    RetrievalCase(
        "a default replaces null, whatever made it, and the report still says what was found",
        ("ONL-5",),
        drivers((1, 10), (2, 10), (1, 21), (404, 10), (None, 10)),
        stats(fact((1,), 10, x=7), fact((2,), 10, x=None), ttl=10, defaults={"x": -1}),
        ("x",),
        ((7,), (-1,), (-1,), (-1,), (-1,)),
        {"stats": seen(2, expired=1, missing=2)},
    ),
    RetrievalCase(
        "a default replaces neither NaN nor zero nor the empty text, and only its own field",
        ("ONL-5",),
        drivers((1, 10), (2, 10)),
        (
            Join(
                View(
                    "mixed",
                    {"driver": "int64"},
                    {"rate": "double", "count": "int64", "name": "string", "plain": "int64"},
                    [
                        fact((1,), 10, rate=NAN, count=0, name="", plain=None),
                        fact((2,), 10, rate=None, count=None, name=None, plain=None),
                    ],
                    defaults={"rate": 0.5, "count": 5, "name": "nobody"},
                )
            ),
        ),
        ("rate", "count", "name", "plain"),
        ((NAN, 0, "", None), (0.5, 5, "nobody", None)),
        {"mixed": seen(2)},
    ),
]

RETRIEVALS = [*ORDER, *ROWS, *KNOWLEDGE, *TIMES, *KEYS, *SEVERAL_VIEWS, *VALIDITY, *DEFAULTS]
