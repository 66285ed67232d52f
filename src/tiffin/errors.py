"""Every error that tiffin raises on purpose.

The tree, with the moment at which each is raised::

    TiffinError
    ├── DefinitionError (ValueError)        a declared object is wrong, found when it is built
    │   └── DefinitionTypeError (TypeError)   ... because an argument has the wrong type
    ├── ConfigError (ValueError)            feature_store.yaml is missing or wrong
    ├── RepositoryError                     a file of the feature repository cannot be imported
    ├── NotFoundError (KeyError)            a name is not in the registry; lists the nearest names
    ├── RequestError (ValueError)           a feature reference or a request contradicts itself
    │   ├── NameCollisionError                ... two output columns would have one name
    │   └── EmptyPeriodError                  ... there are no facts in its period
    ├── InputError (ValueError)             a value, a column or an entity row that was handed in is wrong
    │   ├── TypeMismatchError (TypeError)     ... a value cannot be kept in the declared type
    │   └── ExpectationError                  ... facts are not as their view expects
    ├── FunctionError                       a user's function fails, or breaks what its view declares
    ├── ValidationError                     a training set is not like its reference; says in what
    ├── SourceError                         a data source cannot be read: missing, corrupt, without a column
    ├── UnsupportedError (NotImplementedError)  something the chosen backend, or this version, cannot do
    │   └── MissingAttributeError (AttributeError)  ... an object lacks what was asked of it; `hasattr` says so too
    ├── RegistryError                       the registry cannot be read or written
    │   ├── RegistryConflictError             ... somebody else applied first; plan again
    │   └── RegistryVersionError              ... it was written by a newer tiffin
    ├── StoreError                          an online or offline store failed
    │   ├── StoreUnavailableError (ConnectionError)  ... it cannot be reached; retryable
    │   └── StoreFullError (OSError)          ... the disk or the quota is full
    ├── StreamError                         a message broker or a schema registry refuses, or a stream is not there
    │   └── StreamUnavailableError (ConnectionError)  ... it cannot be reached; retryable
    ├── AlertError                          an alert could not be sent
    │   └── AlertUnavailableError (ConnectionError)  ... who would pass it on cannot be reached; retryable
    ├── MaterializationError                a run ended before every view was loaded; says which were
    ├── ServerError                         a server could not answer a request; what was asked may be right
    │   ├── LimitError (ValueError)           ... it is larger than the server takes
    │   ├── AuthenticationError               ... it does not say who asks, or not credibly
    │   ├── AccessError (PermissionError)     ... who asks may not do that
    │   ├── BusyError                         ... too many others are under way; retryable
    │   └── DeadlineError (TimeoutError)      ... it took too long; retryable
    └── BackendNotFoundError (ImportError)  a store type is unknown, or its extra is not installed

A message says what failed, on which object and where; then what was found against what was allowed; ``hint`` says
what to do next. Secrets never appear in a message or a ``repr``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class TiffinError(Exception):
    """Root of the tree: catch it to catch everything that tiffin raises on purpose.

    Attributes:
        message: what failed, in one sentence.
        subject: the object that it is about, such as ``feature view driver_stats``.
        location: ``file:line`` of the definition, when the error is about one.
        hint: what to do next.
        code: a short stable name for programs.
        retryable: the same call may go through later.
        http_status: the status that a server answers with.
    """

    code = "error"
    retryable = False
    http_status = 500

    def __init__(self, message: str, *, subject: str = "", location: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.subject = subject
        self.location = location
        self.hint = hint

    def __str__(self) -> str:
        """The message, where it happened and the hint, each on a line of its own."""
        where = f"\n  at {self.location}" if self.location else ""
        hint = f"\n  hint: {self.hint}" if self.hint else ""
        return f"{self.message}{where}{hint}"

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the fields when an error crosses a process boundary."""
        return (_rebuild, (type(self), self.message, self.subject, self.location, self.hint))

    def to_dict(self) -> dict[str, str]:
        """The fields, for ``--json`` and for servers."""
        return {
            "code": self.code,
            "message": self.message,
            "subject": self.subject,
            "location": self.location,
            "hint": self.hint,
        }


def error_from(told: Mapping[str, str]) -> TiffinError:
    """The error whose ``to_dict`` came over a wire, of the class that has its code; the root's where none has."""
    kinds = [each for each in globals().values() if isinstance(each, type) and issubclass(each, TiffinError)]
    cls = next((each for each in kinds if each.code == told["code"]), TiffinError)
    fields = {name: told.get(name, "") for name in ("subject", "location", "hint")}
    return cls(told["message"], **fields)


def _rebuild(cls: type[TiffinError], message: str, subject: str, location: str, hint: str) -> TiffinError:
    return cls(message, subject=subject, location=location, hint=hint)


class DefinitionError(TiffinError, ValueError):
    """A declared object is wrong; raised when it is built, with the file and line of the declaration."""

    code = "definition"
    http_status = 422


class DefinitionTypeError(DefinitionError, TypeError):
    """An argument of a declared object has the wrong type."""

    code = "definition_type"


class ConfigError(TiffinError, ValueError):
    """``feature_store.yaml`` is missing, cannot be parsed or holds a key or value that is not allowed."""

    code = "config"


class RepositoryError(TiffinError):
    """A file of the feature repository cannot be imported; carries the user's own error as its cause."""

    code = "repository"


class NotFoundError(TiffinError, KeyError):
    """A name is not there; the message lists the nearest names."""

    code = "not_found"
    http_status = 404

    def __str__(self) -> str:
        """Like the other errors; ``KeyError`` alone would print the ``repr`` of the message."""
        return TiffinError.__str__(self)


