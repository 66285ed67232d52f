"""A model: from a table with features to the chance that a label is true.

Training rows and online rows go through the same code, and nothing else than the table is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.ensemble import HistGradientBoostingClassifier

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class TreeModel:
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
    def fit(
        cls, table: pa.Table, inputs: Sequence[str], label: str, weights: Floats | None = None, **options: Any
    ) -> TreeModel:
        """Learn.

        Args:
            table: rows, all of them with a label.
            inputs: columns of numbers, truth values and text; one that is null in all rows is left out.
            label: the column of truth values.
            weights: how much each row counts.
            options: of the classifier.
        """
        inputs = [name for name in inputs if table[name].null_count < table.num_rows]
        words = {name: pc.unique(table[name].drop_null()) for name in inputs if pa.types.is_string(table[name].type)}
        classifier = HistGradientBoostingClassifier(
            categorical_features=[name in words for name in inputs], random_state=0, **options
        )
        classifier.fit(_matrix(table, inputs, words), table[label].to_numpy().astype(bool), sample_weight=weights)
        return cls(tuple(inputs), words, classifier)

    def predict(self, table: pa.Table) -> Floats:
        """The chance of each row."""
        chances: Floats = self.classifier.predict_proba(_matrix(table, self.inputs, self.words))[:, 1]
        return chances


def _matrix(table: pa.Table, inputs: Sequence[str], words: Mapping[str, pa.Array]) -> Floats:
    """One float column per input; text becomes its number among the known words, null becomes NaN."""
    columns = []
    for name in inputs:
        column = table[name]
        if name in words:
            column = pc.index_in(column, value_set=words[name])
        columns.append(column.cast(pa.float64()).to_numpy())
    return np.column_stack(columns)
