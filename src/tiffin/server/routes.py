"""A route as data: where it is, what it takes, what it needs, and the function that answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tiffin.definitions import AuthzedAction

if TYPE_CHECKING:
    from tiffin.server.http import Call, Reply
    from tiffin.server.serving import Serving

#: What a route needs: nothing at all; that somebody is known; or that an action is allowed on what the request names.
Needs = Literal["nothing", "identity"] | AuthzedAction
Handler = Callable[["Serving", "Call"], Awaitable["Reply"]]


@dataclass(frozen=True)
class Route:
    """One route.

    Attributes:
        method, path: where it is.
        needs: who may use it. That an action is allowed is decided by the handler, who knows for what; an answer of a
            handler that has not decided is thrown away.
        handler: answers.
        summary: what it does, for people.
        takes: the body, a struct; ``None`` when there is none.
        gives: the bodies of answers by status, those that are no error everywhere; ``None`` for no body.
        kinds: the content types that an answer may have.
        deadline: how long it may take: as a ``read``, as a ``write``, or ``None`` for no limit.
        has_feast_errors: whether errors look like those of Feast's server.
        query: flags of the query, with what they mean.
        example: a body to begin with.
    """

    method: str
    path: str
    needs: Needs
    handler: Handler
    summary: str
    takes: type | None = None
    gives: Mapping[int, Any] = field(default_factory=dict)
    kinds: tuple[str, ...] = ("application/json",)
    deadline: Literal["read", "write"] | None = "read"
    has_feast_errors: bool = False
    query: tuple[tuple[str, str], ...] = ()
    example: str = ""
