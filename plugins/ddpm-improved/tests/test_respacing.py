"""Which steps are kept, and what a respaced schedule is."""

import json

import numpy as np
import pytest
import torch
from corekit_ddpm_improved.respacing import kept_steps
from corekit_ddpm_improved.schedules import Cosine, Linear
from corekit_ddpm_improved.specs import CosineSpec, LinearSpec
from corekit_ddpm_improved.unet import UNet
from pydantic import ValidationError

from corekit.diffusion.predicting import predict_with
from corekit.diffusion.samplers import Ancestral, Ddim
from corekit.errors import UsageError
from corekit.interfaces.denoiser import Denoiser
from corekit.testing.case import redraw


@pytest.fixture(scope="module")
def respaced(golden):
    """Rows of the index, and the arrays."""
    rows = json.loads((golden / "respace_index.json").read_text())
    with np.load(golden / "respace.npz") as arrays:
        return rows, dict(arrays)


def of_steps(name, steps, respacing):
    """A schedule of the golden numbers; few linear steps have literal betas of the same values."""
    if name == "cosine":
        return Cosine(steps, respacing=respacing)
    scale = 1000 / steps
    return Linear(steps, scale * 1e-4, scale * 0.02, respacing=respacing)


def test_every_golden_respacing_is_the_same(respaced):
    rows, arrays = respaced
    assert len(rows) == 73
    refused = 0
    for row in rows:
        number, steps, spec = row["i"], row["T"], row["spec"]
        if "error" in row:
            refused += 1
            with pytest.raises(ValueError, match=rf"\b{steps}\b") as caught:
                kept_steps(steps, spec)
            assert spec.removeprefix("ddim").split(",")[-1] in str(caught.value)
            continue
        kept = arrays[f"{number}/steps"]
        np.testing.assert_array_equal(kept_steps(steps, spec), kept)
        for name in ("linear", "cosine"):
            if f"{number}/{name}/betas" in arrays:
                schedule = of_steps(name, steps, spec)
                wanted = arrays[f"{number}/{name}/betas"]
                # 1 - a quotient of numbers near 1: a beta of 1e-5 has 11 digits
                np.testing.assert_allclose(schedule.betas, wanted, rtol=1e-10, atol=1e-15)
                np.testing.assert_array_equal(schedule.original, kept)
    assert refused == 10


def test_lists_are_sections_too(respaced):
    _, arrays = respaced
    lists = [key for key in arrays if key.startswith("list/")]
    assert len(lists) == 3
    for key in lists:
        _, steps, counts = key.split("/")
        found = kept_steps(int(steps), [int(count) for count in counts.split("_")])
        np.testing.assert_array_equal(found, arrays[key])


def test_strides_are_added_up_and_halves_go_to_even_numbers():
    assert kept_steps(16, 15)[7:9] == [7, 9]  # 7.5 by multiplying would be 8
    assert kept_steps(6, 3) == [0, 2, 5]  # 2.5
    assert kept_steps(4, 3) == [0, 2, 3]  # 1.5


@pytest.mark.parametrize("respacing", ["250", 250, [250], (250,), " 250 "])
def test_a_number_may_be_written_in_any_way(respacing):
    assert kept_steps(1000, respacing) == kept_steps(1000, "250")
    assert CosineSpec(respacing=respacing).respacing is not None


@pytest.mark.parametrize(
    ("respacing", "match"),
    [
        ("1001", r"got 1001 of the 1000 steps of section 1 of 1"),
        ("500,501", r"got 501 of the 500 steps of section 2 of 2 \(1000 steps in all\)"),
        ("ddim300", r"300 of 1000 steps .* use ddim334, or '300'"),
        ("ddim", r"ddim and a number"),
        ("ddim2.5", r"ddim and a number"),
        ("fast", r"several with commas between them, or ddim"),
        ("10,,5", r"several with commas"),
        ("0", r"at least one of 1000 steps, got '0'"),
        ([], r"0 or more of each section"),
        ([5, -1], r"0 or more of each section"),
    ],
)
def test_what_cannot_be_kept_is_said_by_spec_and_schedule(respacing, match):
    with pytest.raises(ValidationError, match=match):
        LinearSpec(respacing=respacing)
    with pytest.raises(UsageError, match=rf"Cosine: .*{match}"):
        Cosine(respacing=respacing)


