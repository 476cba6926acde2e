"""Specs of importers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corekit.spec.base import Spec


class PytorchVaeSpec(Spec):
    """A state dict or a checkpoint of PyTorch-VAE."""

    type: Literal["vae.pytorch_vae"] = "vae.pytorch_vae"
    kl_weight: float = Field(2.5e-4, ge=0, description="weight of the KL: its kld_weight")
    deterministic: bool = Field(
        False, description="fc_z is the latent itself: of a WAE_MMD or an SWAE"
    )
    data_path: str = Field(
        "pictures", description="what the spec names as data: a folder, or an array file of labels"
    )


class PythaeSpec(Spec):
    """A folder in which pythae saved a model with its default networks."""

    type: Literal["vae.pythae"] = "vae.pythae"
    reconstruction_loss: Literal["mse", "bce"] = Field(
        "mse", description="which it was trained with, where model_config.json does not say"
    )
    data_path: str = Field("data.npz", description="the array file that the spec names as data")
