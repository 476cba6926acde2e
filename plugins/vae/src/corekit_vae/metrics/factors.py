"""How well single latents stand for single factors of the data: MIG and the FactorVAE score."""

from collections.abc import Mapping

import numpy as np
import torch

from corekit.errors import UsageError
from corekit.interfaces.dataset import Figure, Look, ModelMetric
from corekit.interfaces.draws import Draws
from corekit.interfaces.model import GenerativeModel
from corekit.interfaces.records import Batch
from corekit.latent.model import LatentModel

Row = tuple[torch.Tensor, torch.Tensor]


class Disentanglement(ModelMetric):
    r"""MIG and the FactorVAE score, of data that come with their factors.

    .. math:: MIG = \frac1F \sum_f \frac{I(z_{(1)}; v_f) - I(z_{(2)}; v_f)}{H(v_f)}

    with the two latents that know most of factor f. Latents are the modes of the posteriors, in
    ``bins`` of equal width; factors are the numbers of the condition's vector and its label, the
    former in ``factor_bins`` of equal counts. The FactorVAE score is how often the latent that
    varies least, in units of its own spread, among examples of one value of a factor names that
    factor, by a vote of the majority.

    Args:
        bins: Of the latents.
        factor_bins: Of a factor that is a number.
        votes: Of the FactorVAE score.
        group: Examples of a vote.

    Source: Chen et al., Isolating Sources of Disentanglement in VAEs, NeurIPS 2018, sec. 4,
        https://arxiv.org/abs/1802.04942; Kim and Mnih, Disentangling by Factorising, ICML 2018,
        sec. 4, https://arxiv.org/abs/1802.05983.
    """

    def __init__(
        self, *, bins: int = 20, factor_bins: int = 10, votes: int = 800, group: int = 64
    ) -> None:
        for name, value in (("bins", bins), ("factor_bins", factor_bins), ("votes", votes)):
            if value < 2:
                raise UsageError(f"Disentanglement: {name} must be at least 2, got {value}.")
        if group < 2:
            raise UsageError(f"Disentanglement: group must be at least 2, got {group}.")
        self.bins, self.factor_bins, self.votes, self.group = bins, factor_bins, votes, group

    def __call__(self, model: GenerativeModel, look: Look) -> Mapping[str, Figure]:
        """The figures."""
        if not isinstance(model, LatentModel):
            raise UsageError(
                f"Disentanglement: the model must be a latent one, got {type(model).__name__}."
            )

        def work(batch: Batch, draws: Draws) -> Row:
            codes = model.encoder(batch.x, batch.condition).mode.double().flatten(1).cpu()
            return codes, _factors_of(batch)

        found = look(work)
        codes = torch.cat([c for c, _ in found]).numpy().T
        factors = [
            _grades(column, self.factor_bins)
            for column in torch.cat([f for _, f in found]).numpy().T
        ]
        told = {"examples": codes.shape[1], "factors": len(factors), "latents": len(codes)}
        gap = mig(codes, factors, self.bins)
        score, chance = factor_score(codes, factors, self.votes, self.group)
        return {
            "mig": Figure(gap, None, {}, {**told, "bins": self.bins}, better="higher"),
            "factor_score": Figure(
                score,
                None,
                {"chance": chance},
                {**told, "votes": self.votes, "group": self.group},
                better="higher",
            ),
        }


def information(codes: np.ndarray, factors: list[np.ndarray], bins: int) -> np.ndarray:
    """I(z_d; v_f) in nats, by counting: ``(D, F)``.

    Shape: codes ``(D, N)``, real; each factor ``(N,)``, whole numbers from 0.
    """
    found = np.zeros((len(codes), len(factors)))
    for d, column in enumerate(codes):
        edges = np.histogram_bin_edges(column, bins)[1:-1]
        code = np.digitize(column, edges)
        for f, factor in enumerate(factors):
            joint = np.zeros((bins, factor.max() + 1))
            np.add.at(joint, (code, factor), 1)
            joint /= joint.sum()
            product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
            there = joint > 0
            found[d, f] = (joint[there] * np.log(joint[there] / product[there])).sum()
    return found


def mig(codes: np.ndarray, factors: list[np.ndarray], bins: int = 20) -> float:
    """The mutual information gap, mean over the factors; 0 of a single latent."""
    found = np.sort(information(codes, factors, bins), axis=0)
    entropies = np.array([_entropy(factor) for factor in factors])
    second = found[-2] if len(found) > 1 else found[-1]
    return float(((found[-1] - second) / entropies).mean())


def factor_score(
    codes: np.ndarray, factors: list[np.ndarray], votes: int, group: int, seed: int = 0
) -> tuple[float, float]:
    """The accuracy of the vote, and of the most frequent factor alone.

    Latents that hardly vary at all have no vote.
    """
    rng = np.random.default_rng(seed)
    spread = codes.var(axis=1)
    alive = np.flatnonzero(spread > 0.05 * spread.max()) if spread.max() > 0 else np.arange(1)
    table = np.zeros((len(codes), len(factors)))
    for _ in range(votes):
        f = rng.integers(len(factors))
        value = factors[f][rng.integers(codes.shape[1])]
        rows = rng.choice(np.flatnonzero(factors[f] == value), group)
        ratios = codes[alive][:, rows].var(axis=1) / np.maximum(spread[alive], 1e-30)
        table[alive[ratios.argmin()], f] += 1
    return float(table.max(axis=1).sum() / votes), float(table.sum(axis=0).max() / votes)


def _factors_of(batch: Batch) -> torch.Tensor:
    """Numbers and label of each row, ``(B, F)``."""
    condition = batch.condition
    vector = None if condition is None else condition.vector
    labels = None if condition is None else condition.labels
    parts = [] if vector is None else [vector.flatten(1)]
    parts += [] if labels is None else [labels[:, None]]
    if not parts:
        raise UsageError(
            "Disentanglement: the data must come with their factors, got neither a vector nor "
            "labels. Of shapes32: factors: true and labels: true."
        )
    return torch.cat([part.double().cpu() for part in parts], 1)


def _grades(column: np.ndarray, bins: int) -> np.ndarray:
    """Whole numbers from 0: the values themselves if there are few, else grades of equal counts."""
    values, grade = np.unique(column, return_inverse=True)
    if len(values) <= bins:
        return grade
    edges = np.quantile(column, np.linspace(0, 1, bins + 1)[1:-1])
    return np.digitize(column, edges)


def _entropy(factor: np.ndarray) -> float:
    p = np.bincount(factor) / len(factor)
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())
