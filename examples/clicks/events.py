"""Clicks, made up from a seed: users who come and go, robots, and every trouble that a stream has.

Some clicks are late, none are in order, some are sent twice, and now and then comes something that nobody can read.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from tiffin.time import DAY_US, SECOND_US, format_us

#: What happens to messages, as shares of them.
LATE, TWICE, BROKEN = 0.05, 0.03, 0.002
#: A share of the users are robots, and a share of the clicks begin a new session.
_ROBOTS, _NEW_SESSION = 0.02, 0.08
_PAGES = ("/", "/shoes", "/shirts", "/hats", "/basket", "/about")
_UTC_US = pa.timestamp("us", "UTC")
#: The history begins so long before the stream, and its last minutes come by the stream too.
_PAST_US, _BOTH_WAYS_US = DAY_US + 3_600 * SECOND_US, 300 * SECOND_US

Message = dict[str, Any]


@dataclass(frozen=True)
class Click:
    """One click: what the producer knows of it.

    Attributes:
        event_id: its number.
        user_id, session, page, is_bot: who, and where.
        at_us: when it happened.
        sent_us: when it was sent, which is when it became known.
    """

    event_id: int
    user_id: int
    session: str
    page: str
    is_bot: bool
    at_us: int
    sent_us: int

    def message(self) -> Message:
        """As it is sent; the clicks of a user go to one partition."""
        value = {
            "event_id": self.event_id,
            "user_id": self.user_id,
            "session": {"id": self.session},
            "page": {"path": self.page, "title": "of no use to anybody"},
            "is_bot": self.is_bot,
            "at": format_us(self.at_us),
            "sent": format_us(self.sent_us),
        }
        return {"value": json.dumps(value).encode(), "key": str(self.user_id).encode()}


@dataclass
class World:
    """Users who click.

    Args:
        seed: the same seed gives the same clicks, but for the moments.
        users: how many there are; a few click most.

    Attributes:
        sent, late, twice, broken: messages so far, and what was done to them.
        clicked: the moments of the clicks of the stream, in the order in which they were sent.
    """

    seed: int
    users: int
    sent: int = 0
    late: int = 0
    twice: int = 0
    broken: int = 0
    clicked: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        busy = 1 / np.arange(3, self.users + 3)
        self._busy = busy / busy.sum()
        self._robots = self._random.random(self.users) < _ROBOTS
        self._sessions = [0] * self.users
        self._count = 0
        self._recent: deque[Message] = deque(maxlen=500)

    def past(self, count: int, until_us: int) -> tuple[pa.Table, list[Message]]:
        """Clicks of a day and an hour.

        Returns:
            The history, and messages of its last minutes, so that these come both ways.
        """
        moments = np.sort(self._random.integers(until_us - _PAST_US, until_us - SECOND_US, count)).tolist()
        clicks = [self._click(user, at, at) for user, at in zip(self._choose(count), moments, strict=True)]
        columns = {name: [getattr(click, name) for click in clicks] for name in ("event_id", "user_id", "session")}
        table = {name: pa.array(values) for name, values in columns.items()}
        table |= {name: pa.array([getattr(click, name) for click in clicks]) for name in ("page", "is_bot")}
        table |= {"at": pa.array(moments, _UTC_US), "sent": pa.array(moments, _UTC_US)}
        again = [click.message() for click in clicks if click.at_us > until_us - _BOTH_WAYS_US]
        self.sent += len(again)
        return pa.table(table), again

    def now(self, count: int, now_us: int) -> list[Message]:
        """So many new clicks, and what comes with them."""
        found = []
        jitter = self._random.integers(0, 3 * SECOND_US, count)
        late = np.where(self._random.random(count) < LATE, self._random.exponential(180, count).clip(3, 3_000), 0)
        moments = (now_us - jitter - (late * SECOND_US).astype(np.int64)).tolist()
        fates = self._random.random(count).tolist()
        self.late += int((late > 0).sum())
        for user, at_us, fate in zip(self._choose(count), moments, fates, strict=True):
            message = self._click(user, at_us, now_us).message()
            self.clicked.append(at_us)
            found.append(message)
            self._recent.append(message)
            if fate < TWICE:
                found.append(self._recent[int(fate / TWICE * len(self._recent))])
                self.twice += 1
            elif fate > 1 - BROKEN:
                found.append(self._spoilt(message))
                self.broken += 1
        self.sent += len(found)
        return found

    def _choose(self, count: int) -> list[int]:
        chosen: list[int] = self._random.choice(self.users, count, p=self._busy).tolist()
        return chosen

    def _click(self, user: int, at_us: int, sent_us: int) -> Click:
        self._count += 1
        if self._random.random() < _NEW_SESSION:
            self._sessions[user] += 1
        page = _PAGES[self._count * 7 % len(_PAGES)]
        session = f"{user}-{self._sessions[user]}"
        return Click(self._count, user, session, page, bool(self._robots[user]), at_us, sent_us)

    def _spoilt(self, message: Message) -> Message:
        """What a faulty program sends: half a message, a word for a number, or a click of no time."""
        value: bytes = message["value"]
        spoilt = (
            value[: len(value) // 2],
            value.replace(b'"event_id": ', b'"event_id": "no ').replace(b", ", b'", ', 1),
            value.replace(b'"at"', b'"when"'),
        )
        return message | {"value": spoilt[self.broken % len(spoilt)]}
