"""Tables for online stores: scripts of writes, loads and reads with the answers, written by hand.

They are data, as in `tables.py`: the oracle is held to them here, and the same scripts are meant for the real stores.
"""

from __future__ import annotations

from semantics.cases import Delete, Expect, KeyCase, Load, OnlineCase, Push, ServeCase, fact, tombstone, view
from tiffin.semantics.oracle import View
from tiffin.semantics.oracle_requests import Frame, Join

HERE = ("PRESENT",)
NULL = ("NULL_VALUE",)
NONE = ("NOT_FOUND",)
OLD = ("OUTSIDE_MAX_AGE",)

X1, X2, X3 = fact((1,), 10, x=1), fact((1,), 20, x=2), fact((1,), 30, x=3)

WRITES = [
    OnlineCase(
        "the newest fact of one batch wins, wherever it stands",
        ("WR-1", "ORD"),
        view(),
        (
            Push((X1, X3, X2), 40, (1, 2, 0)),
            Expect((1,), 40, (3,), HERE, 30),
        ),
    ),
    OnlineCase(
        "a late fact never overwrites a newer one",
        ("WR-1",),
        view(),
        (
            Push((X2,), 40, (1, 0, 0)),
            Push((X1,), 40, (0, 1, 0)),
            Expect((1,), 40, (2,), HERE, 20),
            Push((X3,), 40, (1, 0, 0)),
            Expect((1,), 40, (3,), HERE, 30),
        ),
    ),
    OnlineCase(
        "of one event time the fact known last wins, whichever arrives last",
        ("WR-1", "ORD"),
        view(),
        (
            Push((fact((1,), 10, 15, x=2),), 40, (1, 0, 0)),
            Push((fact((1,), 10, 11, x=1),), 40, (0, 1, 0)),
            Expect((1,), 40, (2,), HERE, 10),
            Push((fact((1,), 10, 16, x=3),), 40, (1, 0, 0)),
            Expect((1,), 40, (3,), HERE, 10),
        ),
    ),
    OnlineCase(
        "a stream offset decides between equal times, before the payload does",
        ("WR-1", "ORD"),
        view(),
        (
            Push((fact((1,), 10, x=1, offset=5, encoded=b"\x01"),), 40, (1, 0, 0)),
            Push((fact((1,), 10, x=9, offset=4, encoded=b"\x09"),), 40, (0, 1, 0)),
            Expect((1,), 40, (1,), HERE, 10),
            Push((fact((1,), 10, x=0, offset=6, encoded=b"\x00"),), 40, (1, 0, 0)),
            Expect((1,), 40, (0,), HERE, 10),
        ),
    ),
    OnlineCase(
        "without offsets the greater payload wins, whichever arrives last",
        ("WR-1", "ORD"),
        view(),
        (
            Push((fact((1,), 10, x=7, encoded=b"\x07"),), 40, (1, 0, 0)),
            Push((fact((1,), 10, x=9, encoded=b"\x09"),), 40, (1, 0, 0)),
            Push((fact((1,), 10, x=8, encoded=b"\x08"),), 40, (0, 1, 0)),
            Expect((1,), 40, (9,), HERE, 10),
        ),
    ),
    OnlineCase(
        "keys do not touch one another",
        ("WR-1",),
        view(),
        (
            Push((X1, fact((2,), 5, x=5), fact((2,), 4, x=4)), 40, (2, 1, 0)),
            Expect((1,), 40, (1,), HERE, 10),
            Expect((2,), 40, (5,), HERE, 5),
            Expect((3,), 40, (None,), NONE, None),
        ),
    ),
    OnlineCase(
        "writing the same facts again changes nothing",
        ("WR-2",),
        view(),
        (
            Push((X1, X2), 40, (1, 1, 0)),
            Push((X2, X1), 40, (0, 2, 0)),
            Push((X2, X2), 41, (0, 2, 0)),
            Expect((1,), 41, (2,), HERE, 20),
        ),
    ),
    OnlineCase(
        "a newer fact replaces the whole row, its nulls too",
        ("WR-3",),
        View("pair", {"driver": "int64"}, {"a": "int64", "b": "int64"}),
        (
            Push((fact((1,), 10, a=1, b=2),), 40, (1, 0, 0)),
            Push((fact((1,), 20, a=None, b=3),), 40, (1, 0, 0)),
            Expect((1,), 40, (None, 3), ("NULL_VALUE", "PRESENT"), 20),
            Push((fact((1,), 15, a=7, b=None),), 40, (0, 1, 0)),
            Expect((1,), 40, (None, 3), ("NULL_VALUE", "PRESENT"), 20),
        ),
    ),
    OnlineCase(
        "replaying older facts does not bring a deleted key back, a newer fact does",
        ("WR-4",),
        view(),
        (
            Push((X1,), 40, (1, 0, 0)),
            Delete((1,), 20, 40),
            Expect((1,), 40, (None,), NONE, None),
            Push((X1,), 40, (0, 1, 0)),
            Expect((1,), 40, (None,), NONE, None),
            Push((X3,), 40, (1, 0, 0)),
            Expect((1,), 40, (3,), HERE, 30),
        ),
    ),
    OnlineCase(
        "a delete beats a value of equal times, in both orders of arrival",
        ("WR-4", "ORD"),
        view(),
        (
            Push((X2,), 40, (1, 0, 0)),
            Delete((1,), 20, 40),
            Expect((1,), 40, (None,), NONE, None),
            Push((X2,), 40, (0, 1, 0)),
            Expect((1,), 40, (None,), NONE, None),
            Push((fact((2,), 20, x=2, encoded=b"\xff"), tombstone((2,), 20)), 40, (1, 1, 0)),
            Expect((2,), 40, (None,), NONE, None),
        ),
    ),
    OnlineCase(
        "a value of the same event time that became known after the delete brings the key back",
        ("WR-4", "ORD"),
        view(),
        (
            Delete((1,), 20, 40),
            Push((fact((1,), 20, 25, x=5),), 40, (1, 0, 0)),
            Expect((1,), 40, (5,), HERE, 20),
        ),
    ),
    OnlineCase(
        "a value that comes after a delete of equal times in the stream brings the key back, one before it does not",
        ("WR-4", "ORD"),
        view(),
        (
            Push((tombstone((1,), 20, offset=4),), 40, (1, 0, 0)),
            Push((fact((1,), 20, x=3, offset=3),), 40, (0, 1, 0)),
            Expect((1,), 40, (None,), NONE, None),
            Push((fact((1,), 20, x=5, offset=5),), 40, (1, 0, 0)),
            Expect((1,), 40, (5,), HERE, 20),
        ),
    ),
    OnlineCase(
        "a late delete does not remove a newer fact",
        ("WR-4",),
        view(),
        (
            Push((X2,), 40, (1, 0, 0)),
            Delete((1,), 10, 40),
            Expect((1,), 40, (2,), HERE, 20),
        ),
    ),
    OnlineCase(
        "a delete of a key never seen holds against older facts that come later",
        ("WR-4",),
        view(),
        (
            Delete((1,), 20, 40),
            Push((X1,), 40, (0, 1, 0)),
            Expect((1,), 40, (None,), NONE, None),
        ),
    ),
    OnlineCase(
        "a fact as far ahead as the skew allows is written and served at once, one microsecond more is refused",
        ("WR-5", "ONL-2"),
        view(ttl=5),
        (
            Push((fact((1,), 110, x=1), fact((2,), 111, x=2)), 100, (1, 0, 1), max_future_skew_us=10),
            Expect((1,), 100, (1,), HERE, 110),
            Expect((1,), 115, (1,), HERE, 110),
            Expect((1,), 116, (None,), OLD, 110),
            Expect((2,), 111, (None,), NONE, None),
        ),
    ),
    OnlineCase(
        "a refused fact does not hide the one that may be written, and may come again in its time",
        ("WR-5",),
        view(),
        (
            Push((fact((1,), 50, x=5), fact((1,), 111, x=9)), 100, (1, 0, 1), max_future_skew_us=10),
            Expect((1,), 100, (5,), HERE, 50),
            Push((fact((1,), 111, x=9),), 101, (1, 0, 0), max_future_skew_us=10),
            Expect((1,), 101, (9,), HERE, 111),
        ),
    ),
    OnlineCase(
        "a tombstone too far ahead is refused like any fact",
        ("WR-5", "WR-4"),
        view(),
        (
            Push((fact((1,), 50, x=5), tombstone((1,), 101)), 100, (1, 0, 1)),
            Expect((1,), 100, (5,), HERE, 50),
        ),
    ),
]

