"""How posteriors are run: by heads, from features, and by encoders, from data."""

from __future__ import annotations

import torch

from corekit.data_spec import Support
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.posterior_head import PosteriorHead
from corekit.testing.case import ROWS, Case
from corekit.testing.exercise import Exercise, Tensors, draws


def outputs_of(posterior: Posterior, inputs: Tensors) -> Tensors:
    """What the exercises of heads and of encoders give: mode, draw and densities.

    A draw that is not pathwise is "drawn", with its "drawn_log_q": its gradient is right on
    average, but is not the slope of the draw, so finite differences have nothing to say of it.
    """
    z, log_q = posterior.rsample_and_log_prob(draws(inputs))
    drawn = "" if posterior.pathwise else "drawn_"
    outputs = {"mode": posterior.mode, f"{drawn}z": z}
    if log_q.kind is not Likelihood.NONE:
        outputs[f"{drawn}log_q"] = log_q.value
        outputs["log_prob"] = posterior.log_prob(inputs["latent"]).value
    entropy = getattr(posterior, "entropy", None)
    return outputs if entropy is None else {**outputs, "entropy": entropy()}


class PosteriorExercise(Exercise):
    """What heads and encoders share; the latent to score is among the inputs."""

    wide = frozenset({"log_q", "drawn_log_q", "log_prob", "entropy"})

    def expected_dtype(self, name: str, dtype: torch.dtype) -> torch.dtype:
        """A posterior is kept in float32 or wider."""
        return torch.promote_types(dtype, torch.float32)

    def differentiable(self, outputs: Tensors) -> Tensors:
        """All but draws that are not pathwise."""
        return {name: v for name, v in outputs.items() if not name.startswith("drawn_")}


class HeadExercise(PosteriorExercise):
    """The posterior of features."""

    def inputs(self, case: Case, dtype: torch.dtype, rows: int = ROWS) -> Tensors:
        """Features, and a latent to score."""
        part: PosteriorHead = case.part
        return {
            "features": case.draw(part.feature_shape, Support.REAL, dtype, rows),
            "latent": case.draw(part.latent_shape, part.latent_support, dtype, rows),
            "rows": torch.arange(rows),
        }

    def __call__(self, part: PosteriorHead, inputs: Tensors) -> Tensors:
        """mode, z, log_q of z, and log_prob of the given latent."""
        return outputs_of(part(inputs["features"]), inputs)
