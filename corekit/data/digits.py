"""The handwritten digits of scikit-learn, 8 x 8: real images that come with a package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from corekit.data_spec import DataSpec, Support
from corekit.errors import DataError, PluginError
from corekit.interfaces.dataset import Dataset, Item, Split
from corekit.interfaces.records import Batch, Condition

TRAIN, VAL, TEST, LEVELS = 1437, 180, 360, 17


class DigitsSplit(Split):
    """Digits of one split."""

    def __init__(self, x: np.ndarray, y: np.ndarray, rows: np.ndarray, *, labels: bool) -> None:
        self.rows, self.labels = rows, labels
        self.x, self.y = torch.from_numpy(x[rows]), torch.from_numpy(y[rows])

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, index: int) -> str:
        """Class and number in the set: ``7/1203``."""
        return f"{int(self.y[index])}/{int(self.rows[index])}"

    def get(self, index: int, rng: np.random.Generator) -> Item:
        """Digit ``index``, float32 ``(1, 8, 8)``; nothing is left to chance."""
        condition = Condition(labels=self.y[index]) if self.labels else None
        return Item(self.x[index], condition)

    def get_batch(self, indices: Sequence[int]) -> Batch:
        """Several at once."""
        condition = Condition(labels=self.y[list(indices)]) if self.labels else None
        return Batch(self.x[list(indices)], condition, torch.tensor(indices))


class Digits(Dataset):
    """1,797 handwritten digits of 8 x 8 pixels and 17 gray levels, in [0, 1].

    1,437 to train on and 360 to test, by a permutation of seed 0. With ``validate_on`` 180 of the
    training digits are left out of them, as "val".

    Args:
        labels: Hand on the class, 0 to 9.
        validate_on: Whether there is anything in the split "val".

    Raises:
        PluginError: If scikit-learn is not installed.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998, test part, as
        scikit-learn has it (``load_digits``).
    """

    def __init__(self, *, labels: bool = False, validate_on: bool = False) -> None:
        try:
            from sklearn.datasets import load_digits  # type: ignore[import-untyped]
        except ImportError as error:
            raise PluginError(
                "digits: the package scikit-learn must be installed, got none: "
                "pip install 'corekit[digits]'."
            ) from error
        found = load_digits()
        self._x = (found.images / (LEVELS - 1)).astype(np.float32)[:, None]
        self._y, self.labels = found.target.astype(np.int64), labels
        order = np.random.RandomState(0).permutation(TRAIN + TEST)
        left = VAL if validate_on else 0
        self._rows = {
            "train": order[: TRAIN - left],
            "val": order[TRAIN - left : TRAIN],
            "test": order[TRAIN:],
        }
        self.splits = tuple(name for name, rows in self._rows.items() if len(rows))
        self.data_spec = digits_spec(labels, len(self._rows["train"]))

    def split(self, name: str) -> DigitsSplit:
        """The digits of one split."""
        if name not in self._rows:
            raise DataError(f"Digits: split must be one of {', '.join(self._rows)}, got '{name}'.")
        return DigitsSplit(self._x, self._y, self._rows[name], labels=self.labels)

    def describe(self) -> Mapping[str, object]:
        """What the run records."""
        return {"source": "scikit-learn load_digits (UCI, CC BY 4.0)", "rows": TRAIN + TEST}


def digits_spec(labels: bool, size: int) -> DataSpec:
    """What the data are."""
    return DataSpec(
        (1, 8, 8),
        support=Support.UNIT_INTERVAL,
        levels=LEVELS,
        bin_width=1 / (LEVELS - 1),
        size=size,
        condition_shapes={"labels": ()} if labels else {},
        lowest=0.0,
    )
