"""The spec of each component. No torch here."""

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from corekit.spec import Spec
from corekit_ddpm_improved.respacing import kept_steps

Target = Literal["eps", "x_0", "v", "velocity", "x_prev"]


class _Respaced(Spec):
    steps: int = Field(1000, ge=1, description="number of noise levels T")
    respacing: int | str | tuple[int, ...] | None = Field(
        None,
        description="levels that are kept: a number, several for equal sections (10,15,20), ddim25",
    )

    @model_validator(mode="after")
    def _levels_exist(self) -> Self:
        if self.respacing is not None:
            kept_steps(self.steps, self.respacing)
        return self


class LinearSpec(_Respaced):
    """Betas in equal steps; the default scales with the number of steps."""

    type: Literal["ddpm.linear"] = "ddpm.linear"
    beta_start: float | None = Field(
        None, gt=0, lt=1, description="first beta, taken literally; 1e-4 * 1000 / steps if null"
    )
    beta_end: float | None = Field(
        None, gt=0, le=1, description="last beta, taken literally; 0.02 * 1000 / steps if null"
    )
    zero_terminal_snr: bool = Field(
        False, description="rescale so that the last level is pure noise; needs a v or x_0 denoiser"
    )

    @model_validator(mode="after")
    def _ends_fit(self) -> Self:
        if (self.beta_start is None) != (self.beta_end is None):
            missing = "beta_start" if self.beta_start is None else "beta_end"
            raise ValueError(f"give both beta_start and beta_end or neither; {missing} is missing")
        if self.beta_start is None and self.steps < 21:
            raise ValueError(
                f"the default betas need at least 21 steps, got {self.steps}; "
                "use more steps, or give beta_start and beta_end"
            )
        return self


class CosineSpec(_Respaced):
    """Noise levels whose alphas_cumprod follow a squared cosine."""

    type: Literal["ddpm.cosine"] = "ddpm.cosine"
    s: float = Field(0.008, ge=0, description="offset in time that keeps the first betas from 0")
    max_beta: float = Field(0.999, gt=0, lt=1, description="betas are clipped here")
    zero_terminal_snr: bool = Field(
        False, description="rescale so that the last level is pure noise; needs a v or x_0 denoiser"
    )


class MseSpec(Spec):
    """Mean squared error of a prediction, averaged over the event."""

    type: Literal["ddpm.mse"] = "ddpm.mse"
    target: Target = Field(
        "eps", description="what the error is of, whatever the denoiser predicts"
    )


class HybridSpec(Spec):
    """A squared error for the mean, and the variational bound for a learned variance."""

    type: Literal["ddpm.hybrid"] = "ddpm.hybrid"
    target: Target = Field("eps", description="what the squared error is of")
    vlb_weight: float = Field(0.001, ge=0, description="weight of the bound")
    rescale: bool = Field(True, description="the weight is times the number of steps")


class RescaledMseSpec(Spec):
    """`ddpm.hybrid` with the weights of improved-diffusion: a thousandth of the bound."""

    type: Literal["ddpm.rescaled_mse"] = "ddpm.rescaled_mse"
    target: Target = Field("eps", description="what the squared error is of")


class KlSpec(Spec):
    """The term of the variational bound at one step, in bits per dimension."""

    type: Literal["ddpm.kl"] = "ddpm.kl"
    rescale: bool = Field(False, description="times the number of steps: the loss is the bound")
    variance: Literal["small", "large"] = Field(
        "small", description="of the step back, where the denoiser does not learn it"
    )


class RescaledKlSpec(Spec):
    """The term of the variational bound at one step, times the steps: L_vlb."""

    type: Literal["ddpm.rescaled_kl"] = "ddpm.rescaled_kl"
    variance: Literal["small", "large"] = Field(
        "small", description="of the step back, where the denoiser does not learn it"
    )
