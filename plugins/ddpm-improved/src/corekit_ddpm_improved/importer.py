"""Checkpoints of improved-diffusion and guided-diffusion."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from corekit.checkpoint.foreign import read_state
from corekit.errors import CheckpointError, CorekitError, UsageError
from corekit.interfaces.importer import Imported, Importer
from corekit_ddpm_improved.guided import options_of, weights_of
from corekit_ddpm_improved.unet import UNet

SIZES: dict[tuple[float, ...], int] = {
    (1, 2, 2, 2): 32,
    (1, 2, 3, 4): 64,
    (1, 1, 2, 3, 4): 128,
    (1, 1, 2, 2, 4, 4): 256,
    (0.5, 1, 1, 2, 2, 4, 4): 512,
}
"""The size of the images, by the multipliers that the scripts choose for it."""

_EMA, _MODEL = re.compile(r"ema_([\d.]+)_(\d+)\.pt"), re.compile(r"model(\d+)\.pt")


class ImprovedDiffusionImporter(Importer):
    """Maps a state dict of improved-diffusion to a diffusion model and its spec.

    The layout of the network (widths, blocks, attention, classes, learned variances, an image that
    it sees) comes from the shapes. The rest is not in the file: give the flags of the run. Their
    names and defaults are those of its scripts.

    Args:
        image_size: Of the data; None: what the scripts have these multipliers for.
        channels: Of the data.
        num_heads: Heads of attention.
        num_heads_upsample: On the way back; -1: the same.
        dropout: In training.
        diffusion_steps: T.
        noise_schedule: "linear" or "cosine".
        timestep_respacing: Which steps are kept; "": all.
        use_kl: Trained on the bound.
        predict_xstart: The network says x_0, not eps.
        rescale_timesteps: The network was told 1000 t / T.
        rescale_learned_sigmas: The bound had a thousandth of its weight beside the squared error.
        sigma_small: Which variance a step back has, where it is not learned.
        small_size: Of the image that a network for super-resolution sees.
        ema_rate: Of a run folder: the average of this rate; 0: the weights themselves; None: the
            average of the highest rate there is. The last step is taken.
        data_path: The folder of pictures that the spec names as data. Where there are classes, a
            file's is what its name has before the first "_".

    Raises:
        CheckpointError: If the file is not such a checkpoint, or the heads do not divide it.

    Source: https://github.com/openai/improved-diffusion (MIT).
    """

    legacy = True
    """Queries, keys and values lie head by head."""

    head_channels: int | None = None

    def __init__(
        self,
        *,
        image_size: int | None = None,
        channels: int = 3,
        num_heads: int = 4,
        num_heads_upsample: int = -1,
        dropout: float = 0.0,
        diffusion_steps: int = 1000,
        noise_schedule: Literal["linear", "cosine"] = "linear",
        timestep_respacing: int | str = "",
        use_kl: bool = False,
        predict_xstart: bool = False,
        rescale_timesteps: bool = True,
        rescale_learned_sigmas: bool = True,
        sigma_small: bool = False,
        small_size: int = 64,
        ema_rate: float | None = None,
        data_path: str = "pictures",
    ) -> None:
        self.image_size, self.channels, self.small_size = image_size, channels, small_size
        self.heads, self.heads_up = num_heads, num_heads_upsample
        self.dropout, self.steps, self.schedule = dropout, diffusion_steps, noise_schedule
        self.respacing, self.use_kl, self.predict_xstart = (
            timestep_respacing,
            use_kl,
            predict_xstart,
        )
        self.rescale_timesteps, self.sigma_small = rescale_timesteps, sigma_small
        self.rescale_learned_sigmas = rescale_learned_sigmas
        self.ema_rate, self.data_path = ema_rate, data_path

    def __call__(self, path: Path) -> Imported:
        """The spec and the weights in a ``.pt`` file, or in the last of a run folder."""
        file = _chosen(path, self.ema_rate) if path.is_dir() else path
        found = self.imported(read_state(file), str(file))
        taken = (f"The weights are those of {file.name}.",) if path.is_dir() else ()
        return found._replace(notes=taken + found.notes)

    def imported(self, theirs: Mapping[str, Tensor], name: str) -> Imported:
        """The spec and the weights of a state dict; ``name`` is what errors call it."""
        try:
            options = options_of(theirs, self.channels)
            image = options.pop("image")
            options |= self._told()
            size = self._size(options["multipliers"], name)
            shape = (self.channels, size, size)
            conditions: dict[str, tuple[int, ...]] = {"labels": ()} if options["classes"] else {}
            if image:
                conditions["image"] = (image, self.small_size, self.small_size)
            with torch.device("meta"):
                net = UNet(shape, conditions, **options)
            weights = weights_of(net, theirs, legacy=self.legacy)
        except CheckpointError:
            raise
        except (CorekitError, KeyError) as error:
            reason = f"it lacks {error.args[0]}." if isinstance(error, KeyError) else str(error)
            raise CheckpointError(
                f"{name}: must be a U-Net of this code base and fit its flags. {reason}"
            ) from error
        state = {f"density.denoiser.{k}": v.float() for k, v in weights.items()}
        spec = {
            "version": 1,
            "model": self._model(options),
            "data": self._data(size, options, image),
        }
        return Imported(spec, state, notes=self._notes(options))

    def _told(self) -> dict[str, Any]:
        """The options of the network that shapes do not tell."""
        return {
            "heads": self.heads,
            "heads_up": None if self.heads_up == -1 else self.heads_up,
            "head_channels": self.head_channels,
            "dropout": self.dropout,
            "step_scale": 1000 / self.steps if self.rescale_timesteps else 1.0,
            "predicts": "x_0" if self.predict_xstart else "eps",
        }

    def _size(self, multipliers: tuple[float, ...], name: str) -> int:
        size = self.image_size or SIZES.get(multipliers)
        if size is None:
            known = ", ".join(f"{m} of {s}" for m, s in SIZES.items())
            raise CheckpointError(
                f"{name}: the size of the images must be given where the multipliers are not those "
                f"of a script ({known}), got {multipliers}. Add --set image_size=N."
            )
        return size

    def _model(self, options: Mapping[str, Any]) -> dict[str, Any]:
        learned = options["variance"] != "fixed"
        fixed = "small" if learned or self.sigma_small else "large"
        schedule: dict[str, Any] = {"type": f"ddpm.{self.schedule}", "steps": self.steps}
        if self.respacing != "":
            schedule["respacing"] = self.respacing
        target = options["predicts"]
        loss: dict[str, Any] = {"type": "ddpm.mse", "target": target}
        if self.use_kl:
            loss = {"type": "ddpm.rescaled_kl", "variance": fixed}
        elif learned and self.rescale_learned_sigmas:
            loss = {"type": "ddpm.rescaled_mse", "target": target}
        elif learned:
            loss = {"type": "ddpm.hybrid", "target": target, "vlb_weight": 1.0, "rescale": False}
        flexibility = 0.0 if learned or self.sigma_small else 1.0
        return {
            "type": "diffusion",
            "denoiser": {"type": "ddpm.unet", **options},
            "schedule": schedule,
            "loss": loss,
            "sampler": {"type": "ancestral", "flexibility": flexibility},
            "fixed_variance": fixed,
        }

    def _data(self, size: int, options: Mapping[str, Any], image: int) -> dict[str, Any]:
        data: dict[str, Any] = {"type": "image_folder", "path": self.data_path, "size": size}
        data["channels"] = self.channels
        if options["classes"]:
            data["labels"] = "prefix"
        if not image:
            return data
        if self.small_size >= size or size % self.small_size:
            raise UsageError(
                f"{type(self).__name__}: small_size must divide the image size {size}, got "
                f"{self.small_size}."
            )
        return {"type": "low_res", "of": data, "factor": size // self.small_size}

    def _notes(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        heads = f"{options['heads']} heads"
        if options["head_channels"]:
            heads = f"heads of {options['head_channels']} channels"
        rescaled = "rescaled" if self.rescale_timesteps else "original"
        return (
            f"Not in the file, taken from the flags: {heads}, {self.steps} {self.schedule} steps "
            f"({rescaled} timesteps), prediction of {options['predicts']}, dropout "
            f"{options['dropout']:g}. Samples are noise if one is wrong.",
        )


class GuidedDiffusionImporter(ImprovedDiffusionImporter):
    """Maps a state dict of guided-diffusion (ADM) to a diffusion model and its spec.

    Its classifiers are no diffusion models: see `corekit_ddpm_improved.classifier`.

    Args:
        num_head_channels: Channels of each head in place of num_heads; -1: num_heads counts.
        use_new_attention_order: Queries, keys and values lie one after the other.
        image_size, channels, num_heads, num_heads_upsample, dropout, diffusion_steps,
            noise_schedule, timestep_respacing, use_kl, predict_xstart, rescale_timesteps,
            rescale_learned_sigmas, sigma_small, small_size, ema_rate, data_path: As of
            `ImprovedDiffusionImporter`; nothing is rescaled unless said.

    Raises:
        CheckpointError: If the file is not such a checkpoint, or the heads do not divide it.

    Source: https://github.com/openai/guided-diffusion (MIT).
    """

    def __init__(
        self,
        *,
        num_head_channels: int = -1,
        use_new_attention_order: bool = False,
        rescale_timesteps: bool = False,
        rescale_learned_sigmas: bool = False,
        **others: Any,
    ) -> None:
        super().__init__(
            rescale_timesteps=rescale_timesteps,
            rescale_learned_sigmas=rescale_learned_sigmas,
            **others,
        )
        self.head_channels = None if num_head_channels == -1 else num_head_channels
        self.legacy = not use_new_attention_order


def _chosen(folder: Path, rate: float | None) -> Path:
    """The checkpoint of the last step in the folder of a run."""
    averages = [(path, m) for path in folder.glob("*.pt") if (m := _EMA.fullmatch(path.name))]
    plain = [(path, m) for path in folder.glob("*.pt") if (m := _MODEL.fullmatch(path.name))]
    rates = sorted({float(match[1]) for _, match in averages})
    wanted = rate if rate is not None else max(rates, default=0.0)
    if wanted == 0:
        chosen = {int(match[1]): path for path, match in plain}
    else:
        chosen = {int(m[2]): path for path, m in averages if float(m[1]) == wanted}
    if not chosen:
        have = ", ".join(f"{r:g}" for r in rates) or "none"
        raise CheckpointError(
            f"{folder}: must hold weights of a run (model*.pt, ema_RATE_*.pt) at the rate "
            f"{wanted:g}, got averages of the rates: {have}. Give a file, or --set ema_rate=RATE."
        )
    return chosen[max(chosen)]