READS = [
    OnlineCase(
        "the ttl is a closed interval that ends now",
        ("ONL-2",),
        view(ttl=10),
        (
            Push((fact((1,), 100, x=1),), 100, (1, 0, 0)),
            Expect((1,), 100, (1,), HERE, 100),
            Expect((1,), 110, (1,), HERE, 100),
            Expect((1,), 111, (None,), OLD, 100),
        ),
    ),
    OnlineCase(
        "a ttl of zero has no limit",
        ("ONL-2", "PIT-2"),
        view(ttl=0),
        (
            Push((fact((1,), 1, x=1),), 100, (1, 0, 0)),
            Expect((1,), 10**15, (1,), HERE, 1),
        ),
    ),
    OnlineCase(
        "an expired row with a null field is outside its age in every field",
        ("ONL-2", "ONL-3"),
        View("pair", {"driver": "int64"}, {"a": "int64", "b": "int64"}, ttl_us=10),
        (
            Push((fact((1,), 100, a=None, b=1),), 100, (1, 0, 0)),
            Expect((1,), 111, (None, None), ("OUTSIDE_MAX_AGE", "OUTSIDE_MAX_AGE"), 100),
        ),
    ),
    OnlineCase(
        "a fact past its valid-to is outside its age, and the older fact does not come back",
        ("PIT-13", "ONL-2"),
        view(),
        (
            Push((X1, fact((1,), 20, x=2, valid_to=30)), 25, (1, 1, 0)),
            Expect((1,), 29, (2,), HERE, 20),
            Expect((1,), 30, (None,), OLD, 20),
        ),
    ),
    OnlineCase(
        "present, null, not found and too old are four answers",
        ("ONL-3",),
        view(ttl=10),
        (
            Push(
                (fact((1,), 95, x=1), fact((2,), 95, x=None), fact((3,), 89, x=3), tombstone((4,), 95)), 100, (4, 0, 0)
            ),
            Expect((1,), 100, (1,), HERE, 95),
            Expect((2,), 100, (None,), NULL, 95),
            Expect((3,), 100, (None,), OLD, 89),
            Expect((4,), 100, (None,), NONE, None),
            Expect((5,), 100, (None,), NONE, None),
        ),
    ),
    OnlineCase(
        "a deleted key is not found however long ago it was deleted",
        ("ONL-3", "WR-4"),
        view(ttl=10),
        (
            Delete((1,), 20, 40),
            Expect((1,), 1000, (None,), NONE, None),
        ),
    ),
    OnlineCase(
        "a null key is not found",
        ("PIT-8", "ONL-3"),
        view(),
        (
            Push((X1,), 40, (1, 0, 0)),
            Expect((None,), 40, (None,), NONE, None),
        ),
    ),
    OnlineCase(
        "a default replaces null, whatever made it, and the status still says what was found",
        ("ONL-5", "ONL-3"),
        view(ttl=10, defaults={"x": -1}),
        (
            Push((fact((1,), 95, x=0), fact((2,), 95, x=None), fact((3,), 89, x=3)), 100, (3, 0, 0)),
            Expect((1,), 100, (0,), HERE, 95),
            Expect((2,), 100, (-1,), NULL, 95),
            Expect((3,), 100, (-1,), OLD, 89),
            Expect((4,), 100, (-1,), NONE, None),
        ),
    ),
]

