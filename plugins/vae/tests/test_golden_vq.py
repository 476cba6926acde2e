"""The VQ-VAE against numbers of PyTorch-VAE, and moving averages against those of pythae."""

import numpy as np
import pytest
import torch
from corekit_vae.quantizers.vector import VectorQuantizer

from corekit.build import build
from corekit.data_spec import DataSpec
from corekit.interfaces.records import Batch, Condition

REFERENCE = {
    "type": "vae.quantized",
    "encoder": {"type": "vae.vq", "latent_channels": 8, "widths": [8, 16]}
    | {"posterior": {"type": "vae.point", "activated": True}},
    "quantizer": {"type": "vae.vector", "codes": 16, "learn": "loss"},
    "decoder": {
        "type": "vae.vq",
        "widths": [8, 16],
        "likelihood": {"type": "vae.squared_error", "output": "tanh"},
    },
}


def numbers(path):
    found = np.load(path)
    return {name: torch.from_numpy(np.asarray(found[name])) for name in found.files}


@pytest.fixture(scope="module")
def golden(golden_root):
    return numbers(golden_root / "vae" / "vq_vae.npz")


@pytest.fixture(scope="module")
def peer(golden_root):
    return numbers(golden_root / "vae" / "losses_pythae.npz")


@pytest.fixture
def model(golden):
    spec = {"version": 1, "model": REFERENCE, "data": "shapes2d"}
    model = build(spec, data=DataSpec((3, 64, 64))).double()
    state = {name: value for name, value in golden.items() if name.startswith("sd/")}
    parts = {"encoder": model.encoder, "decoder": model.decoder, "vq_layer": model.quantizer}
    for part, module in parts.items():
        values = [value for name, value in state.items() if name.startswith(f"sd/{part}.")]
        with torch.no_grad():
            for parameter, value in zip(module.parameters(), values, strict=True):
                parameter.copy_(value)
    return model


def close(got, want, tolerance=1e-10):  # images are stored in float32
    torch.testing.assert_close(got, want.to(got), rtol=tolerance, atol=tolerance)


def quantizer(golden, **options):
    part = VectorQuantizer((8, 6, 5), codes=16, **options).double()
    with torch.no_grad():
        part.codebook.copy_(golden["q/codebook"])
    return part


def test_the_quantizer_and_both_its_gradients(golden):
    part = quantizer(golden, learn="loss")
    z = golden["q/latents"].double().requires_grad_()
    found = part(z)
    assert torch.equal(found.codes, golden["q/indices"].long())
    close(found.z, golden["q/quantized"])
    close(found.loss.mean(), golden["q/vq_loss"])
    close(found.terms["commitment"].mean(), golden["q/commitment"])
    close(found.terms["codebook"].mean(), golden["q/embedding"])
    close(found.statistics["perplexity"].double(), golden["q/perplexity"], 1e-6)
    total = found.loss.mean() + (found.z * golden["q/gout"]).sum()
    of_z, of_codes = torch.autograd.grad(total, (z, part.codebook))
    close(of_z, golden["q/grad_latents"])
    close(of_codes, golden["q/grad_codebook"])


def test_the_whole_model(golden, model):
    x = golden["x"].double()
    found = model._quantized(x, None)
    assert golden["full/min_margin"] > 1e-4
    close(model.encoder(x).mode, golden["full/encoding"], 1e-7)
    assert torch.equal(found.codes, golden["full/indices"].long())
    close(found.z, golden["full/quantized"], 1e-7)
    close(model.decoder.mean(Condition(vector=found.z)), golden["full/recon"], 1e-7)
    terms = model(Batch(x))
    close(terms.total.mean(), golden["full/loss/loss"])
    close(terms.terms["reconstruction_mse"].mean(), golden["full/loss/Reconstruction_Loss"])
    close(found.loss.mean(), golden["full/loss/VQ_Loss"])
    terms.total.mean().backward()
    for part, module in (("encoder", model.encoder), ("decoder", model.decoder)):
        wanted = [v for n, v in golden.items() if n.startswith(f"full/gradnorm/{part}.")]
        for parameter, want in zip(module.parameters(), wanted, strict=True):
            close(parameter.grad.norm(), want)
    close(model.quantizer.codebook.grad.norm(), golden["full/gradnorm/vq_layer.embedding.weight"])


def test_codes_alone_are_decoded(golden, model):
    made = model.decode(golden["full/given_indices"].long())
    close(made, golden["full/decoded_given"], 1e-7)
    model = model.float()
    close(model.decode(golden["full/given_indices"].long()), golden["full/decoded_given"], 1e-5)


def test_codes_move_as_moving_averages_do(peer):
    """pythae smooths its counts so that they add up to what they did; ours are plain averages."""
    decay, counts = peer["vqema/decay"].item(), peer["vqema/cluster_size0"].double()
    part = VectorQuantizer((8, 6, 5), codes=16, decay=decay).double()
    with torch.no_grad():
        part.codebook.copy_(peer["vq/codebook"])
        part.total.copy_(peer["vq/codebook"])
        part.taken.copy_(counts)
    z = peer["vq/latents_bhwd"].double().movedim(-1, 1)
    found = part.train()(z)
    assert torch.equal(found.codes, peer["vq/indices"][:, 0].long())
    part.observe(*found.seen)
    rows, codes = z.flatten(2).transpose(1, 2).reshape(-1, 8), found.codes.flatten()
    for k in range(16):
        size = decay * counts[k] + (1 - decay) * (codes == k).sum()
        total = decay * peer["vq/codebook"][k] + (1 - decay) * rows[codes == k].sum(0)
        close(part.taken[k], size, 1e-6)
        close(part.total[k], total, 1e-6)
        close(part.codebook[k], total / size, 1e-6)
    close(part.total, peer["vqema/ema_embed1"], 1e-6)
