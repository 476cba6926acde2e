"""Checkpoints of diffusion-point-cloud: FlowVAE, GaussianVAE and AutoEncoder."""

import argparse
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from corekit.errors import CheckpointError
from corekit.interfaces.importer import Imported, Importer

_HEAD = {"fc1": 0, "fc_bn1": 1, "fc2": 3, "fc_bn2": 4, "fc3": 6}  # place in our Sequential
_ELSEWHERE = ("diffusion.var_sched.",)
_UNUSED = {  # parts that the smaller models do not have
    "flow": (),
    "gaussian": ("prior.",),
    "autoencoder": ("prior.", "encoder.log_var."),
}
_SPECTRAL = {"weight_orig": "weight", "weight_u": "u", "weight_v": "v"}
_HYPER = {
    "_hyper_gate.weight": "gate.weight",
    "_hyper_gate.bias": "gate.bias",
    "_hyper_bias.weight": "shift.weight",
}


class DpmImporter(Importer):
    """Maps the reference's state dict to a `latent` model and its spec.

    Sizes come from the weights, the rest from the checkpoint's arguments where it has them. The
    variance schedule is rebuilt from the spec; its tables in the file are compared and dropped.

    Args:
        model: "flow", "gaussian" or "autoencoder"; "auto" tells by weights and arguments.
        reference_constant: Keep the reference's wrong constant in the loss of the prior.
        residual: Whether the denoiser adds its input, where the file does not say.
        data_path: The data set named in the spec, where the file does not say.

    Source: diffusion-point-cloud, https://github.com/luost26/diffusion-point-cloud (MIT).
    """

    def __init__(
        self,
        *,
        model: Literal["auto", "flow", "gaussian", "autoencoder"] = "auto",
        reference_constant: bool = False,
        residual: bool = True,
        data_path: str = "data/shapenet.hdf5",
    ) -> None:
        self.model, self.reference_constant = model, reference_constant
        self.residual, self.data_path = residual, data_path

    def __call__(self, path: Path) -> Imported:
        """The spec and the weights in a ``.pt`` or ``.npz`` file."""
        state, options = _read(path)
        missing = [
            k for k in ("encoder.conv1.weight", "diffusion.var_sched.betas") if k not in state
        ]
        if missing:
            raise CheckpointError(
                f"{path}: must be a checkpoint of diffusion-point-cloud, got no '{missing[0]}' in "
                f"it. It has: {', '.join(list(state)[:4])} ..."
            )
        state, spectral = _without_spectral_names(state)
        kind = self._kind(path, state, options)
        weights, used = _weights(state, kind)
        dropped = tuple(k for k in state if k not in used)
        tables = [k for k in dropped if k.startswith(_ELSEWHERE)]
        notes = [f"{len(tables)} tables of the variance schedule are rebuilt from the spec."]
        if len(tables) < len(dropped):
            notes.append(
                f"{len(dropped) - len(tables)} keys have no use in a model of kind '{kind}'."
            )
        return Imported(self._spec(state, options, kind, spectral), weights, dropped, tuple(notes))

    def _kind(self, path: Path, state: Mapping[str, Tensor], options: Mapping[str, Any]) -> str:
        """A GaussianVAE and an AutoEncoder have the same weights: only the arguments tell."""
        if self.model != "auto":
            return self.model
        if any(k.startswith("flow.") for k in state):
            return "flow"
        if not options:
            raise CheckpointError(
                f"{path}: must say what it is, got weights of a GaussianVAE or an AutoEncoder and "
                "no arguments. Add --set model=gaussian or --set model=autoencoder."
            )
        return "gaussian" if "kl_weight" in options else "autoencoder"

    def _spec(
        self, state: Mapping[str, Tensor], options: Mapping[str, Any], kind: str, spectral: bool
    ) -> dict[str, Any]:
        latent_dim = state["encoder.fc3_m.weight"].shape[0]
        base: dict[str, Any] = {
            "type": "pointcloud.dpm_normal" if self.reference_constant else "normal"
        }
        priors = {"autoencoder": None, "gaussian": base, "flow": _flow_prior(state, base, spectral)}
        posterior = "point" if kind == "autoencoder" else "gaussian"
        categories = options.get("categories", "all")
        elbo = {
            "type": "weighted_elbo",
            "kl_weight": float(options.get("kl_weight", 1e-3)),
            "kl": "monte_carlo",
        }
        model = {
            "type": "latent",
            "encoder": {
                "type": "pointcloud.pointnet",
                "latent_dim": latent_dim,
                "posterior": posterior,
            },
            "prior": priors[kind],
            "decoder": {
                "type": "diffusion",
                "denoiser": {
                    "type": "pointcloud.pointwise",
                    "time": "beta",
                    "residual": bool(options.get("residual", self.residual)),
                },
                "schedule": _schedule(state["diffusion.var_sched.betas"]),
                "loss": {"type": "ddpm.mse"},
                "sampler": {
                    "type": "ancestral",
                    "flexibility": float(options.get("flexibility", 0.0)),
                },
            },
            "loss": elbo,
        }
        data: dict[str, Any] = {
            "type": "pointcloud.hdf5",
            "path": str(options.get("dataset_path", self.data_path)),
            "categories": categories
            if categories == "all" or "all" in categories
            else list(categories),
            "points": int(options.get("sample_num_points", 2048)),
            "scale": options.get("scale_mode") or "shape_unit",
        }
        if data["categories"] != "all":
            data["categories"] = [str(c) for c in data["categories"]]
        return {"version": 1, "model": model, "data": data}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state dict and the arguments in a file; nothing in it is run."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {k: torch.from_numpy(np.array(archive[k])) for k in archive.files}, {}
        with torch.serialization.safe_globals([argparse.Namespace]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: must be a file, got none of that name.") from error
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        RuntimeError,
        ValueError,
        EOFError,
    ) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{path}: must be a .pt file of tensors and plain arguments, or an .npz file of "
            f"arrays, got: {reason}"
        ) from error
    if not isinstance(loaded, dict):
        raise CheckpointError(
            f"{path}: must hold a dict with 'state_dict', got a {type(loaded).__name__}."
        )
    options = loaded.get("args", {})
    state = loaded.get("state_dict", loaded)
    return dict(state), vars(options) if isinstance(options, argparse.Namespace) else dict(options)