HISTORY = view(X1, X2, X3)

LOADS = [
    OnlineCase(
        "a range includes both its ends",
        ("MAT-1",),
        HISTORY,
        (
            Load(11, 19, 100),
            Expect((1,), 100, (None,), NONE, None),
            Load(10, 19, 100),
            Expect((1,), 100, (1,), HERE, 10),
            Load(11, 20, 100),
            Expect((1,), 100, (2,), HERE, 20),
            Load(30, 30, 100),
            Expect((1,), 100, (3,), HERE, 30),
        ),
    ),
    OnlineCase(
        "ranges in any order, overlapping and repeated, end the same",
        ("MAT-1", "WR-1"),
        HISTORY,
        (
            Load(21, 30, 100),
            Load(0, 25, 100),
            Load(0, 9, 100),
            Load(15, 30, 100),
            Load(0, 25, 100),
            Expect((1,), 100, (3,), HERE, 30),
        ),
    ),
    OnlineCase(
        "a range that reaches past now loads nothing before its time",
        ("MAT-1",),
        HISTORY,
        (
            Load(0, 100, 25),
            Expect((1,), 25, (2,), HERE, 20),
            Load(0, 100, 30),
            Expect((1,), 30, (3,), HERE, 30),
        ),
    ),
    OnlineCase(
        "a forecast known in advance is not loaded before its event time, and does not hide the present",
        ("MAT-1",),
        view(X1, fact((1,), 30, 5, x=3)),
        (
            Load(0, 100, 29),
            Expect((1,), 29, (1,), HERE, 10),
            Load(0, 100, 30),
            Expect((1,), 30, (3,), HERE, 30),
        ),
    ),
    OnlineCase(
        "a fact not yet known is left to a later run and does not hide the known one",
        ("MAT-1",),
        view(X1, fact((1,), 20, 50, x=2)),
        (
            Load(0, 49, 49),
            Expect((1,), 49, (1,), HERE, 10),
            Load(0, 50, 50),
            Expect((1,), 50, (2,), HERE, 20),
        ),
    ),
    OnlineCase(
        "a pushed fact newer than the range stays",
        ("MAT-1", "WR-1"),
        HISTORY,
        (
            Push((fact((1,), 40, x=4),), 50, (1, 0, 0)),
            Load(0, 50, 50),
            Expect((1,), 50, (4,), HERE, 40),
        ),
    ),
    OnlineCase(
        "a key deleted after the range stays deleted, and null keys are left out",
        ("MAT-1", "WR-4", "PIT-8"),
        view(X1, X2, fact((None,), 15, x=9)),
        (
            Delete((1,), 25, 50),
            Load(0, 50, 50),
            Expect((1,), 50, (None,), NONE, None),
        ),
    ),
]

