"""Models that pythae saved."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from corekit.checkpoint.foreign import read_state
from corekit.errors import CheckpointError
from corekit.interfaces.importer import Imported, Importer

_PLACES = {
    "encoder.layers.0.0.": "encoder.layers.0.",
    "encoder.embedding.": "encoder.head.mu.1.",
    "encoder.log_var.": "encoder.head.log_var.1.",
    "decoder.layers.0.0.": "decoder.layers.0.",
    "decoder.layers.1.0.": "decoder.layers.2.",
}
_WIDTH = ("encoder.layers.0.0.weight", "encoder.embedding.weight", "decoder.layers.1.0.weight")


class PythaeImporter(Importer):
    """Maps a folder of pythae to a model, if its networks are the perceptrons that pythae makes.

    That is VAE, BetaVAE and every model that adds a term to their loss or takes several draws: the
    posterior is a diagonal Gaussian, the prior a standard normal. Without log-variances it is an
    auto-encoder (AE, WAE_MMD, RAE). The spec has the loss of BetaVAE. Networks of the user's are
    pickled in such a folder; they are never opened.

    Args:
        reconstruction_loss: "mse" or "bce", where model_config.json does not say.
        data_path: The array file that the spec names as data.

    Raises:
        CheckpointError: If the folder holds no such model.

    Source: https://github.com/clementchadebec/benchmark_VAE (Apache-2.0), at 6419e21.
    """

    def __init__(
        self,
        *,
        reconstruction_loss: Literal["mse", "bce"] = "mse",
        data_path: str = "data.npz",
    ) -> None:
        self.reconstruction_loss, self.data_path = reconstruction_loss, data_path

    def __call__(self, path: Path) -> Imported:
        """The spec and the weights in a folder, or in the ``model.pt`` of one."""
        file = path / "model.pt" if path.is_dir() else path
        config = _config(file.parent / "model_config.json")
        state = read_state(file, ("model_state_dict",))
        dropped = [key for key in state if key.startswith("discriminator.")]
        weights, strange = {}, []
        for key, value in state.items():
            ours = _renamed(key, point="encoder.log_var.weight" not in state)
            if ours is not None:
                weights[ours] = value
            elif key not in dropped:
                strange.append(key)
        if strange or not all(key in state for key in _WIDTH):
            raise CheckpointError(
                f"{path}: must be a model of pythae with its default networks and no parts beside "
                f"them, got {', '.join(strange[:3] or list(state)[:3])}. Other networks are "
                "pickled, and are not opened here: build them as a corekit encoder and decoder."
            )
        notes = ["Its loss is twice that of pythae, which halves squares; so is its KL weight."]
        if dropped:
            notes.append("The discriminator is left out: the loss of the spec has none.")
        loss = str(config.get("reconstruction_loss", self.reconstruction_loss))
        if loss == "bce":
            notes[0] = "If the data are black and white, set gray to false: losses are nats then."
        return Imported(self._spec(state, config, loss), weights, tuple(dropped), tuple(notes))

    def _spec(
        self, state: Mapping[str, Tensor], config: Mapping[str, Any], loss: str
    ) -> dict[str, Any]:
        point = "encoder.log_var.weight" not in state
        beta = float(config.get("beta", 1.0)) if config.get("name") == "BetaVAEConfig" else 1.0
        bare = point and config.get("name") == "AEConfig"
        gaussian = {"type": "vae.gaussian", "max_log_var": None}
        encoder = {
            "type": "vae.mlp",
            "latent_dim": state["encoder.embedding.weight"].shape[0],
            "hidden": [state["encoder.layers.0.0.weight"].shape[0]],
            "posterior": "vae.point" if point else gaussian,
        }
        squares = {"type": "vae.squared_error", "reduction": "sum", "output": "sigmoid"}
        decoder = {
            "type": "vae.mlp",
            "hidden": [state["decoder.layers.0.0.weight"].shape[0]],
            "likelihood": {"type": "vae.bernoulli", "gray": True} if loss == "bce" else squares,
        }
        weight = 0.0 if point else beta if loss == "bce" else 2 * beta
        model = {
            "type": "latent",
            "encoder": encoder,
            "prior": None if bare else "normal",
            "decoder": decoder,
            "loss": {"type": "weighted_elbo", "kl_weight": weight},
        }
        data = {"type": "arrays", "path": self.data_path, "value_range": [0.0, 1.0]}
        return {"version": 1, "model": model, "data": data}


def _config(file: Path) -> dict[str, Any]:
    """What pythae wrote about the model; nothing, where there is no such file."""
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{file}: must be a JSON file, got: {error}") from error
    if not isinstance(read, dict):
        raise CheckpointError(f"{file}: must hold a mapping, got a {type(read).__name__}.")
    return read


def _renamed(key: str, *, point: bool) -> str | None:
    """Our name of one of its tensors; None where there is none."""
    for theirs, ours in _PLACES.items():
        if key.startswith(theirs):
            ours = "encoder.head.z.1." if point and theirs == "encoder.embedding." else ours
            return ours + key.removeprefix(theirs)
    return None
