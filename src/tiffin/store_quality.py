"""The part of `FeatureStore` that watches over the data: proof, freshness, alerts, profiles and drift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    import pyarrow as pa

    from tiffin.definitions import FeatureService
    from tiffin.operations.context import Context
    from tiffin.operations.retrieve import RetrievalJob
    from tiffin.quality.drift import DriftReport, Thresholds
    from tiffin.quality.freshness import FreshnessReport
    from tiffin.quality.leaks import LeakLimits, LeakReport
    from tiffin.quality.monitor import MonitorReport
    from tiffin.quality.profiles import Profile
    from tiffin.quality.verify import Verification


class QualityMethods:
    """Whether the data of a project is as it has to be."""

    context: Context

    def check_leaks(
        self,
        job: RetrievalJob,
        label: str | None = None,
        *,
        before: timedelta | None = None,
        limits: LeakLimits | None = None,
    ) -> LeakReport:
        """Whether a training set knows what nobody knew at its times, and how much of it is there at all.

        Args:
            job: what ``get_historical_features`` gave.
            label: the column of the entity rows that a model is to tell; without it only views are looked at.
            before: also look at how well features told the label so long before each row's time.
            limits: what is allowed; ``report.raise_if_leaking()`` refuses what is not.

        Raises:
            InputError: there is no such column, or it has one value only.
        """
        from tiffin.quality.leaks import check_leaks

        return check_leaks(job, label, before=before, limits=limits)

    def verify(
        self,
        service: FeatureService | str | None = None,
        since: datetime | str | int | None = None,
        until: datetime | str | int | None = None,
        max_mismatch: float = 0.0,
        allow_no_history: bool = False,
        *,
        keep: bool = False,
    ) -> Verification:
        """Compute what was logged again as training would at its moment, compare, and tell why values differ.

        Args:
            service: a service, or its name; every service that has a log when left out.
            since: the first moment that is looked at.
            until: the last one, included.
            max_mismatch: the share of the cells of a feature that may differ, from 0 to 1.
            allow_no_history: whether the result may be ok beside features whose facts are only pushed, so that there
                is no history to compare them with.
            keep: add its counts to the history that the report of the project shows.

        Raises:
            NotFoundError: there is no such service.
            RequestError: it has no ``logging_config``.
            SourceError: the log has no rows, or a source cannot be read.
            StoreError: the counts cannot be kept.
        """
        from tiffin.quality.skew_history import SkewHistory
        from tiffin.quality.verify import verify

        found = verify(self.context, service, since, until, max_mismatch, allow_no_history)
        if keep:
            SkewHistory.of(self.context).keep(self.context.now_us(), found.services)
        return found

    def freshness(
        self, feature_views: Sequence[str] | None = None, *, offline: bool = True, streams: bool = True
    ) -> FreshnessReport:
        """How old the newest facts of views are, online and in their sources, against their declared ``freshness``.

        Args:
            feature_views: their names; all of them when left out.
            offline: whether their sources are looked at.
            streams: whether brokers are asked how many messages wait.

        Raises:
            NotFoundError: there is no such view.
            StoreUnavailableError: the online store cannot be reached.
        """
        from tiffin.quality.freshness import freshness

        return freshness(self.context, feature_views, offline=offline, streams=streams)

    def monitor(self, checks: Sequence[str] = (), *, tell: bool = True) -> MonitorReport:
        """Run the checks that are named, or all, and tell the channels in ``quality.alerts`` what is new.

        Args:
            checks: such as ``freshness``.
            tell: whether anybody is told.

        Raises:
            ConfigError: a channel's settings are wrong.
            RequestError: there is no such check.
            StoreError: what was told cannot be kept.
        """
        from tiffin.quality.monitor import monitor

        return monitor(self.context, checks, tell=tell)

    def profile(
        self,
        feature_view_name: str,
        since: datetime | str | int | None = None,
        until: datetime | str | int | None = None,
        *,
        online: bool = False,
        keys: Any = None,
        sample: int | None = None,
        keep: bool = False,
    ) -> Profile:
        """What the columns of a view are like: the facts with ``since <= event time < until``, or what is served now.

        Args:
            feature_view_name: the view.
            since: from the first fact on when left out.
            until: now when left out.
            online: profile what is served instead, for a sample of the keys.
            keys: of these keys, as a frame or columns; only with ``online``.
            sample: of so many keys; only with ``online``.
            keep: add it to the history, which ``profiles`` gives.

        Raises:
            NotFoundError: there is no such view.
            RequestError: the period is empty, or has no facts.
        """
        from tiffin.quality.profiling import take_profile

        return take_profile(self.context, feature_view_name, since, until, online, keys, sample, keep=keep)

    def profile_table(self, df: Any, name: str = "table") -> Profile:
        """What the columns of a pandas or polars frame or an Arrow table are like; raises ``RequestError``."""
        from tiffin.quality.profiling import profile_table

        return profile_table(self.context, df, name)

    def profiles(self, feature_view_name: str, of: str | None = None) -> list[Profile]:
        """The profiles of a view that were kept, by period; ``of`` is ``offline`` or ``online`` for only those."""
        from tiffin.quality.history import kept_profiles

        return kept_profiles(self.context, feature_view_name, of)

    def quarantine(self, feature_view_name: str) -> pa.Table:
        """The facts of a view that were not as expected and were put apart, with their times and ``__reasons``."""
        from tiffin.operations.quarantine import read_quarantine

        return read_quarantine(self.context, feature_view_name)

    def drift(
        self,
        feature_view_name: str,
        reference: Any,
        current: Any = None,
        columns: Sequence[str] | None = None,
        thresholds: Thresholds | None = None,
    ) -> DriftReport:
        """How far the features of a view are from a reference.

        Args:
            feature_view_name: the view.
            reference: a profile, a period ``(since, until)``, a saved dataset or its name, a frame, or ``"online"``.
            current: the same; all facts up to now when left out.
            columns: which features; all that both have, but for times, when left out.
            thresholds: what counts as drift.

        Raises:
            NotFoundError: a view, dataset or named column is not there.
            RequestError: a period is empty, or there is no column in common.
        """
        from tiffin.quality.references import find_drift

        return find_drift(self.context, feature_view_name, reference, current, columns, thresholds)

    def drift_trend(
        self,
        feature_view_name: str,
        reference: Any,
        columns: Sequence[str] | None = None,
        thresholds: Thresholds | None = None,
    ) -> list[DriftReport]:
        """How far each kept profile of a view is from a reference, by period; arguments and errors as of ``drift``."""
        from tiffin.quality.references import drift_trend

        return drift_trend(self.context, feature_view_name, reference, columns, thresholds)