ONLINE = [*WRITES, *READS, *LOADS]

TRIPS = View("trips", {"driver": "int64"}, {"x": "int64", "y": "string"}, [fact((1,), 10, x=1, y=None)])
SCORES = View("scores", {"driver": "int64"}, {"x": "int64"}, [fact((1,), 12, x=100), fact((2,), 5, x=7)], ttl_us=10)
WEATHER = View("weather", {"airport": "string"}, {"wind": "int64"}, [fact(("JFK",), 9, wind=5)])
MARKET = View("market", {}, {"rate": "double"}, [fact((), 11, rate=0.5)])

SERVES = [
    ServeCase(
        "columns come as asked, and each row is answered by itself",
        ("ONL-1", "ONL-3"),
        Frame(
            {"driver": "int64"},
            [{"driver": 404}, {"driver": 1}, {"driver": 2}, {"driver": 1}, {"driver": None}],
        ),
        (Join(TRIPS), Join(SCORES)),
        20,
        ("driver", "trips__y", "scores__x", "trips__x"),
        (
            (404, None, None, None),
            (1, None, 100, 1),
            (2, None, None, None),
            (1, None, 100, 1),
            (None, None, None, None),
        ),
        (
            ("NOT_FOUND", "NOT_FOUND", "NOT_FOUND"),
            ("NULL_VALUE", "PRESENT", "PRESENT"),
            ("NOT_FOUND", "OUTSIDE_MAX_AGE", "NOT_FOUND"),
            ("NULL_VALUE", "PRESENT", "PRESENT"),
            ("NOT_FOUND", "NOT_FOUND", "NOT_FOUND"),
        ),
        ((None, None, None), (10, 12, 10), (None, 5, None), (10, 12, 10), (None, None, None)),
        request=("trips:y", "scores:x", "trips:x"),
        full_feature_names=True,
    ),
    ServeCase(
        "one view under two keys beside one without entities",
        ("ONL-1", "PIT-11"),
        Frame(
            {"dest": "string", "origin": "string"},
            [{"dest": "SFO", "origin": "JFK"}, {"dest": "JFK", "origin": "JFK"}],
        ),
        (
            Join(WEATHER, "at_origin", {"airport": "origin"}),
            Join(MARKET),
            Join(WEATHER, "at_dest", {"airport": "dest"}),
        ),
        20,
        ("dest", "origin", "at_origin__wind", "market__rate", "at_dest__wind"),
        (("SFO", "JFK", 5, 0.5, None), ("JFK", "JFK", 5, 0.5, 5)),
        (("PRESENT", "PRESENT", "NOT_FOUND"), ("PRESENT", "PRESENT", "PRESENT")),
        ((9, 11, None), (9, 11, 9)),
        full_feature_names=True,
    ),
    ServeCase(
        "texts that are ints find int keys and come back as they went in",
        ("TYP-3",),
        Frame({"driver": "string"}, [{"driver": "1"}, {"driver": "2"}]),
        (Join(SCORES),),
        12,
        ("driver", "x"),
        (("1", 100), ("2", 7)),
        (("PRESENT",), ("PRESENT",)),
        ((12,), (5,)),
    ),
]

