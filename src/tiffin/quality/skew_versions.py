"""Older definitions: which features they define otherwise, since when, and what they give for the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tiffin.definitions import FeatureService, ViewUse
from tiffin.errors import NotFoundError, TiffinError
from tiffin.operations.retrieve import retrieve
from tiffin.operations.versions import all_uses
from tiffin.planning.changes import is_same
from tiffin.planning.declared import VIEW, references
from tiffin.quality.skew_causes import Cause
from tiffin.registry.snapshot import VIEW_KINDS, Entry, Snapshot

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.operations.context import Context


@dataclass(frozen=True)
class Change:
    """What became of the definition of a feature since a version.

    Attributes:
        cause: ``DEFINITION_CHANGED``, or ``FUNCTION_CHANGED`` when nothing but a function did.
        changed_us: when it was first applied otherwise.
    """

    cause: Cause
    changed_us: int


@dataclass
class OlderDefinitions:
    """The definitions that a service had, beside those that it has now.

    Attributes:
        ctx: the opened project.
        snapshot: the definitions of now.
        service: the service of now.
    """

    ctx: Context
    snapshot: Snapshot
    service: FeatureService
    _snapshots: dict[int, Snapshot | None] = field(default_factory=dict)
    _changes: dict[tuple[int, str], Change | None] = field(default_factory=dict)

    def change(self, version: int, view: str) -> Change | None:
        """What became of the features of a view since a version; ``None`` when they are the same, or it is unknown.

        Args:
            version: the version; 0 for one that is not known.
            view: what the service calls it.
        """
        key = version, view
        if key not in self._changes:
            self._changes[key] = self._found(version, view)
        return self._changes[key]

    def recomputed(self, version: int, view: str, rows: pa.Table) -> pa.Table | None:
        """What an older version gives for entity rows, by full names; ``None`` when that cannot be told any more.

        Args:
            version: the version.
            view: what the service calls the view.
            rows: entity rows, with ``event_timestamp``.
        """
        old = self._at(version)
        uses = [] if old is None else self._uses(old, view)
        if not uses:
            return None
        wanted = FeatureService(name=self.service.name, features=[_merged(uses)])  # type: ignore[list-item]
        try:
            return retrieve(self.ctx, rows, wanted, full_feature_names=True, snapshot=old).to_arrow()
        except TiffinError:
            # A function, a source or a column of then is gone: the definitions alone tell that they changed.
            return None

    def _found(self, version: int, view: str) -> Change | None:
        old = self._at(version)
        if old is None or version == self.snapshot.version:
            return None
        before, now = self._meaning(old, view), self._meaning(self.snapshot, view)
        changed = _differing(before, now)
        if not changed:
            return None
        only_code = all(_is_function(before.get(key), now.get(key)) for key in changed)
        cause = Cause.FUNCTION_CHANGED if only_code else Cause.DEFINITION_CHANGED
        return Change(cause, self._since(version, view, before))

    def _since(self, version: int, view: str, before: Mapping[Any, Any]) -> int:
        """When the definition that a version had was first replaced."""
        later = sorted(
            (each for each in self.ctx.registry.history(self.ctx.project) if each.version > version), key=_age
        )
        for commit in later:
            found = self._at(commit.version)
            if found is not None and _differing(before, self._meaning(found, view)):
                return commit.created_us
        return later[-1].created_us

    def _at(self, version: int) -> Snapshot | None:
        if version not in self._snapshots:
            try:
                found = self.ctx.registry.load(self.ctx.project, at=version) if version else None
            except NotFoundError:
                found = None
            self._snapshots[version] = found
        return self._snapshots[version]

    def _uses(self, snapshot: Snapshot, view: str) -> list[ViewUse]:
        """How the service, or a function of it, used a view then; as it does now when there was no such service."""
        for service in (snapshot.services.get(self.service.name), self.service):
            found = [] if service is None else [use for use in all_uses(snapshot, service.uses) if use.name == view]
            if found:
                return found
        return []

    def _meaning(self, snapshot: Snapshot, view: str) -> dict[Any, Any]:
        """All that the values of a view depend on."""
        uses = self._uses(snapshot, view)
        found: dict[Any, Any] = {"join keys": [dict(use.projection.join_key_map) for use in uses[:1]]}
        if any(use.projection.version for use in uses):
            # The service asks for one version of the view, whatever the newest is.
            return found | {"version": uses[0].projection.version}
        waiting = [(VIEW, use.view) for use in uses[:1]]
        while waiting:
            kind, name = waiting.pop()
            kinds = VIEW_KINDS if kind == VIEW else (kind,)
            entry = next((snapshot.by_key[each, name] for each in kinds if (each, name) in snapshot.by_key), None)
            if entry is not None and (entry.kind, name) not in found:
                found[entry.kind, name] = entry
                waiting += references(entry)
        return found


def _merged(uses: Sequence[ViewUse]) -> ViewUse:
    """One use of a view for all of the features that several are about."""
    wanted = [use.projection.features for use in uses]
    names = None if None in wanted else tuple(dict.fromkeys(name for each in wanted for name in each or ()))
    return replace(uses[0], projection=replace(uses[0].projection, features=names))


def _age(commit: Any) -> int:
    return int(commit.version)


def _differing(before: Mapping[Any, Any], now: Mapping[Any, Any]) -> list[Any]:
    return [key for key in before.keys() | now.keys() if not _is_same(before.get(key), now.get(key))]


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, Entry) and isinstance(other, Entry):
        return is_same(one, other)
    return bool(one == other)


def _is_function(before: Any, now: Any) -> bool:
    """Whether nothing but the function is another one."""
    if not (isinstance(before, Entry) and isinstance(now, Entry)):
        return False
    ignored = {"location", "function"}
    specs = [{name: item for name, item in each.spec.items() if name not in ignored} for each in (before, now)]
    return specs[0] == specs[1]
