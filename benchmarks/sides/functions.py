"""On-demand views: a read whose answer a function computes, by a store or by hand after a read of its inputs.

Annotations are evaluated in this module, because Feast wants to see that a function gives a `pd.DataFrame`.
"""

import importlib
from typing import Any

import pandas as pd
import pyarrow as pa

from benchmarks.data import work_folder
from benchmarks.keys import asked_keys
from benchmarks.sides.store import RANGE, define_views, open_store, write_repository
from benchmarks.work import Work

_INPUTS = ["v0:v0_f0", "v0:v0_f1"]
_OUTPUTS = ["computed:sum", "computed:product"]


def python_sums(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The two features, from lists."""
    rows = list(zip(inputs["v0_f0"], inputs["v0_f1"], inputs["amount"], strict=True))
    return {"sum": [a + b + c for a, b, c in rows], "product": [a * b * c for a, b, c in rows]}


def pandas_sums(df: pd.DataFrame) -> pd.DataFrame:
    """The two features, from a frame."""
    out = pd.DataFrame()
    out["sum"] = df["v0_f0"] + df["v0_f1"] + df["amount"]
    out["product"] = df["v0_f0"] * df["v0_f1"] * df["amount"]
    return out


class ComputedFeatures(Work):
    """Reads one key of a view and computes two features from two of its own and one value of the request.

    With `by_hand` the store reads the inputs, and the function is called on them, without a check of what it gives.
    """

    def __init__(self, api: str, facts: str, mode: str, *, by_hand: bool = False) -> None:
        folder = work_folder()
        write_repository(folder, api, {"type": "duckdb"})
        self._store = open_store(api, folder)
        package, types = importlib.import_module(api), importlib.import_module(f"{api}.types")
        decorator = importlib.import_module(f"{api}.on_demand_feature_view" if api == "feast" else api)
        entity, view = define_views(api, [facts], created=True, online=True)
        request = package.RequestSource(name="order", schema=[package.Field(name="amount", dtype=types.Float64)])
        schema = [package.Field(name=name, dtype=types.Float64) for name in ("sum", "product")]
        function = python_sums if mode == "python" else pandas_sums
        computed = decorator.on_demand_feature_view(
            name="computed", sources=[view[["v0_f0", "v0_f1"]], request], schema=schema, mode=mode
        )(function)
        self._store.apply([entity, view, request, computed])
        self._store.materialize(*RANGE)
        self._rows = [[{"key": keys[0], "amount": 2.0}] for keys in asked_keys(facts, 1)]
        self._function, self._by_hand, self._mode = function, by_hand, mode

    def run(self, index: int) -> dict[str, list[Any]]:
        """One request."""
        rows = self._rows[index]
        if not self._by_hand:
            computed: dict[str, list[Any]] = self._store.get_online_features(
                features=_OUTPUTS, entity_rows=rows
            ).to_dict()
            return computed
        answer: dict[str, list[Any]] = self._store.get_online_features(features=_INPUTS, entity_rows=rows).to_dict()
        if self._mode == "python":
            return answer | self._function(answer)
        return answer | {name: column.tolist() for name, column in self._function(pd.DataFrame(answer)).items()}

    def answer(self, last: Any) -> pa.Table:
        """The answer to the first question."""
        found = self.run(0)
        return pa.table({name: found[name] for name in ("key", "sum", "product")})

    def close(self) -> None:
        """Nothing is left open."""


def computed_features(**arguments: Any) -> Work:
    """A filled store, ready to be read."""
    return ComputedFeatures(**arguments)