KEY_VALUES = [
    *(
        KeyCase(f"{value!r} is an {kind} key", ("TYP-3",), value, kind, expected)
        for value, kind, expected in [
            (7, "int64", 7),
            (7, "int32", 7),
            ("7", "int64", 7),
            ("7", "int32", 7),
            ("-7", "int64", -7),
            ("0", "int64", 0),
            ("9007199254740993", "int64", 9_007_199_254_740_993),
            (-(2**63), "int64", -(2**63)),
            ("9223372036854775807", "int64", 2**63 - 1),
            (None, "int64", None),
            (None, "string", None),
            ("007", "string", "007"),
            ("", "string", ""),
        ]
    ),
    *(
        KeyCase(f"{value!r} is no {kind} key", ("TYP-3",), value, kind, refused=True)
        for value, kind in [
            (True, "int64"),
            (False, "int32"),
            (1.0, "int64"),
            (float("nan"), "int64"),
            (b"1", "int64"),
            ("07", "int64"),
            ("+7", "int64"),
            (" 7", "int64"),
            ("7 ", "int64"),
            ("7.0", "int64"),
            ("7e0", "int64"),
            ("1_0", "int64"),
            ("-0", "int64"),
            ("\u0663", "int64"),
            ("", "int64"),
            (2**63, "int64"),
            ("9223372036854775808", "int64"),
            (2**31, "int32"),
            (1, "string"),
            (b"a", "string"),
        ]
    ),
]

#: A batch with heavy ties, and what a store holds after it, in whatever order and pieces it arrives.
SHUFFLED = (
    fact((1,), 10, x=1, encoded=b"\x01"),
    fact((1,), 20, 21, x=2, encoded=b"\x02"),
    fact((1,), 20, 21, x=3, encoded=b"\x03"),
    fact((1,), 20, 20, x=9, encoded=b"\x09"),
    fact((2,), 20, x=4, encoded=b"\x04"),
    tombstone((2,), 20),
)
SHUFFLED_ANSWERS = (
    Expect((1,), 40, (3,), HERE, 20),
    Expect((2,), 40, (None,), NONE, None),
)
