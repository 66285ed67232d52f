"""Older versions of feature views: found in the log of the registry, and read beside the current ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tiffin.definitions import FeatureService, ViewUse
from tiffin.errors import NotFoundError
from tiffin.time import format_us

if TYPE_CHECKING:
    from tiffin.operations.context import Context
    from tiffin.registry.snapshot import Snapshot


@dataclass(frozen=True)
class ViewVersion:
    """One version of a feature view.

    Attributes:
        version: 1, 2, ...; asked for as ``view@v1:feature``.
        definitions_version: the newest version of the definitions that has it.
        created: when that was committed, ISO 8601 in UTC.
        table: its online table.
        features: its features.
    """

    version: int
    definitions_version: int
    created: str
    table: str
    features: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return asdict(self)


def load_versions(ctx: Context, snapshot: Snapshot, features: Sequence[str] | FeatureService) -> None:
    """Make the older versions known that a request asks for.

    Raises:
        NotFoundError: a view never had the version; lists those that it had.
    """
    for use in all_uses(snapshot, _named(features)):
        number = use.projection.version
        if number and not snapshot.has_version(use.view, number):
            known = list_versions(ctx, use.view)
            found = next((each for each in known if each.version == number), None)
            if found is None:
                listed = ", ".join(f"v{each.version}" for each in known)
                subject = f"feature view {use.view}"
                raise NotFoundError(f"{subject} has no version {number}", subject=subject, hint=f"there are {listed}")
            old = ctx.registry.load(ctx.project, at=found.definitions_version)
            current, storage = snapshot.storage(use.view), old.storage(use.view)
            if storage.table in current.replaced:
                storage = replace(current, version=number)
            snapshot.remember_version(use.view, number, old.view(use.view), storage)


def list_versions(ctx: Context, name: str) -> list[ViewVersion]:
    """The versions of a feature view, newest first.

    Raises:
        NotFoundError: there is no such view.
    """
    ctx.snapshot().entry("feature view", name)
    found: dict[int, ViewVersion] = {}
    for commit in ctx.registry.history(ctx.project):
        old = ctx.registry.load(ctx.project, at=commit.version)
        entry = old.by_key.get(("feature view", name))
        if entry is not None and entry.storage is not None and entry.storage.version not in found:
            names = old.view(name).feature_names
            storage = entry.storage
            found[storage.version] = ViewVersion(
                storage.version, commit.version, format_us(commit.created_us), storage.table, names
            )
    return sorted(found.values(), key=lambda each: -each.version)


def _named(features: Sequence[str] | FeatureService) -> Sequence[ViewUse]:
    """The views that a request names."""
    if isinstance(features, FeatureService):
        return features.uses
    texts = features if isinstance(features, list | tuple) else ()
    return [use for text in texts if isinstance(text, str) and (use := ViewUse.parse(text)) is not None]


def all_uses(snapshot: Snapshot, uses: Iterable[ViewUse]) -> Iterator[ViewUse]:
    """Uses of views, and those that the on-demand views among them compute from; one may come several times."""
    open_ = list(uses)
    while open_:
        use = open_.pop()
        yield use
        if ("on-demand feature view", use.view) in snapshot.by_key:
            open_ += snapshot.on_demand_view(use.view).uses
