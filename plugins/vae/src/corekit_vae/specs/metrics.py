"""Specs of metrics of latent models."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corekit.spec.base import Spec


class NllSpec(Spec):
    """-log p(x) of held-out data by importance sampling."""

    type: Literal["vae.nll"] = "vae.nll"
    samples: int = Field(1000, ge=1, description="importance samples per example")
    at_once: int = Field(100, ge=1, description="of them at a time: what memory goes with")


class LatentsSpec(Spec):
    """Active units, KL per dimension, mutual information; says where a posterior has collapsed."""

    type: Literal["vae.latents"] = "vae.latents"
    threshold: float = Field(
        0.01, gt=0, description="variance of a latent's mean above which it is active"
    )


class DisentanglementSpec(Spec):
    """MIG and the FactorVAE score, of data that come with their factors."""

    type: Literal["vae.disentanglement"] = "vae.disentanglement"
    bins: int = Field(20, ge=2, description="of each latent, of equal width")
    factor_bins: int = Field(10, ge=2, description="of a factor that is a number, of equal counts")
    votes: int = Field(800, ge=2, description="of the FactorVAE score")
    group: int = Field(64, ge=2, description="examples of a vote")


class ReconstructionSpec(Spec):
    """Mean squared error, PSNR and SSIM of reconstructions, beside the mean training image."""

    type: Literal["vae.reconstruction"] = "vae.reconstruction"
    data_range: tuple[float, float] = Field(
        (-1.0, 1.0), description="what black and white are in the data"
    )
