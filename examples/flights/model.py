"""The model: from a table with features to the chance that a flight arrives late.

Training rows and online rows go through the same code, and nothing else than the table is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Read once, when the library is loaded: threads that spin while they wait make training ten times slower on a machine
# that has other work to do as well.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score

#: What the timetable says about a flight, known long before it leaves. The store is not asked for these.
TIMETABLE = ("carrier", "origin", "dest", "hour", "weekday", "distance")

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class LateArrivalModel:
    """A fitted model.

    Attributes:
        inputs: the columns that it reads.
        words: for each column of text the words seen in training; any other word counts as missing.
        classifier: the trees.
    """

    inputs: tuple[str, ...]
    words: Mapping[str, pa.Array]
    classifier: HistGradientBoostingClassifier

    @classmethod
    def fit(cls, table: pa.Table, features: Sequence[str]) -> LateArrivalModel:
        """Learn from the rows whose flight arrived; the others have no label."""
        table = table.filter(table["late"].is_valid())
        inputs = (*TIMETABLE, *features)
        words = {name: pc.unique(table[name].drop_null()) for name in inputs if pa.types.is_string(table[name].type)}
        classifier = HistGradientBoostingClassifier(
            max_iter=120,
            learning_rate=0.1,
            min_samples_leaf=100,
            categorical_features=[name in words for name in inputs],
            random_state=0,
        )
        classifier.fit(_matrix(table, inputs, words), table["late"].to_numpy().astype(bool))
        return cls(inputs, words, classifier)

    def predict(self, table: pa.Table) -> Floats:
        """The chance of each row to arrive late."""
        chances: Floats = self.classifier.predict_proba(_matrix(table, self.inputs, self.words))[:, 1]
        return chances


@dataclass(frozen=True)
class Score:
    """How well chances fit what happened.

    Attributes:
        rows: flights that arrived, and so can be judged.
        auc: how often a late flight got a higher chance than one on time; 0.5 is guessing.
        log_loss: the mean surprise; lower is better.
        base_log_loss: the same for always saying the share of late flights.
    """

    rows: int
    auc: float
    log_loss: float
    base_log_loss: float


def score(table: pa.Table, chances: Floats) -> Score:
    """Judge chances by the flights that arrived."""
    arrived = table["late"].is_valid().to_numpy()
    late = table["late"].filter(pa.array(arrived)).to_numpy().astype(bool)
    share = np.full(len(late), late.mean())
    return Score(
        rows=len(late),
        auc=float(roc_auc_score(late, chances[arrived])),
        log_loss=float(log_loss(late, chances[arrived])),
        base_log_loss=float(log_loss(late, share)),
    )


def _matrix(table: pa.Table, inputs: Sequence[str], words: Mapping[str, pa.Array]) -> Floats:
    """One float column per input; text becomes its number among the known words, null becomes NaN."""
    columns = []
    for name in inputs:
        column = table[name]
        if name in words:
            column = pc.index_in(column, value_set=words[name])
        columns.append(column.cast(pa.float64()).to_numpy())
    return np.column_stack(columns)
