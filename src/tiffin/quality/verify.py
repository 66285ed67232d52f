"""The skew meter: every logged vector is computed again as training would at its moment, and compared (``verify``).

The log is read in parts, so that memory depends on neither its length nor that of the history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tiffin.columns import numpy_values, single_chunk
from tiffin.definitions import FeatureService, FeatureView, ViewUse
from tiffin.errors import EmptyLogError, RequestError, SourceError, UnsupportedError
from tiffin.operations.feature_log import LOGGED_AT, REQUEST_ID, STATUS, TIMESTAMP, VERSION, log_folder
from tiffin.operations.retrieve import retrieve
from tiffin.operations.versions import all_uses, load_versions
from tiffin.planning.references import OutputColumn, Selection, resolve_features
from tiffin.planning.retrieval import RetrievalPlan, plan_retrieval
from tiffin.quality.skew import KIND_NAMES, Difference, FeatureSkew, add_to_spread, find_differences, shown_values
from tiffin.quality.skew_causes import Cause
from tiffin.quality.skew_facts import NO_TIME, Evidence, Int64Array
from tiffin.quality.skew_part import Codes, PartDifferences, entity_rows
from tiffin.quality.skew_versions import OlderDefinitions
from tiffin.quality.verify_log import LogProblem, LogReader, LogReading
from tiffin.time import format_us, to_us

if TYPE_CHECKING:
    from datetime import datetime

    import pyarrow as pa

    from tiffin.operations.context import Context
    from tiffin.registry.snapshot import Snapshot

#: Rows that are compared at once, about: a hundred features of them are some hundred MB.
_PART_ROWS = 200_000
#: Mismatches that are kept to be shown, of one service; all of them are counted.
_KEPT = 10_000


@dataclass(frozen=True)
class ServiceVerification:
    """What became of the log of one service.

    Attributes:
        service: its name.
        rows: vectors that were compared.
        first_us, last_us: the moments of the first and the last of them; ``None`` without any.
        features: one record each, in the order of the service.
        inputs: the same of what functions compute from and was not served itself; it counts nowhere else.
        no_history: features that cannot be compared, by reference, because facts behind them are only pushed.
        versions: version of the definitions to the rows that were served by it; 0 where the log does not say.
        problems: files of the log that could not be used.
        newer_rows: rows of definitions that the registry does not have, which were left out.
        mismatches: the cells that differ, as far as they are kept: ``feature``, ``kind``, ``cause``, ``served`` and
            ``expected`` as text, ``served_event``, ``expected_event`` and ``expected_known`` (times of the facts),
            ``status``, ``log_timestamp``, ``request_id``, ``definitions_version``, ``entity`` (the keys as text).
    """

    service: str
    rows: int
    first_us: int | None
    last_us: int | None
    features: tuple[FeatureSkew, ...]
    inputs: tuple[FeatureSkew, ...]
    no_history: tuple[str, ...]
    versions: Mapping[int, int]
    problems: tuple[LogProblem, ...]
    newer_rows: int
    mismatches: pa.Table

    @property
    def compared(self) -> int:
        """Cells that were compared."""
        return sum(feature.compared for feature in self.features)

    @property
    def different(self) -> int:
        """Cells that are not the same."""
        return sum(feature.different for feature in self.features)

    @property
    def causes(self) -> dict[str, int]:
        """Name of a cause to cells, the most frequent first."""
        found: dict[str, int] = {}
        for feature in self.features:
            for cause, cells in feature.causes.items():
                found[cause] = found.get(cause, 0) + cells
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    @property
    def is_complete(self) -> bool:
        """Whether all files and rows of the log could be used."""
        return not self.problems and not self.newer_rows

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data, without the mismatches."""
        return {
            "service": self.service,
            "rows": self.rows,
            "first": None if self.first_us is None else format_us(self.first_us),
            "last": None if self.last_us is None else format_us(self.last_us),
            "compared": self.compared,
            "different": self.different,
            "causes": self.causes,
            "features": [feature.to_dict() for feature in self.features],
            "inputs": [feature.to_dict() for feature in self.inputs],
            "no_history": list(self.no_history),
            "versions": {str(version): rows for version, rows in sorted(self.versions.items())},
            "problems": [{"file": problem.file, "reason": problem.reason} for problem in self.problems],
            "newer_rows": self.newer_rows,
        }


