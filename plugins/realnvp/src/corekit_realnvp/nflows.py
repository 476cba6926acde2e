"""Flows of nflows: their transforms one by one, over a standard normal base."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from corekit.checkpoint.foreign import read_state
from corekit.errors import CheckpointError
from corekit.interfaces.importer import Imported, Importer
from corekit.nn.activation import Activation
from corekit_realnvp.nflows_layers import Found, Settings, State, features_of, found
from corekit_realnvp.nflows_nets import numbered


@dataclass(frozen=True)
class Leaf:
    """A transform that is made of no others."""

    place: str
    state: State
    inverted: bool


class NflowsImporter(Importer):
    """Maps the state dict of a ``nflows.flows.Flow`` over vectors to a flow.

    Read are compositions and inverses of the affine and rational-quadratic autoregressive and
    coupling transforms, permutations, LULinear, NaiveLinear, ActNorm, BatchNorm (as it evaluates)
    and PointwiseAffineTransform. What follows from the tensors is not asked for: kinds, masks,
    widths, blocks, bins, contexts. The options are what the file does not hold, with the defaults
    of nflows.

    Hidden units of an autoregressive network are sorted by how many features they see, as ours
    are; what they compute is the same.

    Args:
        tail_bound: Where the linear tails of splines begin.
        min_bin: Smallest share of a bin, in width and height.
        min_slope: Smallest slope at a knot.
        activation: Of the networks.
        linear_floor: eps of LULinear.
        batch_norm_floor: eps of BatchNorm.
        data_path: The ``.npy`` or ``.npz`` file that the spec names as data.
        vector: Its array that is the context, if the flow has one.

    Raises:
        CheckpointError: If the file is not such a state dict, or holds what cannot be mapped.

    Source: nflows 0.14, https://github.com/bayesiains/nflows (MIT).
    """

    def __init__(
        self,
        *,
        tail_bound: float = 1.0,
        min_bin: float = 1e-3,
        min_slope: float = 1e-3,
        activation: Activation = "relu",
        linear_floor: float = 1e-3,
        batch_norm_floor: float = 1e-5,
        data_path: str = "data/train.npy",
        vector: str = "context",
    ) -> None:
        self.settings = Settings(
            tail_bound, min_bin, min_slope, activation, linear_floor, batch_norm_floor
        )
        self.data_path, self.vector = data_path, vector

    def __call__(self, path: Path) -> Imported:
        """The spec and the weights of a flow."""
        state = read_state(path)
        leaves = _transforms(state, path)
        features = _features(leaves)
        layers = [found(leaf.state, leaf.place, features, self.settings) for leaf in leaves]
        context = _context(leaves, layers)
        members: list[dict[str, Any]] = []
        weights: dict[str, Tensor] = {}
        for i, (leaf, layer) in enumerate(zip(leaves, layers, strict=True)):
            inverse = {"type": "inverse", "of": layer.spec}
            members.append(inverse if leaf.inverted else layer.spec)
            prefix = f"density.bijector.members.{i}." + ("of." if leaf.inverted else "")
            weights |= {prefix + key: value.clone() for key, value in layer.weights.items()}
        data = {"type": "arrays", "path": self.data_path}
        spec = {
            "version": 1,
            "model": {"type": "flow", "bijector": {"type": "chain", "of": members}},
            "data": {**data, "vector": self.vector} if context else data,
        }
        dropped = tuple(key for key in state if key.startswith("_distribution."))
        return Imported(spec, weights, dropped, self._notes(layers, features, context))

    def _notes(self, layers: list[Found], features: int, context: int) -> tuple[str, ...]:
        """What was read, and what was taken for granted."""
        given = f" given {context} numbers of context" if context else ""
        notes = [
            f"{len(layers)} transforms of {features} features{given}; data are the file's, as is.",
            f"The file does not say so, but networks are taken to have {self.settings.activation}, "
            "no dropout, and the base to be the standard normal distribution.",
        ]
        bins = sorted({layer.bins for layer in layers if layer.bins})
        if bins:
            notes.append(
                f"Splines are taken to be rational-quadratic, of {', '.join(map(str, bins))} bins, "
                f"with linear tails from {self.settings.tail_bound} on; see `tail_bound`."
            )
        return (*notes, *dict.fromkeys(layer.note for layer in layers if layer.note))


def _transforms(state: State, path: Path) -> list[Leaf]:
    """The transforms in the order that data pass them."""
    root = {k.removeprefix("_transform."): v for k, v in state.items() if k[:11] == "_transform."}
    other = [k for k in state if k.split(".")[0] not in ("_transform", "_distribution")]
    if not root:
        raise CheckpointError(
            f"{path}: must be the state dict of a Flow of nflows, got the keys "
            f"{', '.join(list(state)[:4])} ... Save flow.state_dict()."
        )
    if other:
        raise CheckpointError(
            f"{path}: a flow must be made of transforms and a base alone, got {other[0]}. Apply an "
            "embedding net to the context yourself, before the flow."
        )
    base = [k for k in state if k[:14] == "_distribution." and k != "_distribution._log_z"]
    if base:
        raise CheckpointError(
            f"{path}: the base must be standard normal, which has no weights, got {base[0]}."
        )
    return list(_leaves(root, f"{path}: _transform", inverted=False))


def _leaves(state: State, place: str, *, inverted: bool) -> Iterator[Leaf]:
    """Of compositions their members, of an inverse what it inverts, run backwards."""
    if all(key.startswith("_transform.") for key in state):
        inner = {key.removeprefix("_transform."): value for key, value in state.items()}
        yield from _leaves(inner, f"{place}._transform", inverted=not inverted)
    elif all(key.startswith("_transforms.") for key in state):
        members = numbered(state, "_transforms.")
        if sorted(members) != list(range(len(members))):
            missing = next(i for i in range(len(members)) if i not in members)
            raise CheckpointError(
                f"{place}._transforms.{missing}: a transform must have tensors, got none in the "
                "file: it is a fixed function (Tanh, Exp, LeakyReLU ...), or absent. Build "
                "the flow from its parts and copy the weights."
            )
        for i in sorted(members, reverse=inverted):
            yield from _leaves(members[i], f"{place}._transforms.{i}", inverted=inverted)
    else:
        yield Leaf(place, state, inverted)


def _features(leaves: list[Leaf]) -> int:
    """How many features all transforms have."""
    sizes = {leaf.place: features_of(leaf.state) for leaf in leaves}
    known = {place: size for place, size in sizes.items() if size is not None}
    first = next(iter(known.values()), None)
    if first is None:
        # None says for itself what is wrong with it, or that it has no size of its own.
        for leaf in leaves:
            found(leaf.state, leaf.place, 1, Settings())
        raise CheckpointError(
            f"{leaves[0].place}: some transform must say how many features there are, got one "
            "number for all."
        )
    for place, size in known.items():
        if size != first:
            raise CheckpointError(
                f"{place}: all transforms must have as many features as the first, {first}, got "
                f"{size}. A MultiscaleCompositeTransform cannot be imported."
            )
    return first


def _context(leaves: list[Leaf], layers: list[Found]) -> int:
    """How many numbers of context all networks have; 0 for none."""
    sizes = [layer.context for layer in layers if layer.context is not None]
    for leaf, layer in zip(leaves, layers, strict=True):
        if layer.context not in (None, sizes[0]):
            raise CheckpointError(
                f"{leaf.place}: all networks must have the same context, {sizes[0]} numbers as in "
                f"the first, got {layer.context}."
            )
    return sizes[0] if sizes else 0
