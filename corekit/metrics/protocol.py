"""How a figure was measured: without this, a number is not comparable with any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Protocol:
    """What two figures must have in common to be compared. Stamped into every `Figure`.

    Attributes:
        distance: Definition of the distance, in words.
        normalise: What was done to each cloud before it was compared.
        points: Points per cloud; of samples and reference, if they differ.
        samples: Size of the set that is measured.
        reference: Size of the held-out set.
        train: Size of the training set.
        seed: Of subsets, drawn points and anything else that is random.
        emd: Which "EMD" the distance is: there are four.
        more: Whatever else belongs to the figure.
    """

    distance: str
    normalise: str
    points: int | tuple[int, int]
    samples: int
    reference: int
    train: int
    seed: int | None = None
    emd: str | None = None
    more: Mapping[str, object] = field(default_factory=dict)

    def stamp(self, **more: object) -> dict[str, object]:
        """What `Figure.protocol` carries, and anything else; what is None is left out."""
        named = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "more"}
        every = {**named, **self.more, **more}
        return {name: value for name, value in every.items() if value is not None}