@dataclass(frozen=True)
class Verification:
    """What was served beside what training sees.

    Attributes:
        services: one record for each service whose log was read.
        max_mismatch: the share of the cells of a feature that may differ.
        allow_no_history: whether features without a history do not count against it.
    """

    services: tuple[ServiceVerification, ...]
    max_mismatch: float = 0.0
    allow_no_history: bool = False

    @property
    def is_ok(self) -> bool:
        """Whether no feature differs in more than is allowed, and all that was logged could be compared."""
        is_complete = all(each.is_complete for each in self.services)
        return not self.failed and is_complete and (self.allow_no_history or not self.no_history)

    @property
    def failed(self) -> list[tuple[str, FeatureSkew]]:
        """The features that differ in more than is allowed, with their services."""
        return [
            (each.service, feature)
            for each in self.services
            for feature in each.features
            if feature.share > self.max_mismatch
        ]

    @property
    def no_history(self) -> list[tuple[str, str]]:
        """The features that cannot be compared because facts behind them are only pushed, with their services."""
        return [(each.service, reference) for each in self.services for reference in each.no_history]

    @property
    def compared(self) -> int:
        """Cells that were compared."""
        return sum(each.compared for each in self.services)

    @property
    def different(self) -> int:
        """Cells that are not the same."""
        return sum(each.different for each in self.services)

    @property
    def verdict(self) -> str:
        """The result in one line."""
        more = f"; {len(self.no_history)} feature(s) have no history" if self.no_history else ""
        if not self.different:
            return f"{self.compared:,} values were compared, and none differs{more}"
        return f"{self.different:,} of {self.compared:,} values differ ({self.different / self.compared:.4%}){more}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data, without the mismatches."""
        return {
            "is_ok": self.is_ok,
            "compared": self.compared,
            "different": self.different,
            "max_mismatch": self.max_mismatch,
            "allow_no_history": self.allow_no_history,
            "services": [each.to_dict() for each in self.services],
        }


def verify(
    ctx: Context,
    service: FeatureService | str | None = None,
    since: datetime | str | int | None = None,
    until: datetime | str | int | None = None,
    max_mismatch: float = 0.0,
    allow_no_history: bool = False,
    part_rows: int = _PART_ROWS,
) -> Verification:
    """Compare what was served with what training sees at the same moments.

    Args:
        ctx: the opened project.
        service: a service, or its name; every service that has a log when left out.
        since: the first moment that is looked at; the whole log when left out.
        until: the last one, included.
        max_mismatch: the share of the cells of a feature that may differ, from 0 to 1.
        allow_no_history: whether the result may be ok beside features that have no history to be compared with.
        part_rows: so many rows are compared at once.

    Raises:
        NotFoundError: there is no such service.
        RequestError: it has no ``logging_config``, nor has any other; or the arguments contradict each other.
        UnsupportedError: none of its features has a history.
        EmptyLogError: the log has no rows in the period.
        SourceError: none of its rows can be compared, or a source cannot be read.
        FunctionError: a function is another one than was applied.
    """
    since_us, until_us = (None if each is None else to_us(each) for each in (since, until))
    if not 0 <= max_mismatch <= 1:
        raise RequestError(f"max_mismatch is {max_mismatch}", hint="pass a share from 0 to 1")
    if since_us is not None and until_us is not None and since_us > until_us:
        raise RequestError(f"since {since} is after until {until}", hint="swap the two")
    snapshot = ctx.refresh()
    services = [
        _Verifier(ctx, snapshot, each, part_rows).run(since_us, until_us) for each in _services(snapshot, service)
    ]
    return Verification(tuple(services), max_mismatch, allow_no_history)


def _services(snapshot: Snapshot, wanted: FeatureService | str | None) -> list[FeatureService]:
    if wanted is not None:
        return [snapshot.service(wanted if isinstance(wanted, str) else wanted.name)]
    found = [service for service in snapshot.services.values() if service.logging_config is not None]
    if not found:
        raise RequestError(
            "no feature service has a logging_config, so that there is no log to verify",
            hint="give one LoggingConfig(FileLoggingDestination(path=...)) and run `tiffin apply`",
        )
    return sorted(found, key=lambda service: service.name)


