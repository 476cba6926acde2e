"""The U-Net: numbers of improved-diffusion and guided-diffusion, and what they got wrong."""

import gzip
import json

import numpy as np
import pytest
import torch
from corekit_ddpm_improved.blocks import SelfAttention
from corekit_ddpm_improved.guided import names, options_of, weights_of
from corekit_ddpm_improved.layers import GroupNorm, sinusoids
from corekit_ddpm_improved.unet import UNet
from corekit_ddpm_improved.unet_specs import UNetSpec
from pydantic import ValidationError

from corekit.errors import ShapeError, UsageError
from corekit.interfaces.records import Condition, NoiseLevel

FILES = (
    "unet_plain",
    "unet_film_class_sigma",
    "unet_film_fract",
    "unet_superres",
    "unet_superres_class",
    "unet_dims1",
    "adm_updown_neworder",
    "adm_avgpool",
)
SMALL = {"channels": 8, "multipliers": (1, 2), "blocks": 1, "attention": (2,), "heads": 2}


def arrays_of(folder, name):
    with np.load(folder / f"{name}.npz") as archive:
        return {key: torch.from_numpy(np.array(archive[key])) for key in archive.files}


def level_at(t):
    one = torch.ones(len(t), dtype=torch.float32)
    return NoiseLevel(t / 1000, one, one, step=t)


def theirs_as_ours(folder, name):
    """The network with the golden weights, and its input."""
    arrays = arrays_of(folder, name)
    flags = json.loads((folder / f"{name.split('_')[0]}_configs.json").read_text())
    given = flags[name.partition("_")[2]]
    weights = {k[3:]: v.float() for k, v in arrays.items() if k.startswith("sd/")}
    x, y, image = arrays["x"], arrays.get("kw/y"), arrays.get("kw/low_res")
    options = options_of(weights, x.shape[1])
    assert options.pop("image") == (0 if image is None else image.shape[1])
    conditions = {} if y is None else {"labels": ()}
    conditions |= {} if image is None else {"image": tuple(image.shape[1:])}
    net = UNet(
        x.shape[1:],
        conditions,
        heads=given.get("num_heads", 1),
        head_channels=given.get("num_head_channels"),
        heads_up=given.get("num_heads_upsample"),
        step_scale=1.0,
        **options,
    )
    legacy = not given.get("use_new_attention_order", False)
    net.load_state_dict(weights_of(net, weights, legacy=legacy))
    condition = Condition(labels=y, image=image)
    return net.eval(), x, level_at(arrays["t"]), condition, arrays


@pytest.mark.parametrize("name", FILES)
def test_outputs_and_gradients_are_the_golden_ones(golden, name):
    net, x, level, condition, arrays = theirs_as_ours(golden, name)
    out = net(x, level, condition)
    torch.testing.assert_close(out, arrays["out"], atol=2e-5, rtol=0)
    if "loss" not in arrays:
        return
    loss = out.square().mean()
    loss.backward()
    assert loss.item() == pytest.approx(arrays["loss"].item(), rel=1e-5)
    parameters = dict(net.named_parameters())
    seen = 0
    for ours, theirs in names(net):
        for what in ("weight", "bias"):
            key = f"gn/{theirs}.{what}"
            if key in arrays:
                found = parameters[f"{ours}.{what}"].grad.norm()
                torch.testing.assert_close(found, arrays[key].float(), rtol=2e-4, atol=1e-6)
                seen += 1
    assert seen == sum(key.startswith("gn/") for key in arrays)


def test_features_are_the_golden_ones(golden):
    net, x, level, condition, arrays = theirs_as_ours(golden, "unet_film_class_sigma")
    features = net.features(x, level, condition)
    torch.testing.assert_close(features["middle"][0], arrays["feat/middle"], atol=2e-5, rtol=1e-4)
    for part in ("down", "up"):
        assert len(features[part]) == sum(k.startswith(f"feat/{part}") for k in arrays)
        for i, h in enumerate(features[part]):
            found = torch.stack((h.mean(), h.std()))
            torch.testing.assert_close(
                found, arrays[f"feat/{part}{i}_meanstd"].float(), atol=2e-5, rtol=1e-4
            )


