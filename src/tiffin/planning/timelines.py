"""Timelines as a plan: what is kept online of the facts of a view with aggregations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from tiffin.definitions import FeatureView, Field
from tiffin.online.merging import Limits
from tiffin.online.timeline import fact_codec
from tiffin.online.windowed import Part, TimelineSpec, WindowedFeature
from tiffin.planning.aggregates import AggregateColumn, plan_aggregates
from tiffin.time import format_duration
from tiffin.windows.conditions import Condition
from tiffin.windows.evaluate import result_type


def timeline_spec(view: FeatureView) -> TimelineSpec:
    """What is kept of a view's facts. All of its features say that, whatever a request asks for."""
    aggregates = plan_aggregates(view, view.features)
    conditions = _conditions(aggregates)
    layout = tuple((field.name, repr(field.dtype)) for field in view.inputs or ())
    return TimelineSpec(
        codec=fact_codec(layout, has_known(view)),
        parts=tuple(dict.fromkeys(_part(each, conditions) for each in aggregates)),
        conditions=conditions,
        reach_us=_reach_us(aggregates),
    )


def windowed_features(view: FeatureView, features: Sequence[Field], spec: TimelineSpec) -> tuple[WindowedFeature, ...]:
    """Some features of a view, as parts of its timelines over windows."""
    number = {part: place for place, part in enumerate(spec.parts)}
    return tuple(
        WindowedFeature(
            part=number[_part(each, spec.conditions)],
            window=each.window,
            dtype=each.dtype,
            result=result_type(each.function, each.column_type, dict(each.params)),
        )
        for each in plan_aggregates(view, features)
    )


def describe_timelines(view: FeatureView) -> dict[str, str]:
    """What is kept online of a view's facts, in words."""
    spec, limits = timeline_spec(view), Limits()
    reach = None if spec.reach_us is None else timedelta(microseconds=spec.reach_us)
    least, most = limits.tile_facts(spec) * limits.tiles // 2, limits.tile_facts(spec) * limits.tiles
    return {
        "reach": "all facts" if reach is None else f"facts of the last {format_duration(reach)}",
        "columns": ", ".join(spec.codec.types) or "none",
        "bytes per fact": f"{spec.codec.width}" + (" and its texts" if spec.codec.has_content else ""),
        "row": f"the newest facts of a key, {limits.tail} at most",
        "tiles": f"older facts, {limits.tile_facts(spec):,} a tile at most, {limits.tiles} tiles",
        "cap": f"{least:,} to {most:,} facts of a key; of older ones only the states of {len(spec.parts)} aggregates",
    }


def has_known(view: FeatureView) -> bool:
    """Whether the facts of a view have a known time besides their event time."""
    return any(source is not None and source.created_timestamp_column for source in (view.source, view.batch_source))


def _conditions(aggregates: tuple[AggregateColumn, ...]) -> tuple[Condition, ...]:
    return tuple(dict.fromkeys(each.condition for each in aggregates if each.condition is not None))


def _part(each: AggregateColumn, conditions: tuple[Condition, ...]) -> Part:
    condition = None if each.condition is None else conditions.index(each.condition)
    return Part(each.function, each.params, each.column, each.column_type, condition)


def _reach_us(aggregates: tuple[AggregateColumn, ...]) -> int | None:
    found = 0
    for each in aggregates:
        if each.window.length_us is None:
            return None
        found = max(found, each.window.length_us + each.window.offset_us + (each.window.slide_us or 0))
    return found
