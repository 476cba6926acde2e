"""The specs of importers; names and defaults are those of the scripts. No torch here."""

from typing import Literal

from pydantic import Field

from corekit.spec import Spec


class _Flags(Spec):
    image_size: int | None = Field(None, ge=1, description="of the data; told by multipliers")
    channels: int = Field(3, ge=1, description="of the data")
    num_heads: int = Field(4, ge=1, description="heads of attention")
    num_heads_upsample: int = Field(-1, ge=-1, description="heads on the way back; -1: the same")
    dropout: float = Field(0.0, ge=0, lt=1, description="in training")
    diffusion_steps: int = Field(1000, ge=1, description="number of steps T")
    noise_schedule: Literal["linear", "cosine"] = Field("linear", description="which betas")
    timestep_respacing: int | str = Field(
        "", description="steps that are kept: 250, ddim25; all if empty"
    )
    use_kl: bool = Field(False, description="trained on the bound")
    predict_xstart: bool = Field(False, description="the network says x_0, not eps")
    rescale_timesteps: bool = Field(True, description="the network was told 1000 t / T")
    rescale_learned_sigmas: bool = Field(
        True, description="the bound had a thousandth of its weight beside the squared error"
    )
    sigma_small: bool = Field(False, description="the smaller variance, where it is not learned")
    small_size: int = Field(64, ge=1, description="of the image that super-resolution starts from")
    ema_rate: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="of a run folder, the average of this rate; 0: none; null: the highest one",
    )
    data_path: str = Field("pictures", description="the folder of pictures that the spec names")


class ImprovedDiffusionSpec(_Flags):
    """A state dict of improved-diffusion."""

    type: Literal["ddpm.improved_diffusion"] = "ddpm.improved_diffusion"


class GuidedDiffusionSpec(_Flags):
    """A state dict of guided-diffusion (ADM)."""

    type: Literal["ddpm.guided_diffusion"] = "ddpm.guided_diffusion"
    num_head_channels: int = Field(-1, ge=-1, description="channels of each head; -1: num_heads")
    use_new_attention_order: bool = Field(
        False, description="queries, keys and values lie one after the other, not head by head"
    )
    rescale_timesteps: bool = Field(False, description="the network was told 1000 t / T")
    rescale_learned_sigmas: bool = Field(
        False, description="the bound had a thousandth of its weight beside the squared error"
    )
