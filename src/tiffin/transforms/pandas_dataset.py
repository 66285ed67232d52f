"""A frame whose methods make expectations, for functions that were written for great_expectations before 1.0."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from tiffin.transforms.suites import expectation, great_expectations, validated


class PandasDataset(pd.DataFrame):
    """A frame that is held to every expectation that is made of it, and remembers those that it meets.

    ``dataset.expect_column_mean_to_be_between("fare", 1, 20)`` gives the result, as great_expectations has it.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        # Past pandas, which would look for a column.
        object.__setattr__(self, "_made", [])

    def __getattr__(self, name: str) -> Any:  # type: ignore[misc]  # the stubs say final; pandas itself does not
        if name.startswith("expect_"):
            return partial(self._expect, name)
        return super().__getattr__(name)

    def _expect(self, name: str, *arguments: Any, **named: Any) -> Any:
        made = expectation(name, arguments, named)
        result = validated(pd.DataFrame(self), made)
        self._made.append((made, bool(result.success)))
        return result

    def get_expectation_suite(self, discard_failed_expectations: bool = True, **_: Any) -> Any:
        """The expectations so far.

        Args:
            discard_failed_expectations: leave out those that the frame itself does not meet.
        """
        kept = [made for made, is_met in self._made if is_met or not discard_failed_expectations]
        return great_expectations().ExpectationSuite(name="reference", expectations=kept)
