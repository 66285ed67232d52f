"""What the routes work with: reading, writing and loading, with limits, permissions, metrics and logs around them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from tiffin.definitions import AuthzedAction, Definition, FeatureService, FeatureView, PushMode
from tiffin.errors import BusyError, InputError, LimitError, RequestError
from tiffin.governance.access import check_access, check_read
from tiffin.governance.audit import AuditLog
from tiffin.operations.feature_log import Served, sampled_rows
from tiffin.operations.online import explain_online, read_online, read_online_async, write_online
from tiffin.operations.push import push, pushed_views
from tiffin.server.auth import Authentication
from tiffin.server.facts import typed_columns
from tiffin.server.fallback import FallbackStore, watch_fallback
from tiffin.server.feature_log import FeatureLog
from tiffin.server.logs import JsonLog
from tiffin.server.metrics import open_metrics
from tiffin.server.pool import Pool
from tiffin.server.reload import Reloader
from tiffin.server.turn import Turn

if TYPE_CHECKING:
    from tiffin.online.response import OnlineResponse
    from tiffin.operations.context import Context
    from tiffin.operations.online import OnlineWrite
    from tiffin.server.bodies import Columns, Rows
    from tiffin.server.http import Call
    from tiffin.server.options import ServerOptions
    from tiffin.server.traces import Traces

T = TypeVar("T")

_UNWATCHED: AbstractContextManager[Sequence[str]] = nullcontext(())
#: From so many values on an answer is made in a thread, so that others are not held up.
_MANY_VALUES = 20_000


class Serving:
    """One worker of the server.

    Args:
        ctx: the opened repository; from now on its definitions are exchanged by this object alone.
        options: limits and manners.
        log_stream: where logs go, binary; ``None`` for nowhere.
        traces: makes spans, where they are wanted.
        load_file: a file by which the workers of a server know whether one of them loads; ``None`` for one worker.

    Raises:
        ConfigError: the settings are wrong.
    """

    def __init__(
        self,
        ctx: Context,
        options: ServerOptions,
        log_stream: IO[bytes] | None,
        traces: Traces | None = None,
        load_file: Path | None = None,
    ) -> None:
        self.ctx = ctx
        self.options = options
        self.traces = traces
        self.logs = JsonLog(log_stream, ctx.clock)
        self.pool = Pool(options.threads, options.max_waiting, "tiffin-server")
        self.metrics = open_metrics(ctx.config.online_store.type if ctx.config.online_store else "none", ctx.clock)
        self.authentication = Authentication(ctx.config, ctx.clock)
        self.audit = AuditLog(ctx.config.repo_path / options.audit_log, ctx.clock) if options.audit_log else None
        self.reloader = Reloader(ctx, options.registry_seconds, self.logs, self.metrics)
        self.feature_log = FeatureLog(
            ctx.config.repo_path, options.log_rows, options.log_seconds, self.logs, self.metrics
        )
        #: Whether the server is about to stop, and sends no more requests here.
        self.is_draining = False
        #: Around every read: what it falls back to, where that may be.
        self._watch: Callable[[], AbstractContextManager[Sequence[str]]] = (
            (lambda: _UNWATCHED) if options.fallback == "none" else watch_fallback
        )
        self._load_pool = Pool(1, 0, "tiffin-load")
        self._load_turn = Turn(load_file)
        #: Keeps the load under way from being collected while nobody waits for it.
        self._loads: set[asyncio.Task[Any]] = set()

    def open(self) -> None:
        """Get everything ready that the first request would wait for.

        Raises:
            TiffinError: the registry or a store cannot be opened.
        """
        # Not the offline engine, which a worker that loads nothing has no use for, and which is large.
        _ = self.ctx.registry, self.ctx.online
        self.ctx.snapshot().index()
        self.ctx.stop_looking()
        if self.traces is not None:
            self.ctx.replace_online(self.traces.store(self.ctx.online))
        if self.options.fallback != "none" and not isinstance(self.ctx.online, FallbackStore):
            store = FallbackStore(self.ctx.online, self.options.fallback, self.options.fallback_rows)
            self.ctx.replace_online(store)
        self.metrics.definitions(self.ctx.snapshot().version)

    def close(self) -> None:
        """Write what waits to be written, and let go of everything."""
        self.pool.close()
        self._load_pool.close()
        self.feature_log.close()
        self.logs.flush()
        self.ctx.close()
        if self.traces is not None:
            self.traces.close()

    # Reading

    async def read(
        self,
        call: Call,
        features: Sequence[str] | None,
        service: str | None,
        entity_rows: Rows | Columns,
        full_feature_names: bool,
        write: Callable[[OnlineResponse, str], bytes],
    ) -> bytes:
        """Read features, and write the answer.

        Args:
            call: who asks.
            features: references; or
            service: the name of a service.
            entity_rows: as for ``get_online_features``.
            full_feature_names: name columns ``view__feature``.
            write: makes the body of the answer, and of the label of the fallback that it came from.

        Raises:
            LimitError: too many features or entities.
            AccessError: who asks may not read them.
            TiffinError: as ``read_online``.
        """
        began = time.perf_counter()
        wanted = self.wanted(features, service)
        count = self._check_size(wanted, entity_rows)
        self.allow_read(call, wanted)
        width = len(wanted.uses) * 10 if isinstance(wanted, FeatureService) else len(wanted)
        if self.ctx.online.capabilities.native_async and count * width < _MANY_VALUES:
            with self._watch() as labels:
                response = await read_online_async(self.ctx, wanted, entity_rows, full_feature_names)
            if self.traces is not None:
                self.traces.compute(response)
            label = labels[0] if labels else ""
            body = write(response, label)
        else:
            read = partial(self._read, wanted, entity_rows, full_feature_names)
            response, label, body = await self.pool.run(partial(_written, read, write))
        self._note(call, wanted, response, count, label, time.perf_counter() - began)
        self._keep(call, wanted, response, label)
        return body

    def wanted(self, features: Sequence[str] | None, service: str | None) -> Sequence[str] | FeatureService:
        """What is asked for.

        Raises:
            RequestError: both or none are given.
            LimitError: too many features.
            NotFoundError: there is no such service.
        """
        if (features is None) == (service is None):
            raise RequestError("give one of features and a feature service", hint='{"features": ["view:feature"]}')
        if service is not None:
            return self.ctx.snapshot().service(service)
        assert features is not None
        if len(features) > self.options.max_features:
            raise LimitError(
                f"{len(features)} features are asked for, and at most {self.options.max_features} are answered",
                hint="ask in several requests",
            )
        return features

    def allow_read(self, call: Call, wanted: Sequence[str] | FeatureService) -> None:
        """Check that who asks may read features.

        Raises:
            AccessError: who asks may not.
        """
        check_read(self.ctx.snapshot(), call.principal, wanted)
        call.is_decided = True

    def explain(self, wanted: Sequence[str] | FeatureService, full_feature_names: bool) -> dict[str, Any]:
        """How it would be read."""
        return explain_online(self.ctx, wanted, full_feature_names)

    def _read(
        self, wanted: Sequence[str] | FeatureService, entity_rows: Rows | Columns, full_feature_names: bool
    ) -> tuple[OnlineResponse, str]:
        with self._watch() as labels:
            response = read_online(self.ctx, wanted, entity_rows, full_feature_names)
        if self.traces is not None:
            self.traces.compute(response)
        return response, labels[0] if labels else ""

    def _check_size(self, wanted: Sequence[str] | FeatureService, entity_rows: Rows | Columns) -> int:
        if isinstance(entity_rows, list):
            count = len(entity_rows)
        else:
            count = max(map(len, entity_rows.values()), default=0)
        if count > self.options.max_entities:
            raise LimitError(
                f"{count} entities are asked for, and at most {self.options.max_entities} are answered at once",
                hint="ask in several requests",
            )
        return count

    def _note(
        self,
        call: Call,
        wanted: Sequence[str] | FeatureService,
        response: OnlineResponse,
        count: int,
        label: str,
        seconds: float,
    ) -> None:
        self.metrics.read(response.plan.view_names, count, seconds)
        self.metrics.freshness(response)
        service = wanted.name if isinstance(wanted, FeatureService) else ""
        if self.traces is not None:
            self.traces.read(response, count, service, label)
        if service:
            call.notes["service"] = service
        call.notes["rows"] = count
        if label:
            self.metrics.fallback(label)
            call.notes["fallback"] = label

    def _keep(
        self,
        call: Call,
        wanted: Sequence[str] | FeatureService,
        response: OnlineResponse,
        label: str,
    ) -> None:
        """Keep what was served, where the service says so."""
        if not isinstance(wanted, FeatureService) or wanted.logging_config is None:
            return
        rows = sampled_rows(response, wanted.logging_config.sample_rate)
        if rows:
            self.feature_log.take(Served(wanted, response, rows, call.request_id, label))

    # Writing

    async def push(self, call: Call, source: str, columns: Columns, to: PushMode) -> dict[str, Any]:
        """Push facts; each view that they reach is checked for permission first."""
        self.check_rows(columns)
        views = pushed_views(self.ctx.snapshot(), source)
        actions = []
        if to is not PushMode.OFFLINE:
            actions.append(AuthzedAction.WRITE_ONLINE)
        if to is not PushMode.ONLINE:
            actions.append(AuthzedAction.WRITE_OFFLINE)
        for action in actions:
            self.allow(call, action, views)
        report = await self._audited(
            call, "push", views, lambda: push(self.ctx, source, typed_columns(views, columns), to)
        )
        written = {name: _counts(done) for name, done in report.views.items()}
        return {"views": written, "appended": report.appended, "refused": list(report.refused)}

    async def write(self, call: Call, view: str, columns: Columns) -> dict[str, Any]:
        """Write facts of one view online."""
        self.check_rows(columns)
        found = self._view(call, view)
        self.allow(call, AuthzedAction.WRITE_ONLINE, [found])
        done = await self._audited(
            call, "write", [found], lambda: write_online(self.ctx, view, typed_columns([found], columns))
        )
        return {**_counts(done), "refused": list(done.refused)}

    def begin_load(self, call: Call, views: Sequence[str] | None, load: Callable[[], T]) -> asyncio.Task[T]:
        """Begin to load the online store; it goes on when nobody waits for it. One load at a time in all workers.

        Raises:
            AccessError: who asks may not load one of the views.
            LoadUnderWayError: another one is under way.
        """
        snapshot = self.ctx.snapshot()
        names = views if views is not None else [v.name for v in snapshot.views.values() if v.online]
        found = [self._view(call, name) for name in names]
        self.allow(call, AuthzedAction.WRITE_ONLINE, found)
        if not self._load_turn.take():
            raise LoadUnderWayError("another load is under way", hint="wait for it to end")
        task = asyncio.ensure_future(self._audited(call, "materialize", found, load, self._load_pool))
        self._loads.add(task)
        task.add_done_callback(self._end_load)
        return task

    def _end_load(self, task: asyncio.Task[Any]) -> None:
        self._loads.discard(task)
        self._load_turn.give_back()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.logs.write("load_failed", {"message": str(error)})

    def allow(self, call: Call, action: AuthzedAction, resources: Sequence[Definition]) -> None:
        """Check that who asks may do something with all of some objects.

        Raises:
            AccessError: with one of them it may not.
        """
        check_access(self.ctx.snapshot(), call.principal, action, resources)
        call.is_decided = True

    def check_rows(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Check that there are not too many.

        Raises:
            LimitError: there are.
            InputError: there are no columns.
        """
        if not columns:
            raise InputError("there are no columns", hint="send the keys, the features and the time of each row")
        count = max(map(len, columns.values()))
        if count > self.options.max_entities:
            raise LimitError(
                f"{count} rows are sent, and at most {self.options.max_entities} are taken at once",
                hint="send them in several requests, or load them from a source",
            )

    async def record(self, call: Call, event: str, **fields: Any) -> None:
        """Write into the audit log, where there is one.

        Raises:
            StoreError: it cannot be written.
        """
        if self.audit is None:
            return
        line = {
            "event": event,
            "user": call.principal.user.username,
            "method": call.method,
            "path": call.path,
            "request_id": call.request_id,
            "project": self.ctx.project,
            **fields,
        }
        await self.pool.run(partial(self.audit.append, line))

    async def _audited(
        self,
        call: Call,
        event: str,
        views: Sequence[FeatureView],
        work: Callable[[], T],
        pool: Pool | None = None,
    ) -> T:
        """Do something that the audit log is to have: what cannot be written down is not done."""
        names = [view.name for view in views]
        if self.traces is not None:
            self.traces.note(views=names)
        await self.record(call, event, views=names)
        try:
            return await (pool or self.pool).run(work)
        except BaseException as error:
            await self.record(call, f"{event}_failed", views=names, error=type(error).__name__)
            raise

    def _view(self, call: Call, name: str) -> FeatureView:
        """A view; whether it is there may be known to everybody who may come in at all."""
        call.is_decided = True
        return self.ctx.snapshot().view(name)


def _counts(done: OnlineWrite) -> dict[str, int]:
    return {
        "written": done.written,
        "stale": done.stale,
        "late": done.late,
        "capped": done.capped,
        "quarantined": done.quarantined,
    }


class LoadUnderWayError(BusyError):
    """A load is under way already."""

    code = "load_under_way"
    http_status = 409


def _written(
    read: Callable[[], tuple[OnlineResponse, str]], write: Callable[[OnlineResponse, str], bytes]
) -> tuple[OnlineResponse, str, bytes]:
    response, label = read()
    return response, label, write(response, label)