def test_sinusoids_are_the_golden_ones(golden):
    arrays = arrays_of(golden, "timestep_embedding")
    for what, period in (("int", 10_000.0), ("frac", 10_000.0), ("int_mp100", 100.0)):
        time = arrays["t_frac" if what == "frac" else "t_int"].float()
        rounding = 2e-7 * time.max().item()  # of the angle, in single precision
        for width in (32, 33, 64, 128):
            found = sinusoids(time, width, period)
            torch.testing.assert_close(found, arrays[f"{what}/{width}"], atol=rounding, rtol=0)


def test_every_published_checkpoint_has_a_place_for_every_weight(golden):
    """Names, shapes and sizes of five published networks; no memory is taken."""
    published = json.loads(gzip.decompress((golden / "published_state_dicts.json.gz").read_bytes()))
    for name, facts in published.items():
        theirs = {k: torch.empty(v, device="meta") for k, v in facts["keys"].items()}
        options = options_of(theirs)
        image = options.pop("image")
        conditions = {"labels": ()} if options["classes"] else {}
        conditions |= {"image": (image, 64, 64)} if image else {}
        heads = facts["flags"].get("num_heads", 4)
        with torch.device("meta"):
            net = UNet((3, 64, 64), conditions, heads=heads, **options)
        assert sum(p.numel() for p in net.parameters()) == facts["params"], name
        assert set(weights_of(net, theirs)) == set(net.state_dict())


def test_weights_that_do_not_fit_are_told():
    net = UNet((3, 8, 8), **SMALL)
    state = net.state_dict()
    theirs = {
        f"{b}.{w}": state[f"{a}.{w}"]
        for a, b in names(net)
        for w in ("weight", "bias")
        if f"{a}.{w}" in state
    }
    assert set(weights_of(net, theirs)) == set(state)
    with pytest.raises(UsageError, match="without one: spare"):
        weights_of(net, theirs | {"spare": torch.zeros(1)})
    with pytest.raises(UsageError, match="must hold out"):
        weights_of(net, {k: v for k, v in theirs.items() if k != "out.0.bias"})
    with pytest.raises(UsageError, match=r"must have the shape"):
        weights_of(net, theirs | {"out.0.bias": torch.zeros(1)})
    with pytest.raises(UsageError, match="must hold time_embed"):
        options_of({})


@pytest.mark.parametrize("frozen", [False, True])
def test_recomputing_draws_the_same_dropout(frozen):
    """The reference drops other units the second time, and fails where a weight is frozen."""
    x, level = torch.randn(2, 3, 8, 8), level_at(torch.tensor([3, 700]))
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(1)
        net = UNet((3, 8, 8), **SMALL, dropout=0.5).train()
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        net.stem.weight.requires_grad_(not frozen)
        net.recompute = recompute
        torch.manual_seed(2)
        net(x, level).square().sum().backward()
        gradients.append([p.grad for p in net.parameters() if p.requires_grad])
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)
    assert any(g.abs().max() > 0 for g in gradients[0])


@pytest.mark.parametrize("shape", [(3, 7, 9), (1, 5, 5), (4, 1, 3), (2, 9), (1, 2, 7, 6)])
@pytest.mark.parametrize("resample", ["convolution", "average", "blocks"])
def test_any_size_and_number_of_channels(shape, resample):
    net = UNet(shape, channels=6, multipliers=(1, 2, 2), blocks=1, heads=3, resample=resample)
    assert net(torch.randn(2, *shape), level_at(torch.tensor([1, 5]))).shape == (2, *shape)


