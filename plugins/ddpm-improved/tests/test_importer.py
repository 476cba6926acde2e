"""Checkpoints of improved-diffusion and guided-diffusion become models that say the same."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from corekit_ddpm_improved.importer import GuidedDiffusionImporter, ImprovedDiffusionImporter
from corekit_ddpm_improved.importer_specs import GuidedDiffusionSpec, ImprovedDiffusionSpec

from corekit.build import build, component
from corekit.cli.main import main
from corekit.errors import CheckpointError
from corekit.interfaces.records import Condition, NoiseLevel
from corekit.spec import load_spec, run_spec

EXAMPLES = Path(__file__).parents[1] / "examples"
IMPROVED = ("unet_plain", "unet_film_class_sigma", "unet_film_fract", "unet_superres_class")
ADM = ("adm_updown_neworder", "adm_avgpool")


@pytest.fixture(scope="module")
def checkpoint(golden, tmp_path_factory):
    """(name) -> a file of the golden weights, its arrays and its flags."""

    def made(name):
        with np.load(golden / f"{name}.npz") as archive:
            arrays = {key: torch.from_numpy(np.array(archive[key])) for key in archive.files}
        kind, _, short = name.partition("_")
        flags = json.loads((golden / f"{kind}_configs.json").read_text())[short]
        path = tmp_path_factory.mktemp(name) / "ema_0.9999_500000.pt"
        torch.save({k[3:]: v for k, v in arrays.items() if k.startswith("sd/")}, path)
        return path, arrays, flags

    return made


def flags_of(given, arrays):
    names = ("num_heads", "num_heads_upsample", "num_head_channels", "use_new_attention_order")
    told = {name: given[name] for name in names if name in given}
    if not {"num_heads", "num_head_channels"} & set(told):
        told["num_heads"] = 1
    size, low = arrays["x"].shape[-1], arrays.get("kw/low_res")
    told |= {"image_size": size, "rescale_timesteps": False}
    return told if low is None else told | {"small_size": low.shape[-1]}


@pytest.mark.parametrize("name", [*IMPROVED, *ADM])
def test_an_imported_network_says_what_the_golden_one_says(checkpoint, name):
    path, arrays, given = checkpoint(name)
    importer = (GuidedDiffusionImporter if name in ADM else ImprovedDiffusionImporter)(
        **flags_of(given, arrays), diffusion_steps=1000, noise_schedule="cosine"
    )
    imported = importer(path)
    assert not imported.dropped
    model = build(run_spec(imported.spec)).eval()
    model.load_state_dict(dict(imported.state))
    net = model.density.denoiser
    condition = Condition(labels=arrays.get("kw/y"), image=arrays.get("kw/low_res"))
    one = torch.ones(len(arrays["x"]))
    level = NoiseLevel(one, one, one, step=arrays["t"])  # of one network, between steps
    with torch.no_grad():
        out = net(arrays["x"], level, condition)
    torch.testing.assert_close(out, arrays["out"], atol=2e-5, rtol=0)
    assert ("labels" in model.data.condition_shapes) == ("kw/y" in arrays)
    assert ("image" in model.data.condition_shapes) == ("kw/low_res" in arrays)


def test_every_published_network_becomes_a_model(golden):
    """All five, with their flags; no memory is taken."""
    published = json.loads(gzip.decompress((golden / "published_state_dicts.json.gz").read_bytes()))
    assert len(published) == 5
    for name, facts in published.items():
        theirs = {k: torch.empty(v, device="meta") for k, v in facts["keys"].items()}
        flags = {
            k: v
            for k, v in facts["flags"].items()
            if k in ImprovedDiffusionSpec.model_fields and k != "image_size"
        }
        importer = component("importer", ImprovedDiffusionSpec(**flags))
        imported = importer.imported(theirs, name)
        spec = run_spec(imported.spec)
        with torch.device("meta"):
            model = build(spec)
        shapes = {k: v.shape for k, v in imported.state.items()}
        assert shapes == {k: v.shape for k, v in model.state_dict().items()}, name
        assert sum(v.numel() for v in imported.state.values()) == facts["params"]
        size = facts["flags"].get("image_size", 256)
        enlarged = spec.data.type == "low_res"
        images = spec.data.of if enlarged else spec.data
        assert images.size == size
        assert enlarged == name.startswith("upsample")
        assert not enlarged or size == 64 * spec.data.factor
        learned = model.density.denoiser.learns_variance
        assert learned == facts["flags"]["learn_sigma"]
        assert spec.model.schedule.type == "ddpm." + facts["flags"].get("noise_schedule", "linear")
        assert spec.model.schedule.steps == facts["flags"]["diffusion_steps"]
        told = model.density.denoiser.step_scale
        rescaled = facts["flags"].get("rescale_timesteps", True)
        assert told == (1000 / facts["flags"]["diffusion_steps"] if rescaled else 1.0)
        assert images.labels == ("prefix" if facts["flags"].get("class_cond") else None)


PRESETS = {
    "cifar10_hybrid": ("cifar10_uncond_50M_500K", {}),
    "cifar10_vlb": ("cifar10_uncond_50M_500K", {"use_kl": True}),
    "imagenet64_hybrid": ("imagenet64_uncond_100M_1500K", {}),
    "imagenet64_classes": ("imagenet64_cond_270M_250K", {}),
    "lsun256": ("lsun_uncond_100M", {}),
    "upsampler256": ("upsample_cond_500K", {}),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_the_model_that_its_published_weights_become(golden, preset):
    published = json.loads(gzip.decompress((golden / "published_state_dicts.json.gz").read_bytes()))
    name, more = PRESETS[preset]
    facts = published[name]
    theirs = {k: torch.empty(v, device="meta") for k, v in facts["keys"].items()}
    known = ImprovedDiffusionSpec.model_fields
    flags = {k: v for k, v in facts["flags"].items() if k in known and k != "image_size"}
    importer = component("importer", ImprovedDiffusionSpec(**flags, **more))
    wanted = run_spec(importer.imported(theirs, name).spec)
    found = load_spec(EXAMPLES / f"{preset}.yaml").spec
    assert found.data == wanted.data
    trained = {"timesteps"}  # how it was trained is not in the weights
    assert found.model.model_dump(exclude=trained) == wanted.model.model_dump(exclude=trained)
    assert (found.model.timesteps.type == "ddpm.loss_second_moment") == (preset == "cifar10_vlb")


@pytest.mark.parametrize(
    ("flags", "loss", "flexibility"),
    [
        ({}, {"type": "ddpm.rescaled_mse", "target": "eps"}, 0.0),
        (
            {"rescale_learned_sigmas": False, "predict_xstart": True},
            {"type": "ddpm.hybrid", "target": "x_0", "vlb_weight": 1.0, "rescale": False},
            0.0,
        ),
        ({"use_kl": True}, {"type": "ddpm.rescaled_kl", "variance": "small"}, 0.0),
    ],
)
def test_flags_become_the_loss_and_the_sampler(checkpoint, flags, loss, flexibility):
    path, _, _ = checkpoint("unet_film_class_sigma")  # it learns variances
    imported = ImprovedDiffusionImporter(image_size=16, **flags)(path)
    assert imported.spec["model"]["loss"] == loss
    assert imported.spec["model"]["sampler"]["flexibility"] == flexibility
    assert imported.spec["model"].get("clip", "auto") == "auto"  # pixels have a range
    assert build(run_spec(imported.spec)).density.denoiser.step_scale == 1.0


@pytest.mark.parametrize(("small", "flexibility"), [(False, 1.0), (True, 0.0)])
def test_a_fixed_variance_is_large_unless_said(checkpoint, small, flexibility):
    path, _, _ = checkpoint("unet_plain")
    imported = ImprovedDiffusionImporter(image_size=16, num_heads=1, sigma_small=small)(path)
    assert imported.spec["model"]["loss"] == {"type": "ddpm.mse", "target": "eps"}
    assert imported.spec["model"]["sampler"]["flexibility"] == flexibility
    assert imported.spec["model"]["fixed_variance"] == ("small" if small else "large")


def test_timesteps_are_rescaled_and_respaced_by_flags(checkpoint):
    path, _, _ = checkpoint("unet_plain")
    shared = {"image_size": 16, "num_heads": 1, "diffusion_steps": 4000}
    importer = ImprovedDiffusionImporter(**shared, timestep_respacing="ddim250")
    schedule = build(run_spec(importer(path).spec)).density.schedule
    assert schedule.steps == 250
    assert schedule.original.tolist() == list(range(0, 4000, 16))
    scales = {
        importer: build(run_spec(importer(path).spec)).density.denoiser.step_scale
        for importer in (ImprovedDiffusionImporter(**shared), GuidedDiffusionImporter(**shared))
    }
    assert list(scales.values()) == [0.25, 1.0]


def test_defaults_of_specs_are_those_of_the_scripts(golden):
    defaults = json.loads((golden / "script_defaults.json").read_text())
    fields = ImprovedDiffusionSpec().model_dump()
    same = set(fields) & set(defaults["image"]) - {"image_size"}
    assert len(same) == 11
    assert {k: fields[k] for k in same} == {k: defaults["image"][k] for k in same}
    assert fields["small_size"] == defaults["superres"]["small_size"]
    adm = GuidedDiffusionSpec()
    assert not adm.rescale_timesteps
    assert not adm.rescale_learned_sigmas


def test_a_run_folder_gives_its_last_average(checkpoint, tmp_path):
    path, _, _ = checkpoint("unet_plain")
    state = torch.load(path)
    number = "out.2.bias"
    for step, mark in ((0, 0.0), (9000, 1.0), (10000, 2.0)):
        for kind, more in (("model", 0.1), ("ema_0.99_", 0.2), ("ema_0.9999_", 0.3)):
            changed = state | {number: torch.full_like(state[number], mark + more)}
            torch.save(changed, tmp_path / f"{kind}{step:06d}.pt")
    torch.save({}, tmp_path / "opt010000.pt")

    def bias(**options):
        found = ImprovedDiffusionImporter(image_size=16, num_heads=1, **options)(tmp_path)
        return found.state["density.denoiser.head.bias"][0].item(), found.notes[0]

    assert bias() == (
        pytest.approx(2.3, abs=2e-3),
        "The weights are those of ema_0.9999_010000.pt.",
    )
    assert bias(ema_rate=0.99)[0] == pytest.approx(2.2, abs=2e-3)
    assert bias(ema_rate=0)[0] == pytest.approx(2.1, abs=2e-3)
    with pytest.raises(CheckpointError, match=r"at the rate 0\.5, got averages .*: 0\.99, 0\.9999"):
        bias(ema_rate=0.5)
    with pytest.raises(CheckpointError, match="rates: none"):
        ImprovedDiffusionImporter()(tmp_path.parent)


def test_files_of_others_are_refused(checkpoint, tmp_path):
    path, _, _ = checkpoint("unet_plain")
    state = torch.load(path)

    def refused(match, changed, **options):
        torch.save(changed, tmp_path / "file.pt")
        with pytest.raises(CheckpointError, match=match):
            ImprovedDiffusionImporter(image_size=16, **options)(tmp_path / "file.pt")

    refused("must hold time_embed", {"weight": torch.zeros(2)})
    refused("must be a state dict|must hold a state dict", [1, 2])
    half = {k: v for k, v in state.items() if "input_blocks.1" not in k}
    refused("must be a U-Net of this code base", half)
    refused("without one: spare", state | {"spare": torch.zeros(1)}, num_heads=1)
    refused("must divide them, got 5 heads", state, num_heads=5)
    refused("of 1 channels must have as many outputs", state, channels=1)
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(CheckpointError, match=r"text\.pt: must be"):
        ImprovedDiffusionImporter()(tmp_path / "text.pt")
    with pytest.raises(CheckpointError, match="must be a file"):
        ImprovedDiffusionImporter()(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match=r"size of the images must be given.*image_size=N"):
        ImprovedDiffusionImporter(num_heads=1)(path)


def test_the_command_imports_samples_and_tells_what_it_took(
    checkpoint, tmp_path, monkeypatch, capsys
):
    path, _, _ = checkpoint("unet_film_class_sigma")
    monkeypatch.chdir(tmp_path)
    sets = ["image_size=16", "num_heads_upsample=2", "diffusion_steps=100", "timestep_respacing=4"]
    options = [word for text in sets for word in ("--set", text)]
    assert main(["import", "ddpm.improved_diffusion", str(path), "--run", "theirs", *options]) == 0
    assert "4 heads, 100 linear steps (rescaled timesteps)" in capsys.readouterr().out
    draw = ["sample", "runs/theirs", "--num", "2", "--labels", "3,7"]
    for number, more in enumerate(([], ["--guidance", "0"], ["--guidance", "4"])):
        assert main([*draw, *more, "--out", f"s{number}"]) == 0
    first, plain, strong = (np.load(f"s{number}.npy") for number in range(3))
    assert first.shape == (2, 3, 16, 16)
    assert np.abs(first).max() <= 1
    np.testing.assert_array_equal(first, plain)
    assert np.abs(strong - plain).max() > 1e-3