@pytest.mark.parametrize("steps", [1, 10])
@pytest.mark.parametrize("respacing", ["", "1", 1])
def test_one_step_is_a_schedule(steps, respacing):
    """The reference looks for a second one, which is not there."""
    schedule = Cosine(steps, respacing=respacing)
    level = schedule.level(torch.tensor([schedule.steps - 1]))
    assert all(torch.isfinite(value).all() for value in level.columns.values())
    if respacing:
        assert schedule.steps == 1
        x = torch.randn(2, 3)
        net = predict_with(Told())
        for sampler in (Ancestral(), Ddim()):
            found = sampler(net, schedule, x, times=schedule.times(1))
            assert found.isfinite().all()


class Told(Denoiser):
    """Keeps the steps that it was told."""

    event_shape, condition_shapes = (3,), {}

    def __init__(self):
        super().__init__()
        self.steps = []

    def _forward(self, x_t, level, condition, previous):
        self.steps.append(level.step[0].item())
        return 0.1 * x_t


def test_a_network_is_told_the_original_step():
    schedule, net = Linear(1000, respacing="ddim25"), Told()
    Ddim()(predict_with(net), schedule, torch.randn(1, 3), times=schedule.times(25))
    assert net.steps == list(range(960, -1, -40))
    whole = Linear(1000)
    np.testing.assert_allclose(
        schedule.alphas_cumprod, whole.alphas_cumprod[schedule.original], rtol=1e-13
    )


def test_the_u_net_of_all_steps_says_the_same_at_a_kept_one():
    net = UNet((1, 4, 4), channels=4, multipliers=(1,), blocks=1, heads=1, step_scale=2.5)
    redraw(net)
    whole, short = Cosine(400), Cosine(400, respacing="7,3")
    x, row = torch.randn(1, 1, 4, 4), 8
    step = int(short.original[row])
    seen = net(x, short.level(torch.tensor([row])))
    torch.testing.assert_close(seen, net(x, whole.level(torch.tensor([step]))))
    assert not torch.allclose(seen, net(x, whole.level(torch.tensor([row]))))


def test_a_respaced_zero_terminal_snr_still_ends_in_noise():
    schedule = Cosine(100, zero_terminal_snr=True, respacing="10")
    assert schedule.alphas_cumprod[-1] == 0
    assert schedule.steps == 10
    assert Linear(100, zero_terminal_snr=True, respacing="ddim10").alphas_cumprod[-1] > 0


@pytest.mark.parametrize("make", [Linear, Cosine])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tables_keep_their_digits_in_a_network_of_any_precision(make, dtype):
    """A table that was rounded to bfloat16 would merge neighbours; in a buffer, it would be."""
    schedule = make(4000)
    before = schedule.betas.copy()
    x = torch.randn(1, 1, 4, 4).to(dtype)
    net = UNet((1, 4, 4), channels=2, multipliers=(1,), blocks=1, heads=1).to(dtype)
    with torch.no_grad():
        Ddim(steps=2)(predict_with(net), schedule, x, times=schedule.times(2))
    np.testing.assert_array_equal(schedule.betas, before)
    levels = schedule.level(torch.arange(4000))
    assert levels.alpha.dtype == torch.float32
    assert len(levels.log_snr.unique()) == 4000
    wide = schedule.at((torch.arange(4000, dtype=torch.float64) + 1) / 4000)
    assert wide.alpha.dtype == torch.float64
    np.testing.assert_array_equal(wide.alpha.numpy(), np.sqrt(schedule.alphas_cumprod))