def test_attention_is_that_of_the_definition():
    layer = SelfAttention(6, heads=2).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    rows = layer.norm(x).reshape(2, 6, 12).mT @ layer.qkv.weight.T + layer.qkv.bias
    found = torch.empty(2, 12, 6, dtype=torch.float64)
    for head in range(2):
        q, k, v = (rows[..., i * 6 + head * 3 : i * 6 + head * 3 + 3] for i in range(3))
        weight = torch.softmax(q @ k.mT / 3**0.5, dim=-1)
        found[..., head * 3 : head * 3 + 3] = weight @ v
    wanted = x + (found @ layer.out.weight.T + layer.out.bias).mT.reshape(x.shape)
    torch.testing.assert_close(layer(x), wanted)


def test_norms_are_made_in_full_precision():
    norm, x = GroupNorm(48), 300 + torch.randn(2, 48, 5)
    assert norm.num_groups == 24
    found = norm.bfloat16()(x.bfloat16())
    wanted = torch.nn.functional.group_norm(x.bfloat16().float(), 24)
    assert found.dtype is torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, atol=2e-2, rtol=0)


def test_no_class_adds_nothing_and_a_class_beyond_is_refused():
    net = UNet((1, 4, 4), {"labels": ()}, **SMALL, classes=3)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x, level = torch.randn(2, 1, 4, 4), level_at(torch.tensor([1, 5]))
    none, some = (
        net(x, level, Condition(labels=torch.tensor(labels))) for labels in ([-1, -1], [0, 2])
    )
    assert not torch.equal(none, some)
    with torch.no_grad():
        net.embedding.label.weight.zero_()
    assert torch.equal(none, net(x, level, Condition(labels=torch.tensor([0, 2]))))
    with pytest.raises(UsageError, match="below classes = 3, got 3"):
        net(x, level, Condition(labels=torch.tensor([0, 3])))


def test_an_earlier_estimate_is_seen():
    net = UNet((2, 4, 4), **SMALL, self_condition=True)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x, level = torch.randn(2, 2, 4, 4), level_at(torch.tensor([1, 5]))
    first = net(x, level)
    assert torch.equal(first, net(x, level, previous=torch.zeros_like(x)))
    assert not torch.equal(first, net(x, level, previous=torch.ones_like(x)))


def test_the_time_is_that_of_the_schedule_or_the_integer_step():
    net = UNet((1, 4, 4), **SMALL, step_scale=0.25)
    level = level_at(torch.tensor([4, 800]))
    assert net._time(level).tolist() == [1.0, 200.0]
    net.step_scale = None
    torch.testing.assert_close(net._time(level), torch.tensor([4.0, 800.0]))
    net.step_scale = 1.0
    with pytest.raises(UsageError, match="integer steps"):
        net._time(level._replace(step=None))


@pytest.mark.parametrize(
    ("shape", "options", "error", "words"),
    [
        ((5,), {}, ShapeError, r"got 1 axes"),
        ((3, 8, 8), {"out_channels": 4}, ShapeError, "must be 3, got 4"),
        ((3, 8, 8), {"heads": 5}, UsageError, "must divide them, got 5 heads"),
        ((3, 8, 8), {"head_channels": 5}, UsageError, "heads of 5 channels"),
        ((3, 8, 8), {"blocks": 0}, UsageError, "blocks at least 1"),
        ((3, 8, 8), {"multipliers": ()}, UsageError, "one per grid"),
        ((3, 8, 8), {"resample": "none"}, UsageError, "convolution, average or blocks"),
        ((3, 8, 8), {"classes": 3}, ShapeError, "condition 'labels'"),
        ((3, 8, 8), {"condition_shapes": {"image": (3, 8)}}, ShapeError, "axes of the event"),
    ],
)
def test_what_does_not_fit_is_refused(shape, options, error, words):
    with pytest.raises(error, match=words):
        UNet(shape, **{**SMALL, **options})


def test_the_spec_refuses_heads_that_do_not_divide():
    with pytest.raises(ValidationError, match="over 384 channels must divide them, got 5 heads"):
        UNetSpec(multipliers=(1, 3), heads=5)
    with pytest.raises(ValidationError, match="got 48 channels each"):
        UNetSpec(head_channels=48)
