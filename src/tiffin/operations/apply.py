"""Apply definitions: read what only the sources know, plan, create the online tables, commit."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tiffin.definitions import Definition
from tiffin.errors import RegistryConflictError, RequestError
from tiffin.planning.apply import ApplyPlan, gather, plan_apply, plan_rollback
from tiffin.planning.inference import sources_to_read

if TYPE_CHECKING:
    from tiffin.operations.context import Context
    from tiffin.registry.snapshot import Snapshot


def plan(
    ctx: Context,
    objects: Definition | Iterable[Definition],
    objects_to_delete: Iterable[Definition] | None = None,
    *,
    partial: bool,
) -> ApplyPlan:
    """What ``apply`` would change; nothing is changed.

    Raises:
        ConfigError: the options of a store are wrong.
        BackendNotFoundError: the type of a store is unknown, or a package that it needs is not installed.
        DefinitionError: definitions contradict one another or their sources; names file and line.
        NotFoundError: something that is named is not there.
        SourceError: a source cannot be read, or lacks a column.
        UnsupportedError: a type cannot be kept.
    """
    ctx.check_stores()
    wish = gather(ctx.refresh(), objects, list(objects_to_delete or ()), partial=partial)
    schemas = {source.name: ctx.offline.schema(source) for source in sources_to_read(wish.declared)}
    return plan_apply(wish, schemas)


def apply(
    ctx: Context,
    objects: Definition | Iterable[Definition] | ApplyPlan,
    objects_to_delete: Iterable[Definition] | None = None,
    *,
    partial: bool = True,
) -> ApplyPlan:
    """Carry out a plan, or plan and carry out.

    When somebody else applies at the same moment, additions to what is there (``partial=True``) are planned again on
    top of it: every attempt that fails is one that another process has made. A plan that was handed in, and a
    replacement of everything, would then do something that nobody has seen, and are refused.

    Raises:
        RegistryConflictError: the definitions have changed since the plan was made; nothing was changed.
        RequestError: a plan is given together with objects to delete, or is of another project.
    """
    if isinstance(objects, ApplyPlan):
        if objects_to_delete or objects.project != ctx.project:
            raise RequestError(f"this plan is of project {objects.project}", hint="make the plan with this store")
        return _carry_out(ctx, objects)
    given = objects if isinstance(objects, Definition) else list(objects)
    deletions = list(objects_to_delete or ())
    while True:
        made = plan(ctx, given, deletions, partial=partial)
        try:
            return _carry_out(ctx, made)
        except RegistryConflictError:
            if not partial:
                raise


def rollback(ctx: Context, version: int) -> ApplyPlan:
    """Commit the definitions of an older version as a new one. Its views get back the online tables that they had.

    Raises:
        NotFoundError: there is no such version.
        RegistryConflictError: somebody else applied at the same moment; nothing was changed.
    """
    current = ctx.refresh()
    if version == current.version and current.entries:
        return plan_rollback(current, current, ())
    old = ctx.registry.load(ctx.project, at=version)
    between = (ctx.registry.load(ctx.project, at=each) for each in range(current.version, version, -1))
    return _carry_out(ctx, plan_rollback(current, old, between), message=f"rollback to version {version}")


def teardown(ctx: Context) -> None:
    """Drop the online tables of the project, those of older versions included, and forget its definitions.

    The tables go first: when that fails half way, the definitions are still there and it can be run again.
    """
    with _written_down(ctx, "teardown"):
        if ctx.config.online_store is not None:
            tables = ctx.online.tables(prefix=f"{ctx.project}.")
            ctx.online.drop([info.table for info in tables])
            ctx.newest.drop()
        ctx.registry.forget(ctx.project)
    ctx.refresh()


def _carry_out(ctx: Context, made: ApplyPlan, message: str = "") -> ApplyPlan:
    """Create the online tables, then commit.

    In this order a failure of the store leaves the definitions as they were; tables without definitions are empty and
    harm nobody. It is done for an empty plan as well, so that a run after a failure converges.
    """
    if made.is_empty:
        _ensure(ctx, made)
        return made
    message = message or made.summary
    changes = [f"{change.action} {change.kind} {change.name}" for change in made.changes]
    with _written_down(ctx, "apply", version=made.version, message=message, changes=changes):
        _ensure(ctx, made)
        ctx.registry.commit(made.snapshot, made.base_version, created_us=ctx.now_us(), author=author(), message=message)
    ctx.adopt(made.snapshot)
    return made


@contextmanager
def _written_down(ctx: Context, event: str, **fields: Any) -> Iterator[None]:
    """Have what is done within written down before it is done, where somebody wants to know; and that it failed."""
    write_down = ctx.write_down
    if write_down is None:
        yield
        return
    fields = {"user": author(), "project": ctx.project, **fields}
    write_down({"event": event, **fields})
    try:
        yield
    except BaseException as error:
        write_down({"event": f"{event}_failed", **fields, "error": type(error).__name__})
        raise


def _ensure(ctx: Context, made: ApplyPlan) -> None:
    if ctx.config.online_store is not None:
        ctx.online.ensure(_tables(made.snapshot))
        if any(entry.spec.get("precompute_online") for entry in made.snapshot.entries):
            from tiffin.operations.vectors import prepare_vectors

            prepare_vectors(ctx, ctx.snapshot(), made.snapshot)


def _tables(snapshot: Snapshot) -> list[str]:
    """The tables of the views that are served online."""
    return [
        entry.storage.table
        for entry in snapshot.entries
        if entry.storage is not None and entry.spec.get("online", True)
    ]


def author() -> str:
    """Who runs this, as the operating system tells."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
