"""The model of late arrivals, and what its chances are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from sklearn.metrics import log_loss, roc_auc_score

from examples.common.trees import Floats, TreeModel

#: What the timetable says about a flight, known long before it leaves. The store is not asked for these.
TIMETABLE = ("carrier", "origin", "dest", "hour", "weekday", "distance")


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


def fit(table: pa.Table, features: Sequence[str]) -> TreeModel:
    """Learn from the rows whose flight arrived; the others have no label."""
    arrived = table.filter(table["late"].is_valid())
    return TreeModel.fit(
        arrived, (*TIMETABLE, *features), "late", max_iter=120, learning_rate=0.1, min_samples_leaf=100
    )


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
