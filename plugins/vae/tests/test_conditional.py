"""Conditional models: the encoder and the decoder are told classes, vectors, or nothing."""

import pytest
import torch
from corekit_vae.likelihoods.gaussian import Gaussian

from corekit.build import build
from corekit.data_spec import DataSpec
from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.records import Batch, Condition
from corekit.latent.kl import kl_of_elements
from corekit.spec import run_spec

WIDTHS = (4, 6)
SPEC = {
    "version": 1,
    "data": {"type": "shapes32"},
    "model": {
        "type": "latent",
        "encoder": {"type": "vae.conv", "widths": WIDTHS, "latent_dim": 3, "condition_width": 4},
        "prior": "normal",
        "decoder": {"type": "vae.conv", "widths": WIDTHS},
        "conditional": ["decoder"],
    },
}


def model_of(**options):
    """A conditional model of 4 classes, or of vectors of 4 attributes."""
    told = {"labels": ()} if "classes" in options else {"vector": (4,)}
    spec = run_spec({**SPEC, "model": {**SPEC["model"], **options}})
    return build(spec, data=DataSpec((2, 9, 8), condition_shapes=told))


def draws(seed=0):
    return Draws(torch.Generator().manual_seed(seed))


def test_the_default_likelihood_is_gaussian():
    assert isinstance(model_of(classes=4).decoder.likelihood, Gaussian)


def test_a_class_is_the_vector_with_a_one_in_its_place():
    by_class, by_vector = model_of(classes=4).eval(), model_of().eval()
    by_vector.load_state_dict(by_class.state_dict())
    x, labels = torch.randn(3, 2, 9, 8), torch.tensor([2, 0, 3])
    told = Condition(labels=labels), Condition(vector=torch.eye(4)[labels])
    with torch.no_grad():
        one, other = (
            model(Batch(x, c), draws=draws()).total
            for model, c in zip((by_class, by_vector), told, strict=True)
        )
        torch.testing.assert_close(one, other)
        z = torch.randn(3, 3)
        torch.testing.assert_close(
            by_class.decode(z, told[0], generator=draws()),
            by_vector.decode(z, told[1], generator=draws()),
        )


def test_several_attributes_may_be_there_at_once():
    model = model_of().eval()
    none, both = torch.zeros(1, 4), torch.tensor([[1.0, 0, 1, 0]])
    z = torch.randn(1, 3)
    with torch.no_grad():
        pictures = [model.decode(z, Condition(vector=v), generator=draws()) for v in (none, both)]
    assert not torch.allclose(*pictures)


def test_samples_are_of_the_classes_that_are_asked_for():
    model = model_of(classes=4).eval()
    labels = torch.tensor([1, 1, 2, -1])
    found = model.sample(4, Condition(labels=labels), generator=draws())
    z = model.prior.sample(4, generator=draws())
    wanted = torch.cat((z, torch.eye(5)[labels][:, :4]), 1)
    with torch.no_grad():
        mean = model.decoder.parameters_of(wanted)
    again = draws()
    again.normal("z", (4, 3), z)
    torch.testing.assert_close(found - again.normal("x", tuple(mean.shape), mean), mean)
    with pytest.raises(UsageError, match="needs the condition 'labels'"):
        model.sample(4, generator=draws())


def test_labels_are_dropped_in_training_alone():
    """What the decoder is told, for the share of rows that lose theirs."""
    model = model_of(classes=4, drop_condition=0.5)
    condition = Condition(labels=torch.zeros(400, dtype=torch.int64))
    told = model.given_of(condition, draws())
    assert 150 < int((told.sum(1) == 0).sum()) < 250
    assert int(model.eval().given_of(condition, draws()).sum()) == 400


def test_encoder_and_decoder_lose_the_same_labels():
    model = model_of(classes=4, drop_condition=0.5)
    condition = Condition(labels=torch.randint(4, (200,)))
    kept, given = model.told(condition, draws())
    lost = kept.labels == -1
    assert 60 < int(lost.sum()) < 140
    assert torch.equal(given.sum(1) == 0, lost)
    assert torch.equal(kept.labels[~lost], condition.labels[~lost])
    seen = []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1].labels))
    x = torch.rand(200, *model.data.event_shape)
    model(Batch(x, condition), draws=draws())
    assert torch.equal(seen[0], kept.labels)
    assert torch.equal(model.eval().told(condition, draws())[0].labels, condition.labels)


def test_free_bits_of_groups_see_what_the_prior_is_told():
    spec = {
        "version": 1,
        "model": {
            "type": "latent",
            "encoder": {"type": "vae.mlp", "hidden": [4], "latent_dim": 3},
            "prior": {"type": "gaussian", "net": {"type": "mlp", "zero_last": False}},
            "decoder": {"type": "vae.mlp", "hidden": [4]},
            "conditional": ["prior"],
            "classes": 2,
            "loss": {"type": "vae.elbo", "free_bits": 0.01, "groups": None, "per_row": True},
        },
        "data": "shapes2d",
    }
    data = DataSpec((5,), condition_shapes={"labels": ()})
    model, x = build(run_spec(spec), data=data), torch.randn(6, 5)
    condition = Condition(labels=torch.tensor([0, 1, 0, 1, 0, 1]))
    found = model(Batch(x, condition), draws=draws())
    q = model.encoder(x, condition)
    given = model.for_prior(model.given_of(condition))
    each = kl_of_elements(q, model.prior, given)
    torch.testing.assert_close(found.terms["kl"], each.sum(1))
    want = found.terms["reconstruction_nll"] + each.clamp(min=0.01).sum(1)
    torch.testing.assert_close(found.total, want)
    other = model(Batch(x, Condition(labels=1 - condition.labels)), draws=draws())
    assert not torch.allclose(other.terms["kl"], found.terms["kl"])
