"""The model: from a payment and its features to the chance that it is a fraud, and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from sklearn.metrics import average_precision_score

from examples.common.trees import Floats, TreeModel

#: What a payment says of itself. The store is not asked for these.
PAYMENT = ("amount", "category")

#: The share of payments that people can look at.
LOOKED_AT = 0.01


@dataclass(frozen=True)
class Score:
    """How well chances find frauds.

    Attributes:
        rows: payments.
        frauds: frauds among them.
        average_precision: the mean share of frauds among the payments that look worse than a fraud; 1 is perfect, the
            share of frauds is guessing.
        found: the share of the frauds that are among the hundredth of the payments that looks worst.
    """

    rows: int
    frauds: int
    average_precision: float
    found: float


def fit(rows: pa.Table, features: Sequence[str], share: float) -> TreeModel:
    """Learn from all frauds and a share of the other payments, which count for the others."""
    weights = np.where(rows["fraud"].to_numpy(), 1, 1 / share)
    return TreeModel.fit(rows, (*PAYMENT, *features), "fraud", weights, max_iter=100, min_samples_leaf=50)


def score(rows: pa.Table, chances: Floats) -> Score:
    """Judge chances by what turned out to be true."""
    fraud = rows["fraud"].to_numpy()
    worst = np.argsort(-chances, kind="stable")[: max(1, round(len(fraud) * LOOKED_AT))]
    return Score(
        rows=len(fraud),
        frauds=int(fraud.sum()),
        average_precision=float(average_precision_score(fraud, chances)),
        found=float(fraud[worst].sum() / fraud.sum()),
    )