def _with_history(snapshot: Snapshot, service: FeatureService) -> tuple[FeatureService, tuple[str, ...]]:
    """A service with what can be recomputed, and the features that cannot be: facts behind them are only pushed.

    A service of which nothing can be recomputed stays as it is, to be refused.
    """

    def has_history(use: ViewUse) -> bool:
        views = (snapshot.used(each) for each in all_uses(snapshot, [use]))
        return all(not isinstance(view, FeatureView) or view.batch_source is not None for view in views)

    without = [use for use in service.uses if not has_history(use)]
    if not 0 < len(without) < len(service.uses):
        return service, ()
    kept: Any = [use for use in service.uses if use not in without]
    left: Any = without
    selection = resolve_features(snapshot, replace(service, features=left), full_feature_names=True)
    return replace(service, features=kept), tuple(map(selection.reference, selection.columns))


class _Verifier:
    """The comparison of one service's log.

    Args:
        ctx: the opened project.
        snapshot: the definitions of now.
        service: the service.
        part_rows: so many rows are compared at once.
    """

    def __init__(self, ctx: Context, snapshot: Snapshot, service: FeatureService, part_rows: int) -> None:
        self._ctx = ctx
        self._snapshot = snapshot
        load_versions(ctx, snapshot, service)
        self._service, self._no_history = _with_history(snapshot, service)
        self._part_rows = part_rows
        self._folder = log_folder(ctx.config.repo_path, service)
        self._older = OlderDefinitions(ctx, snapshot, self._service)
        #: Of what was served, and of what it was computed from, by what a part of the log calls them.
        self._skews: dict[str, FeatureSkew] = {}
        self._inputs: dict[str, FeatureSkew] = {}
        self._kept: list[pa.Table] = []
        self._kept_rows = 0

    def run(self, since_us: int | None, until_us: int | None) -> ServiceVerification:
        """Read the log and compare it.

        Raises:
            SourceError: it has no rows, or none that can be compared.
        """
        plan, selection = self._plan()
        served = len(selection.columns)
        selection = selection.with_inputs
        names = {column.name: column for column in selection.columns}
        for number, (name, column) in enumerate(names.items()):
            dtype = selection.view_of(column).features[column.feature].dtype
            skews = self._skews if number < served else self._inputs
            skews[name] = FeatureSkew(selection.reference(column), repr(dtype))
        reader = LogReader(
            folder=self._folder,
            keys=plan.keys,
            request=plan.request_columns,
            features=list(self._skews),
            inputs=list(self._inputs),
            since_us=since_us,
            until_us=until_us,
            newest=self._snapshot.version,
            part_rows=self._part_rows,
        )
        reading = LogReading()
        rows, moments = 0, list[int]()
        for part in reader.parts(reading):
            self._compare(part, plan, names)
            rows += part.num_rows
            times = numpy_values(part[LOGGED_AT])
            moments += [int(times.min()), int(times.max())]
        if not rows:
            raise self._nothing(reading, since_us, until_us)
        return ServiceVerification(
            service=self._service.name,
            rows=rows,
            first_us=min(moments),
            last_us=max(moments),
            features=tuple(self._skews.values()),
            inputs=tuple(self._inputs.values()),
            no_history=self._no_history,
            versions=dict(reading.versions),
            problems=tuple(reading.problems),
            newer_rows=reading.newer_rows,
            mismatches=self._mismatches(),
        )

    def _plan(self) -> tuple[RetrievalPlan, Selection]:
        """What is recomputed, and what comes out; planned without rows, to know which columns are read of the log."""
        selection = resolve_features(self._snapshot, self._service, full_feature_names=True)
        plan = plan_retrieval(self._snapshot, selection, only_known=self._ctx.only_known)
        if "event_timestamp" in plan.request_columns or "event_timestamp" in plan.keys:
            raise UnsupportedError(
                f"{self._service.subject} reads 'event_timestamp' of the request; in training that is the moment",
                subject=self._service.subject,
                location=self._service.location,
                hint="call it otherwise in the request source or entity",
            )
        return plan, selection

    def _nothing(self, reading: LogReading, since_us: int | None, until_us: int | None) -> SourceError:
        ends = [f"{word} {format_us(us)}" for word, us in (("from", since_us), ("to", until_us)) if us is not None]
        where = f"{self._folder}{' ' + ' '.join(ends) if ends else ''}"
        problem = f"the log of {self._service.subject} has no rows that can be compared: {where}"
        hint = "a server writes every `log_seconds` and at its end; a program writes by write_logged_features()"
        if reading.newer_rows:
            problem += f"; {reading.newer_rows} row(s) are of definitions newer than version {self._snapshot.version}"
            hint = "look at the registry: it is older than the one that the server reads"
        if reading.problems:
            first = reading.problems[0]
            problem += f"; {len(reading.problems)} file(s) cannot be used, such as {first.file}: {first.reason}"
            hint = "remove the files, or bring the definitions to what was logged"
        kind = SourceError if reading.newer_rows or reading.problems else EmptyLogError
        return kind(problem, subject=self._service.subject, location=self._service.location, hint=hint)

    def _compare(self, part: pa.Table, plan: RetrievalPlan, names: Mapping[str, OutputColumn]) -> None:
        """Compare the rows of a part, count, and explain what differs."""
        skews = self._skews | self._inputs
        logged = [name for name in names if name in part.column_names]
        for name in names.keys() - set(logged):
            skews[name].not_logged += part.num_rows
        if self._skews.keys().isdisjoint(logged):
            return
        expected = retrieve(
            self._ctx,
            entity_rows(part, plan),
            self._service,
            full_feature_names=True,
            snapshot=self._snapshot,
            with_inputs=True,
        ).to_arrow()
        found = {}
        for name in logged:
            difference = find_differences(name, single_chunk(part[name]), single_chunk(expected[name]))
            skew = skews[name]
            skew.compared += part.num_rows
            skew.equal += part.num_rows - len(difference.rows)
            if len(difference.rows):
                found[name] = difference
        if found:
            explained = PartDifferences(self._ctx, self._older, part, plan, names, expected, found).causes()
            for name, (codes, seen) in explained.items():
                _count(skews[name], found[name], codes)
                if name in self._skews:
                    self._keep(part, plan, found[name], codes, seen)

    def _keep(
        self,
        part: pa.Table,
        plan: RetrievalPlan,
        difference: Difference,
        codes: Codes,
        seen: Evidence | None,
    ) -> None:
        """Keep the first mismatches, as text and times that people can look at."""
        import pyarrow as pa

        count = min(len(codes), _KEPT - self._kept_rows)
        if count <= 0:
            return
        self._kept_rows += count
        rows = part.take(pa.array(difference.rows[:count].astype(np.int64)))
        keys = list(plan.keys)
        entities = (", ".join(f"{key}={value}" for key, value in row.items()) for row in rows.select(keys).to_pylist())
        moments = pa.timestamp("us", "UTC")
        skew = self._skews[difference.column]
        columns = {
            "feature": pa.array([skew.feature] * count),
            "kind": pa.array([KIND_NAMES[int(kind)] for kind in difference.kinds[:count]]),
            "cause": pa.array([Cause(int(code)).label for code in codes[:count]]),
            "served": pa.array(shown_values(difference.served.slice(0, count)), pa.string()),
            "expected": pa.array(shown_values(difference.expected.slice(0, count)), pa.string()),
            "served_event": rows[difference.column + TIMESTAMP],
            "expected_event": _moments(None if seen is None else seen.fact_us[:count], count),
            "expected_known": _moments(None if seen is None else seen.known_us[:count], count),
            "status": rows[difference.column + STATUS],
            "log_timestamp": rows[LOGGED_AT].cast(moments),
            "request_id": rows[REQUEST_ID],
            "definitions_version": rows[VERSION],
            "entity": pa.array(entities, pa.string()),
        }
        self._kept.append(pa.table(columns))

    def _mismatches(self) -> pa.Table:
        import pyarrow as pa

        moments = pa.timestamp("us", "UTC")
        kinds: dict[str, Any] = dict.fromkeys(("feature", "kind", "cause", "served", "expected"), pa.string())
        kinds |= dict.fromkeys(("served_event", "expected_event", "expected_known"), moments)
        kinds |= {"status": pa.int32(), "log_timestamp": moments, "request_id": pa.string()}
        kinds |= {"definitions_version": pa.int64(), "entity": pa.string()}
        return pa.concat_tables([pa.schema(list(kinds.items())).empty_table(), *self._kept])


def _count(skew: FeatureSkew, difference: Difference, codes: Codes) -> None:
    """Count what differs, by kind and by cause."""
    for kind, kind_name in KIND_NAMES.items():
        setattr(skew, kind_name, getattr(skew, kind_name) + int((difference.kinds == kind).sum()))
    for code, cells in zip(*np.unique(codes, return_counts=True), strict=True):
        skew.causes[Cause(code).label] += int(cells)
    add_to_spread(skew, difference)


def _moments(times: Int64Array | None, count: int) -> pa.Array:
    import pyarrow as pa

    moments = pa.timestamp("us", "UTC")
    if times is None:
        return pa.nulls(count, moments)
    return pa.array(times, moments, mask=times == NO_TIME)