def _weights(state: Mapping[str, Tensor], kind: str) -> tuple[dict[str, Tensor], set[str]]:
    """Our names -> tensors, and the reference's keys that went into them."""
    ours: dict[str, Tensor] = {}
    used: set[str] = set()
    for key, value in state.items():
        name = _renamed(key)
        if name is None or name.startswith(_UNUSED[kind]):
            continue
        used.add(key)
        ours[name] = (
            value.squeeze(-1) if key.startswith("encoder.conv") and value.ndim == 3 else value
        )
    layers = sorted({int(k.split(".")[3]) for k in state if k.startswith("diffusion.net.layers.")})
    for hyper, name in _HYPER.items():
        keys = [f"diffusion.net.layers.{i}.{hyper}" for i in layers]
        ours[f"decoder.denoiser.{name}"] = torch.cat([state[k] for k in keys])
        used.update(keys)
    return ours, used


def _without_spectral_names(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """The weights by their plain names, u and v of spectral norm, and whether there was any.

    ``weight_orig`` is the weight; ``weight``, that divided by its largest singular value, goes.
    """
    layers = [k.removesuffix("weight_orig") for k in state if k.endswith(".weight_orig")]
    renamed = {f"{k}{a}": f"{k}{b}" for k in layers for a, b in _SPECTRAL.items()}
    divided = {f"{k}weight" for k in layers}
    return {renamed.get(k, k): v for k, v in state.items() if k not in divided}, bool(layers)


def _renamed(key: str) -> str | None:
    """Our name of one of the reference's tensors that maps to exactly one of ours."""
    part, _, rest = key.partition(".")
    if part == "encoder":
        layer, field = rest.split(".")
        if layer.startswith(("conv", "bn")):
            number = int(layer.removeprefix("conv").removeprefix("bn"))
            return f"encoder.points.{3 * (number - 1) + layer.startswith('bn')}.{field}"
        stem, _, head = layer.rpartition("_")
        return f"encoder.{'mu' if head == 'm' else 'log_var'}.{_HEAD[stem]}.{field}"
    if part == "flow":
        _, i, _, place, field = rest.split(".")
        return f"prior.bijector.members.{i}.net.layers.{place}.{field}"
    if rest.startswith("net.layers.") and "._layer." in rest:
        _, _, i, _, field = rest.split(".")
        return f"decoder.denoiser.layers.{i}.{field}"
    return None


def _flow_prior(
    state: Mapping[str, Tensor], base: Mapping[str, Any], spectral: bool
) -> dict[str, Any] | None:
    depth = len({k.split(".")[2] for k in state if k.startswith("flow.chain.")})
    if not depth:
        return None
    if depth % 2:
        raise CheckpointError(
            f"DpmImporter: the flow must have an even number of couplings, got {depth}."
        )
    hidden = state["flow.chain.0.net_s_t.0.weight"].shape[0]
    coupling = {"type": "realnvp.affine_coupling", "hidden": hidden, "scale": "sigmoid2"}
    coupling |= {"spectral_norm": True} if spectral else {}
    of = [{**coupling, "swap": True}, {**coupling, "swap": False}]
    return {
        "type": "flow",
        "base": dict(base),
        "bijector": {"type": "repeat", "times": depth // 2, "of": of},
    }


def _schedule(betas: Tensor) -> dict[str, Any]:
    """The literal linear schedule that made these tables (index 0 is padding)."""
    table = betas[1:].double()
    start, end = (
        float(f"{v:.6g}") for v in (table[0].item(), table[-1].item())
    )  # as typed, not as float32
    if not torch.allclose(
        table, torch.linspace(start, end, len(table), dtype=torch.float64), rtol=1e-5, atol=1e-9
    ):
        raise CheckpointError(
            "DpmImporter: the betas must be in equal steps, got another schedule."
        )
    return {
        "type": "pointcloud.variance_schedule",
        "steps": len(table),
        "beta_start": start,
        "beta_end": end,
    }
