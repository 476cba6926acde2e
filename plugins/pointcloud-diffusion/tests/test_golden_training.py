"""The reference at full size, and ten steps of its training."""

import numpy as np
import pytest
import torch
from dpm_restatement import FlowVae

from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.records import Batch
from corekit.train.lr_schedules import linear_decay
from corekit.train.optimizers import adam


def tensor(array):
    return torch.from_numpy(np.array(array))


def arrays(path):
    with np.load(path) as archive:
        return dict(archive)


def rebuilt(golden, path):
    """The full-size weights and inputs by the recipe of the golden README."""
    full = arrays(golden / "full_loss.npz")
    shapes = dict(_full_shapes())
    keys = [
        k
        for k in full["state_keys"].tolist()
        if "var_sched" not in k and "num_batches_tracked" not in k
    ]
    state = {}
    for i, key in enumerate(sorted(keys)):
        n = np.random.RandomState(int(full["recipe_base"]) + i).standard_normal(shapes[key])
        state[key] = _scaled(key, n).astype(np.float32)
    sums = dict(zip(full["state_keys"].tolist(), full["state_sum"], strict=True))
    for key, value in state.items():
        assert abs(value.astype(np.float64).sum() - sums[key]) < 1e-2, key
    betas = np.concatenate([[0], np.linspace(1e-4, 0.02, 100)]).astype(np.float32)
    for key in full["state_keys"].tolist():
        if key.endswith("num_batches_tracked"):
            state[key] = np.array(0)
    np.savez(path, **state, **{"diffusion.var_sched.betas": betas})
    return full


def _scaled(key, n):
    norm = ".bn" in key or "_bn" in key
    if key.endswith("running_var"):
        return np.exp(0.1 * n)
    if norm:
        return 1 + 0.1 * n if key.endswith("weight") else 0.1 * n
    return n / np.sqrt(np.prod(n.shape[1:])) if key.endswith("weight") else 0.05 * n


def _full_shapes():
    """Names and shapes of the reference's tensors at its default sizes."""
    for i, (a, b) in enumerate([(3, 128), (128, 128), (128, 256), (256, 512)], 1):
        yield from {f"encoder.conv{i}.weight": (b, a, 1), f"encoder.conv{i}.bias": (b,)}.items()
        yield from _norm(f"encoder.bn{i}", b)
    for head in "mv":
        for i, (a, b) in enumerate([(512, 256), (256, 128), (128, 256)], 1):
            yield from _linear(f"encoder.fc{i}_{head}", a, b)
        yield from _norm(f"encoder.fc_bn1_{head}", 256)
        yield from _norm(f"encoder.fc_bn2_{head}", 128)
    for i in range(14):
        for place, a in ((0, 128), (2, 256), (4, 256)):
            yield from _linear(f"flow.chain.{i}.net_s_t.{place}", a, 256)
    for i, (a, b) in enumerate(
        [(3, 128), (128, 256), (256, 512), (512, 256), (256, 128), (128, 3)]
    ):
        name = f"diffusion.net.layers.{i}"
        yield from _linear(f"{name}._layer", a, b)
        yield f"{name}._hyper_bias.weight", (b, 259)
        yield from _linear(f"{name}._hyper_gate", 259, b)


def _linear(name, a, b):
    yield from {f"{name}.weight": (b, a), f"{name}.bias": (b,)}.items()


def _norm(name, n):
    yield from {
        f"{name}.{k}": (n,) for k in ("weight", "bias", "running_mean", "running_var")
    }.items()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flow", "gaussian"])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_full_size_loss(golden, tmp_path, load_reference, kind, mode):
    full = rebuilt(golden, tmp_path / "full.npz")
    model = load_reference(tmp_path / "full.npz", kind, 2048).train(mode == "train")
    x = np.random.RandomState(20000).standard_normal((2, 2048, 3)) * [1, 0.5, 0.25]
    draws = GivenDraws(
        {
            "z": tensor(np.random.RandomState(20001).standard_normal((2, 256)).astype(np.float32)),
            "eps": tensor(
                np.random.RandomState(20002).standard_normal((2, 2048, 3)).astype(np.float32)
            ),
            "t": tensor(full["t"]) - 1,
        }
    )
    x = tensor(x.astype(np.float32))
    assert abs(x.double().sum().item() - full["x_checksum"]) < 1e-2
    terms = model(Batch(x), draws=draws)
    name = f"{kind}_{mode}"
    slack = 5e-5 if mode == "train" else 1e-5
    for got, want in (
        (terms.total, "total"),
        (terms.terms["negative_entropy"], "loss_entropy"),
        (terms.terms["cross_entropy"], "loss_prior"),
        (terms.terms["reconstruction_mse"], "loss_recons"),
    ):
        want = float(full[f"{name}/{want}"])
        assert got.mean().item() == pytest.approx(want, rel=1e-5, abs=slack), (name, want)
    if name == "flow_eval":
        wide = model.double()
        terms = wide(Batch(x.double()), draws=_again(full))
        assert terms.total.mean().item() == pytest.approx(
            float(full["flow_eval_f64/total"]), rel=1e-7
        )  # its tables are float32


