"""A data set of idx files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from corekit.data.array_layout import form_of
from corekit.data.fingerprint import fingerprint
from corekit.data.idx_file import LAYOUT, find_idx, open_idx
from corekit.data.tables import Table, TableDataset
from corekit.errors import DataError


class Idx(TableDataset):
    """Images of idx files, with their labels if asked.

    Args:
        path: A folder with the files of MNIST, or one file of images. A folder without files
            named "train…" must hold one file of images.
        labels: Hand on the labels, as `Condition.labels`.
        value_range: What 8-bit levels 0 and 255 become.
        bits: How many of 8 bits are kept, the highest ones.
        held_out: Share of the rows in "val", and in "test" of a single file.
        source, licence: Recorded with the run.

    Raises: DataError if the files are missing or not what they claim to be.

    Source: LeCun and Cortes, The MNIST database, http://yann.lecun.com/exdb/mnist/
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        labels: bool = False,
        value_range: tuple[float, float] = (-1.0, 1.0),
        bits: int = 8,
        held_out: float = 0.1,
        source: str | None = None,
        licence: str | None = None,
    ) -> None:
        self.path = Path(path)
        pairs = find_idx(self.path)
        self._used: list[Path] = []
        tables = {}
        for split, (images, beside) in pairs.items():
            if labels and beside is None:
                raise DataError(f"{images}: its labels must lie beside it, as {LAYOUT}")
            self._used += [images, *([beside] if labels and beside else [])]
            tables[split] = Table(open_idx(images), open_idx(beside) if labels and beside else None)
        first = next(iter(tables.values())).x
        form, spec = form_of(first, "grey", value_range, bits)
        facts = {"path": str(self.path), "source": source, "licence": licence}
        super().__init__(tables, form, spec, where=str(self.path), held_out=held_out, facts=facts)

    def _files(self) -> Mapping[str, object]:
        return fingerprint(self._used[0].parent, [path.name for path in self._used])
