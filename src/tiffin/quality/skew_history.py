"""What differed between serving and training, whenever somebody looked: counts, causes and sizes, and no values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tiffin.quality.files import monitor_file
from tiffin.quality.looks import MOST_BYTES, Looks
from tiffin.time import format_us

if TYPE_CHECKING:
    from tiffin.operations.context import Context
    from tiffin.quality.skew import FeatureSkew
    from tiffin.quality.verify import ServiceVerification


class SeenFeature(msgspec.Struct, frozen=True):
    """A feature of which values differed.

    Attributes:
        compared: cells that were compared.
        different: those that differed.
        causes: name of a cause to cells.
        unit: of ``mean`` and ``largest``; empty where differences have no size.
        mean: the mean difference, served less recomputed.
        largest: the largest one, without its sign.
    """

    compared: int
    different: int
    causes: Mapping[str, int]
    unit: str = ""
    mean: float | None = None
    largest: float | None = None

    @classmethod
    def of(cls, skew: FeatureSkew) -> SeenFeature:
        """From a comparison."""
        spread, causes = skew.spread, dict(skew.causes.most_common())
        if spread is None or not spread.count:
            return cls(skew.compared, skew.different, causes)
        return cls(skew.compared, skew.different, causes, spread.unit, spread.mean, spread.largest)


class SeenService(msgspec.Struct, frozen=True):
    """A service whose log was compared.

    Attributes:
        rows: vectors.
        first_us, last_us: the moments of the first and the last of them.
        compared: cells that were compared.
        different: those that differed.
        causes: name of a cause to cells, the most frequent first.
        features: those of which values differed.
        no_history: those that have no history to be compared with.
    """

    rows: int
    first_us: int | None
    last_us: int | None
    compared: int
    different: int
    causes: Mapping[str, int]
    features: Mapping[str, SeenFeature]
    no_history: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The share of cells that differed."""
        return self.different / self.compared if self.compared else 0.0

    @classmethod
    def of(cls, found: ServiceVerification) -> SeenService:
        """From a comparison."""
        features = {each.feature: SeenFeature.of(each) for each in found.features if each.different}
        return cls(
            rows=found.rows,
            first_us=found.first_us,
            last_us=found.last_us,
            compared=found.compared,
            different=found.different,
            causes=found.causes,
            features=features,
            no_history=tuple(found.no_history),
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        ends = {name: data.pop(f"{name}_us") for name in ("first", "last")}
        return {**data, "share": self.share} | {
            name: None if us is None else format_us(us) for name, us in ends.items()
        }


class SkewLook(msgspec.Struct, frozen=True):
    """What was seen at one moment.

    Attributes:
        now_us: the moment.
        services: by name, those that had a log.
    """

    now_us: int
    services: Mapping[str, SeenService]


class SkewHistory(Looks[SkewLook]):
    """The looks at what a project served."""

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        super().__init__(path, SkewLook, most_bytes)

    @classmethod
    def of(cls, ctx: Context) -> SkewHistory:
        """That of a project."""
        return cls(monitor_file(ctx, "skew.jsonl"))

    def keep(self, now_us: int, found: Iterable[ServiceVerification]) -> None:
        """Add what was found of some services; nothing, if there are none.

        Raises:
            StoreError: it cannot be written.
        """
        services = {each.service: SeenService.of(each) for each in found}
        if services:
            self.add(SkewLook(now_us, services))