class RequestError(TiffinError, ValueError):
    """A request contradicts itself or the definitions: a malformed reference, an empty list of features."""

    code = "request"
    http_status = 422


class NameCollisionError(RequestError):
    """Two columns of an answer would have the same name."""

    code = "name_collision"


class EmptyPeriodError(RequestError):
    """A view has no facts in the period that is asked for."""

    code = "empty_period"


class InputError(TiffinError, ValueError):
    """A value, a column or a row that was handed in is wrong; names the row and the column."""

    code = "input"
    http_status = 422


class TypeMismatchError(InputError, TypeError):
    """A value cannot be kept, unchanged, in the declared type."""

    code = "type_mismatch"


class ExpectationError(InputError):
    """Facts are not as their view expects, and nothing of them was written."""

    code = "expectation"


class FunctionError(TiffinError):
    """A user's function fails, reads what is not declared, gives something else than declared, or is not found."""

    code = "function"


class ValidationError(TiffinError):
    """A training set is not like the dataset that it was compared with.

    Attributes:
        validation_report: in what; its ``errors`` are one for each column and measure, or expectation. Not kept when
            the error crosses a process boundary.
    """

    code = "validation"
    validation_report: Any = None


class SourceError(TiffinError):
    """A data source cannot be read: missing, empty where it may not be, corrupt, or without a column it should have."""

    code = "source"
    http_status = 422


class EmptyLogError(SourceError):
    """Nothing was logged in the period that is looked at, and nothing is wrong with the log."""


class UnsupportedError(TiffinError, NotImplementedError):
    """The chosen backend, or this version of tiffin, cannot do what is asked; nothing was run."""

    code = "unsupported"
    http_status = 501


class MissingAttributeError(UnsupportedError, AttributeError):
    """An object does not have what Feast's object of that name has, or the name is mistyped."""


class RegistryError(TiffinError):
    """The registry cannot be read or written."""

    code = "registry"


class RegistryConflictError(RegistryError):
    """The registry moved on since the plan was made; nothing was written."""

    code = "registry_conflict"
    retryable = True
    http_status = 409


class RegistryVersionError(RegistryError):
    """The registry was written by a newer version of tiffin; nothing was touched."""

    code = "registry_version"


class StoreError(TiffinError):
    """An online or offline store failed; names the store, never its credentials."""

    code = "store"


class StoreUnavailableError(StoreError, ConnectionError):
    """A store cannot be reached, is locked or did not answer within its deadline."""

    code = "store_unavailable"
    retryable = True
    http_status = 503


class StoreFullError(StoreError, OSError):
    """A store has no room left; what was written before stays, and running again converges."""

    code = "store_full"
    http_status = 507

    def __str__(self) -> str:
        """Like the other errors; ``OSError`` formats its own arguments."""
        return TiffinError.__str__(self)


class StreamError(TiffinError):
    """A message broker or a schema registry refuses what is asked, or a topic or stream is not there."""

    code = "stream"


class StreamUnavailableError(StreamError, ConnectionError):
    """A message broker or a schema registry cannot be reached; nothing that was read is lost."""

    code = "stream_unavailable"
    retryable = True
    http_status = 503


class AlertError(TiffinError):
    """An alert could not be sent: whoever would pass it on refuses it."""

    code = "alert"


class AlertUnavailableError(AlertError, ConnectionError):
    """Whoever would pass an alert on cannot be reached, or does not answer in time."""

    code = "alert_unavailable"
    retryable = True


class MaterializationError(TiffinError):
    """A run ended before every view was loaded; says which views are done and which are not."""

    code = "materialization"


class ServerError(TiffinError):
    """A server could not answer a request."""

    code = "server"


class LimitError(ServerError, ValueError):
    """A request is larger than the server takes: its body, its entities or its features."""

    code = "limit"
    http_status = 413


class AuthenticationError(ServerError):
    """A request does not say who asks, or not credibly."""

    code = "authentication"
    http_status = 401


class AccessError(ServerError, PermissionError):
    """Who asks may not do that."""

    code = "access"
    http_status = 403

    def __str__(self) -> str:
        """Like the other errors; ``OSError`` formats its own arguments."""
        return TiffinError.__str__(self)


class BusyError(ServerError):
    """Too many other requests are under way, or the server is about to stop."""

    code = "busy"
    retryable = True
    http_status = 503


class DeadlineError(ServerError, TimeoutError):
    """A request was not answered within its time."""

    code = "deadline"
    retryable = True
    http_status = 504

    def __str__(self) -> str:
        """Like the other errors; ``OSError`` formats its own arguments."""
        return TiffinError.__str__(self)


class BackendNotFoundError(TiffinError, ImportError):
    """A backend type is unknown, or the package that it needs is not installed."""

    code = "backend_not_found"


def nearest(name: str, candidates: Iterable[str], *, limit: int = 3, list_known: bool = True) -> str:
    """A hint for a mistyped name.

    Args:
        name: what was asked for.
        candidates: what exists.
        limit: how many close ones to list.
        list_known: whether to list what exists when nothing is close. Without it only what is very close is named:
            the name may well be right, and mean something else.

    Returns:
        ``did you mean a, b?``, or ``known: ...`` when nothing is close, or a sentence when nothing exists.

    >>> nearest("conv_rat", ["conv_rate", "acc_rate"])
    'did you mean conv_rate, acc_rate?'
    """
    known = sorted(set(candidates))
    if not known:
        return "there are none yet"
    close = difflib.get_close_matches(name, known, n=limit, cutoff=0.6 if list_known else 0.8)
    if close:
        return f"did you mean {', '.join(close)}?"
    if not list_known:
        return ""
    more = f" and {len(known) - 20} more" if len(known) > 20 else ""
    return f"known: {', '.join(known[:20])}{more}"
