"""Which vectors there are: those of services with ``precompute_online`` whose views are read by one key, as rows."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from tiffin.definitions import FeatureService
from tiffin.errors import RequestError
from tiffin.online.vectors import VectorReader
from tiffin.planning.online import OnlinePlan, VectorRead, ViewRead, plan_online
from tiffin.planning.references import resolve_features
from tiffin.registry.snapshot import Snapshot


@dataclass(frozen=True)
class VectorSpec:
    """The vectors of one service.

    Attributes:
        table: the table that holds them. Its name is made of those of ``members``, so that it is another one when rows
            of a view mean something else, or are kept elsewhere.
        members: the tables of the views, each once.
    """

    table: str
    members: tuple[str, ...]


def vector_spec(snapshot: Snapshot, service: FeatureService) -> VectorSpec:
    """The vectors of a service.

    Raises:
        RequestError: it can have none, because of what it consists of.
        NotFoundError: a view or feature does not exist.
    """
    if any(use.projection.version for use in service.uses):
        raise _none(service, "has a view in an older version, whose rows nobody writes any more")
    plan = plan_online(snapshot, resolve_features(snapshot, service))
    windowed = [view.name for view in plan.views if not isinstance(view, ViewRead)]
    if windowed:
        raise _none(service, f"has windows, in view {windowed[0]}, whose values change as time goes on")
    if len(plan.key_sets) != 1:
        found = ", ".join("(" + ", ".join(key_set.columns) + ")" for key_set in plan.key_sets)
        raise _none(service, f"is read by {len(plan.key_sets)} keys: {found or 'none'}")
    members = tuple(dict.fromkeys(view.table for view in plan.views))
    digest = blake2b("\0".join(members).encode(), digest_size=8).hexdigest()
    return VectorSpec(f"{vectors_prefix(snapshot.project, service)}{digest}", members)


def vector_read(spec: VectorSpec, plan: OnlinePlan) -> VectorRead:
    """How a plan reads the vectors of its service."""
    places = tuple(spec.members.index(view.table) for view in plan.views)
    return VectorRead(spec.table, places, VectorReader(len(spec.members)))


def vectors_prefix(project: str, service: FeatureService) -> str:
    """How the tables of a service's vectors begin; no view can have such a name."""
    return f"{project}.:{service.name}:"


def _none(service: FeatureService, why: str) -> RequestError:
    return RequestError(
        f"{service.subject} cannot be precomputed: it {why}",
        subject=service.subject,
        location=service.location,
        hint="leave precompute_online out; its answers are computed when they are read, and are the same",
    )