def _again(full):
    given = {
        "z": np.random.RandomState(20001).standard_normal((2, 256)).astype(np.float32),
        "eps": np.random.RandomState(20002).standard_normal((2, 2048, 3)).astype(np.float32),
    }
    return GivenDraws({k: tensor(v) for k, v in given.items()} | {"t": tensor(full["t"]) - 1})


def ten_steps(model, trace, x, *, dtype):
    """Train with the draws of the trace; returns losses, gradient norms and learning rates."""
    model = model.to(dtype).train()
    optimizer = adam(lr=2e-3)(model.parameters())
    schedule = linear_decay(
        start=int(trace["sched_start"]), end=int(trace["sched_end"]), end_lr=float(trace["end_lr"])
    )
    losses, norms, rates = [], [], []
    for step in range(10):
        rate = schedule(step, 2e-3)
        optimizer.param_groups[0]["lr"] = rate
        given = {
            "t": tensor(trace["t"][step]) - 1,
            "z": tensor(trace["eps_z"][step]),
            "eps": tensor(trace["e_rand"][step]),
        }
        loss = model(Batch(x.to(dtype)), draws=GivenDraws(given)).total.mean()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), float(trace["max_grad_norm"]))
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item()), norms.append(norm.item()), rates.append(rate)
    return losses, norms, rates


def test_training_trace(golden, io, load_reference):
    trace = arrays(golden / "train_trace.npz")
    model = load_reference(golden / "small_state.npz", "flow", 64)
    losses, norms, rates = ten_steps(model, trace, tensor(io["x"]), dtype=torch.float32)
    np.testing.assert_allclose(rates, trace["lr"], rtol=1e-12)
    assert losses[0] == pytest.approx(trace["loss"][0], rel=1e-5)
    assert norms[0] == pytest.approx(trace["grad_norm"][0], rel=1e-5)
    np.testing.assert_allclose(losses[1:3], trace["loss"][1:3], rtol=3e-4)


def restated_steps(golden, trace, x):
    """The same ten steps in float64, with Adam and the clipping written out."""
    archive = arrays(golden / "small_state.npz")
    state = {k: tensor(archive[k]) for k in archive if "var_sched" not in k}
    model = FlowVae(8, 4, 16, tensor(archive["diffusion.var_sched.betas"]).double())
    model.load_state_dict(state)
    model = model.double().train()
    parameters = [p for p in model.parameters()]
    mean = [torch.zeros_like(p) for p in parameters]
    square = [torch.zeros_like(p) for p in parameters]
    losses, norms = [], []
    for step in range(10):
        t, eps_z, eps = (tensor(trace[k][step]) for k in ("t", "eps_z", "e_rand"))
        loss = model.loss(x.double(), 1e-3, t, eps_z.double(), eps.double())
        gradients = torch.autograd.grad(loss, parameters)
        norm = sum(g.square().sum() for g in gradients).sqrt()
        shrink = min(1.0, 0.5 / (norm.item() + 1e-6))
        for p, g, m, v in zip(parameters, gradients, mean, square, strict=True):
            m.mul_(0.9).add_(g * shrink, alpha=0.1)
            v.mul_(0.999).add_((g * shrink) ** 2, alpha=0.001)
            m_hat, v_hat = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.999 ** (step + 1))
            p.data.sub_(trace["lr"][step] * m_hat / (v_hat.sqrt() + 1e-8))
        losses.append(loss.item()), norms.append(norm.item())
    return losses, norms


def test_ten_steps_equal_a_plain_restatement_in_float64(golden, io, load_reference):
    trace = arrays(golden / "train_trace.npz")
    x = tensor(io["x"])
    want, want_norms = restated_steps(golden, trace, x)
    model = load_reference(golden / "small_state.npz", "flow", 64)
    got, norms, _ = ten_steps(model, trace, x, dtype=torch.float64)
    # The tables of the schedule are cast to float32 at use; batch norm at B = 4 amplifies that.
    np.testing.assert_allclose(got, want, rtol=1e-5)
    np.testing.assert_allclose(norms, want_norms, rtol=1e-3)
    np.testing.assert_allclose(want[:3], trace["loss"][:3], rtol=3e-4)
