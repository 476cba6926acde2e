"""Checkpoints of PyTorch-VAE."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from corekit.checkpoint.foreign import read_state
from corekit.errors import CheckpointError
from corekit.interfaces.importer import Imported, Importer

_ELSEWHERE = {  # what some models have beside the skeleton -> what a user should know
    r"discri?minator\.": "The discriminator is left out: the loss of the spec has none.",
    r"feature_network\.": "The feature network is left out: the loss of the spec has none.",
    r"embed_pseudo\.": "Its pseudo-inputs are left out: it draws from a standard normal anyway.",
}
_PLACES = {
    "fc_mu.": "encoder.head.mu.1.",
    "fc_var.": "encoder.head.log_var.1.",
    "fc_z.": "encoder.head.z.1.",
    "embed_class.": "encoder.condition.channel.0.",
    "embed_data.": "encoder.condition.data.",
    "decoder_input.": "decoder.body.0.1.",
    "final_layer.3.": "decoder.body.2.",
}
_LAYER = re.compile(r"(?:(encoder|decoder)\.(\d+)|final_layer)\.([01])\.(\w+)")


class PytorchVaeImporter(Importer):
    """Maps the state dicts of all models of PyTorch-VAE that share one convolutional skeleton.

    VanillaVAE, BetaVAE, ConditionalVAE, IWAE, MIWAE, DIPVAE, InfoVAE, LogCoshVAE, MSSIMVAE, DFCVAE,
    FactorVAE, VampVAE; with ``deterministic`` also WAE_MMD and SWAE. The weights do not tell which
    of these they are: the spec has the loss of VanillaVAE.

    Args:
        kl_weight: Of the loss, its ``kld_weight``.
        deterministic: fc_z is the latent itself: of a WAE_MMD or an SWAE.
        data_path: What the spec names as data.

    Raises:
        CheckpointError: If the file is not such a checkpoint.

    Source: https://github.com/AntixK/PyTorch-VAE (Apache-2.0), at a6896b9.
    """

    def __init__(
        self,
        *,
        kl_weight: float = 2.5e-4,
        deterministic: bool = False,
        data_path: str = "pictures",
    ) -> None:
        self.kl_weight, self.deterministic, self.data_path = kl_weight, deterministic, data_path

    def __call__(self, path: Path) -> Imported:
        """The spec and the weights in a state dict, or in a checkpoint of Lightning."""
        state = {key.removeprefix("model."): value for key, value in read_state(path).items()}
        dropped, notes = [], []
        for pattern, note in _ELSEWHERE.items():
            found = [key for key in state if re.match(pattern, key)]
            dropped += found
            notes += [note] if found else []
        state = {key: value for key, value in state.items() if key not in dropped}
        self._check(str(path), state)
        depth = sum(bool(re.fullmatch(r"encoder\.\d+\.0\.weight", key)) for key in state)
        weights = {renamed(str(path), key, depth): value for key, value in state.items()}
        if "fc_z.weight" in state:
            notes.append("Its distance of latents to the prior is left out: add one to the loss.")
        return Imported(self._spec(state, depth), weights, tuple(dropped), tuple(notes))

    def _check(self, name: str, state: Mapping[str, Tensor]) -> None:
        head = "fc_z" if self.deterministic else "fc_mu"
        wanted = ("encoder.0.0", head, "decoder_input", "final_layer.0", "final_layer.3")
        missing = [layer for layer in wanted if f"{layer}.weight" not in state]
        if missing:
            hint = "For a WAE_MMD or an SWAE add --set deterministic=true. "
            raise CheckpointError(
                f"{name}: must be a model of PyTorch-VAE with the skeleton of VanillaVAE, got no "
                f"'{missing[0]}.weight'. {hint if 'fc_z.weight' in state else ''}It has: "
                f"{', '.join(list(state)[:4])} ..."
            )
        inputs = state["encoder.0.0.weight"].shape[1] - ("embed_class.weight" in state)
        outputs = state["final_layer.3.weight"].shape[0]
        if inputs != outputs:
            raise CheckpointError(
                f"{name}: must give as many channels as it takes, got {outputs} and {inputs}. "
                "PyTorch-VAE compares them by broadcasting, so this is no model of its data."
            )

    def _spec(self, state: Mapping[str, Tensor], depth: int) -> dict[str, Any]:
        widths = [state[f"encoder.{i}.0.weight"].shape[0] for i in range(depth)]
        classes = state["embed_class.weight"].shape[1] if "embed_class.weight" in state else 0
        point = "fc_z.weight" in state
        encoder: dict[str, Any] = {
            "type": "vae.conv",
            "widths": widths,
            "latent_dim": state["fc_z.weight" if point else "fc_mu.weight"].shape[0],
            "posterior": "vae.point" if point else {"type": "vae.gaussian", "max_log_var": None},
        }
        model: dict[str, Any] = {
            "type": "latent",
            "encoder": encoder,
            "prior": "normal",
            "decoder": {
                "type": "vae.conv",
                "widths": widths,
                "likelihood": {"type": "vae.squared_error", "output": "tanh"},
            },
            "loss": {"type": "weighted_elbo", "kl_weight": 0.0 if point else self.kl_weight},
        }
        size = 2 ** (depth + 1)  # its decoder starts from 2 x 2
        data: dict[str, Any] = {"type": "image_folder", "path": self.data_path, "size": size}
        if classes:
            encoder |= {"condition_width": classes, "embed_data": True}
            model["conditional"] = ["decoder"]
            data = {"type": "arrays", "path": self.data_path, "vector": "labels"}
        data["value_range"] = [0.0, 1.0]
        return {"version": 1, "model": model, "data": data}


def renamed(name: str, key: str, depth: int) -> str:
    """Our name of one of its tensors."""
    for theirs, ours in _PLACES.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    match = _LAYER.fullmatch(key)
    if match is None:
        raise CheckpointError(
            f"{name}: must be a model of PyTorch-VAE with the skeleton of VanillaVAE, got the key "
            f"'{key}'."
        )
    part, index, place, field = match.groups()
    layer = f"{'norm' if place == '1' else 'conv'}.{field}"
    if part == "encoder":
        return f"encoder.body.{index}.{layer}"
    return f"decoder.body.1.{index or depth - 1}.{layer}"
