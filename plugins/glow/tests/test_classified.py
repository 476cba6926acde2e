"""The class head: what it is told, what it costs, and what the ports make of it."""

import math
from functools import partial

import pytest
import torch
import yaml
from corekit_glow.chaiyujin import ChaiyujinImporter, Y0astImporter
from corekit_glow.classified import ClassifiedFlow
from corekit_glow.flow import Glow
from corekit_glow.head import ClassHead
from corekit_glow.ports import INPUTS, bijector_state
from corekit_glow.top import TopPrior, top_of
from torch.nn.functional import cross_entropy

from corekit.build import build
from corekit.cli.main import main
from corekit.data_spec import DataSpec
from corekit.errors import SpecError, UsageError
from corekit.flows.compose import Chain
from corekit.flows.linear import Linear
from corekit.flows.permute import Permute
from corekit.interfaces.draws import Draws
from corekit.interfaces.records import Batch, Condition
from corekit.interfaces.stochastic import Stochastic
from corekit.spec import run_spec
from corekit.spec.check import check_spec

SHAPE, CLASSES = (3, 4, 4), 3
NUMBERS = math.prod(SHAPE)
GLOW = partial(Glow, levels=2, steps=1, hidden=4)
LABELLED = DataSpec(SHAPE, condition_shapes={"labels": ()})
SEVERAL = DataSpec(SHAPE, condition_shapes={"vector": (CLASSES,)})


def model(data=LABELLED, classes=CLASSES, **options):
    found = ClassifiedFlow(data, **{"bijector": GLOW, "classes": classes, **options}).double()
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return found


def rows(n=5):
    return torch.randn(n, *SHAPE, dtype=torch.float64)


def labelled(x, label):
    return Batch(x, Condition(labels=torch.full((len(x),), label)))


class Bins(Stochastic):
    """Levels 0 to 3 as numbers in [0, 1), with uniform noise; it may ask for the context."""

    dequantizes = True

    def __init__(self, data, context_shape=None, *, sees=False):
        super().__init__()
        self.event_shape = tuple(data.event_shape)
        self.context_shape = context_shape if sees else None

    def _forward(self, x, context, draws):
        z = (x + draws.uniform("dequantize", tuple(x.shape), x)) / 4
        return z, torch.full_like(z[:, 0, 0, 0], -x[0].numel() * math.log(4))

    def _inverse(self, z, context, draws):
        return (4 * z).floor().clamp(0, 3)


# the ports


def under(arrays, prefix):
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def ported(arrays, port, weight, dtype=torch.float64):
    """Our model of what a port saw, with the port's weights."""
    found = port.found(under(arrays, "sd/"), "golden")
    shape, classes = tuple(arrays["x_uint8"].shape[1:]), len(found.head["bias"])
    flow = partial(Glow, levels=2, steps=2, floor=0.0, max_log_std=None, **found.options)
    data = DataSpec(shape, condition_shapes={"labels": ()})
    ours = ClassifiedFlow(data, bijector=flow, classes=classes, weight=weight)
    state = {f"density.bijector.{k}": v for k, v in bijector_state(found).items()}
    ours.load_state_dict(state | {f"head.{k}": v for k, v in found.head.items()})
    return ours.to(dtype).eval()


@pytest.mark.parametrize("theirs", [0.5, 0.01])
def test_logits_and_loss_are_those_of_chaiyujin(golden, theirs):
    arrays = golden("c06_plain_affine_ycond_16x16x1")
    x, y = arrays["ref/flow_input"].double(), arrays["y"]
    channels = x.shape[1]
    ours = ported(arrays, ChaiyujinImporter(), weight=theirs * math.log(2) / channels)
    logits = arrays["ref/y_logits"].double()
    torch.testing.assert_close(ours.predict(x), logits.softmax(1), rtol=0, atol=1e-6)
    terms = ours(Batch(x, Condition(labels=y)))
    loss = arrays["ref/loss_class"].item()
    assert terms.terms["class_nll"].mean().item() == pytest.approx(loss, abs=1e-6)
    # the port: (bits of all channels of a position) + weight * (cross-entropy in nats)
    positions = math.prod(x.shape[2:])
    found = 8 + terms.total / (positions * math.log(2))
    want = arrays["ref/nll_ref"].double() + theirs * cross_entropy(logits, y, reduction="none")
    torch.testing.assert_close(found, want, rtol=0, atol=1e-5)


def test_logits_and_loss_are_those_of_y0ast(golden):
    arrays = golden("y01_y0ast_lu_affine_8x8x3")
    x, y, theirs = arrays["x_uint8"] / 256 - 0.5 + arrays["u"] / 256, arrays["y"], 0.01
    ours = ported(arrays, Y0astImporter(), weight=theirs * math.log(2))
    logits = arrays["y_logits"].double()
    torch.testing.assert_close(ours.predict(x.double()), logits.softmax(1), rtol=0, atol=1e-6)
    total = ours(Batch(x.double(), Condition(labels=y))).total
    want = arrays["bpd"].double() + theirs * cross_entropy(logits, y, reduction="none")
    found = 8 + total / (x[0].numel() * math.log(2))
    torch.testing.assert_close(found, want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("labels", ["class", "several"])
@pytest.mark.parametrize(
    ("port", "name"),
    [
        (ChaiyujinImporter, "c06_plain_affine_ycond_16x16x1"),
        (Y0astImporter, "y01_y0ast_lu_affine_8x8x3"),
    ],
)
def test_a_checkpoint_with_a_class_head_becomes_a_run(golden, tmp_path, port, name, labels):
    arrays = golden(name)
    torch.save(under(arrays, "sd/"), tmp_path / "port.pt")
    imported = port(labels=labels)(tmp_path / "port.pt")
    assert not [key for key in imported.dropped if "class" in key]
    spec, shape = imported.spec, tuple(arrays["x_uint8"].shape[1:])
    data = spec["data"]
    if labels == "class":
        got = data["type"], data["labels"], data["channels"]
        assert got == ("image_folder", "folder", shape[0])
    else:
        assert (data["type"], data["vector"]) == ("arrays", "labels")
    given = {"labels": ()} if labels == "class" else {"vector": (len(imported.state["head.bias"]),)}
    numbers = {**spec, "model": {**spec["model"], "dequantize": None}}  # of another package
    ours = build(run_spec(numbers), data=DataSpec(shape, condition_shapes=given)).eval()
    ours.load_state_dict(dict(imported.state))
    if port is ChaiyujinImporter:
        logits, (shift, scale) = arrays["ref/y_logits"], INPUTS["to_tensor"]
        x = arrays["ref/flow_input"] / scale - shift
    else:
        logits, x = arrays["y_logits"], (arrays["x_uint8"] + arrays["u"]) / 256
    want = logits.softmax(1) if labels == "class" else logits.sigmoid()
    torch.testing.assert_close(ours.predict(x), want, rtol=0, atol=1e-6)


def test_a_flow_without_labels_is_imported_as_a_flow(golden, tmp_path):
    arrays = golden("c05_lu_additive_16x16x1")
    torch.save(under(arrays, "sd/"), tmp_path / "port.pt")
    imported = ChaiyujinImporter()(tmp_path / "port.pt")
    assert imported.spec["model"]["type"] == "flow"
    assert imported.spec["data"]["channels"] == 1
    assert not [key for key in imported.state if key.startswith("head")]


# the loss


def test_the_loss_is_that_of_the_authors_in_bits_per_dimension():
    found = model(dequantize=Bins)
    x = torch.randint(0, 4, (5, *SHAPE)).double()
    terms = found(labelled(x, 1), draws=Draws(torch.Generator().manual_seed(0)))
    in_bits = terms.terms["class_nll"] / math.log(2)
    want = terms.terms["bits_per_dim"] + 0.01 * in_bits
    torch.testing.assert_close(terms.total / (NUMBERS * math.log(2)), want)
    assert terms.units["bits_per_dim"] == "bits per dimension"
    bits = found.bits_per_dim(
        x, labelled(x, 1).condition, generator=Draws(torch.Generator().manual_seed(0))
    )
    torch.testing.assert_close(bits, terms.terms["bits_per_dim"])  # without that of the labels


def test_a_weight_of_one_over_the_numbers_is_the_likelihood_of_data_and_labels():
    found, x = model(weight=1 / NUMBERS), rows()
    batch = labelled(x, 2)
    joint = found.log_prob(x, batch.condition).value + found.predict(x)[:, 2].log()
    torch.testing.assert_close(found(batch).total, -joint)


def test_standardized_data_have_the_same_kind_of_loss():
    found, x = model(weight=0.5), 3 + 2 * rows()
    found.standardize([3.0], [2.0])
    batch = labelled(x, 0)
    terms = found(batch)
    torch.testing.assert_close(terms.terms["nll"], -found.log_prob(x, batch.condition).value)
    want = terms.terms["nll"] + 0.5 * NUMBERS * terms.terms["class_nll"]
    torch.testing.assert_close(terms.total, want)
    torch.testing.assert_close(terms.terms["class_nll"], -found.predict(x)[:, 0].log())


def test_a_row_without_a_class_has_no_class_loss():
    found, x = model(), rows(3)
    terms = found(Batch(x, Condition(labels=torch.tensor([1, -1, 0]))))
    assert terms.terms["class_nll"][1] == 0
    assert terms.total[1] == terms.terms["nll"][1]
    assert bool((terms.terms["class_nll"][[0, 2]] > 0).all())


@pytest.mark.parametrize("logit", [0.0, 2.0, 20.0, 800.0])
def test_the_sigmoid_of_several_labels_is_taken_once_and_does_not_overflow(logit):
    head = ClassHead(1, 2, several=True).double()
    with torch.no_grad():
        head.bias.copy_(torch.tensor([logit, -logit]))
    logits = head(torch.zeros(1, 1, 2, 2, dtype=torch.float64))
    right, wrong = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    softplus = math.log1p(math.exp(-logit))
    assert head.loss(logits, right).item() == pytest.approx(2 * softplus, abs=1e-12)
    # with one sigmoid more neither could be: it would stay between 0.31 and 1.31 a label
    assert head.loss(logits, wrong).item() == pytest.approx(2 * (logit + softplus), rel=1e-12)
    p = 1 / (1 + math.exp(-logit))
    assert head.probabilities(logits).tolist() == [pytest.approx([p, 1 - p])]


def test_several_labels_may_be_soft_and_are_summed():
    head = ClassHead(2, 3, several=True)
    logits, y = torch.randn(4, 3), torch.rand(4, 3)
    p = logits.sigmoid()
    want = -(y * p.log() + (1 - y) * (1 - p).log()).sum(1)
    torch.testing.assert_close(head.loss(logits, y), want)


def test_a_new_head_knows_nothing():
    assert ClassHead(4, 5).probabilities(ClassHead(4, 5)(torch.randn(2, 4, 3, 3))).eq(0.2).all()
    found = ClassifiedFlow(LABELLED, bijector=GLOW, classes=CLASSES)
    terms = found(labelled(torch.randn(2, *SHAPE), 0))
    torch.testing.assert_close(terms.terms["class_nll"], torch.full((2,), math.log(CLASSES)))


# what the head is told


def test_the_head_is_not_told_the_label():
    found, x = model(), rows()
    top = top_of(found.density.bijector)
    with torch.no_grad():
        top.weight.mul_(20)  # labels move the latent that the base sees far
    told = torch.stack([found(labelled(x, k)).terms["class_nll"] for k in range(CLASSES)], dim=1)
    torch.testing.assert_close((-told).exp().sum(1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close((-told).exp(), found.predict(x))
    nll = torch.stack([found(labelled(x, k)).terms["nll"] for k in range(CLASSES)])
    assert float(nll.detach().std(0).min()) > 1


def test_the_class_loss_moves_the_flow_but_not_the_prior_of_the_labels():
    found, x = model(bijector=partial(GLOW, levels=1)), rows()
    found(labelled(x, 1)).terms["class_nll"].sum().backward()
    top = top_of(found.density.bijector)
    for name, parameter in found.density.bijector.named_parameters():
        moved = parameter.grad is not None and float(parameter.grad.abs().max()) > 1e-12
        assert moved is not any(parameter is own for own in top.parameters()), name


@pytest.mark.parametrize("data", [LABELLED, SEVERAL])
def test_predictions_look_at_no_label(data):
    found = model(data, CLASSES if data is LABELLED else None)
    x = rows()
    want = found.predict(x)
    given = Condition(labels=torch.tensor([0, 1, 2, 0, 1]), vector=torch.ones(5, CLASSES))
    assert torch.equal(found.predict(x, given), want)
    assert not want.requires_grad
    assert want.shape == (5, CLASSES)


def test_a_flow_that_is_not_conditional_has_a_head_and_needs_no_label():
    found, x = model(conditional=False), rows()
    assert found.density.condition_shapes == {}
    assert found.sample(2).shape == (2, *SHAPE)
    terms = found(labelled(x, 1))
    torch.testing.assert_close(terms.terms["nll"], -found.log_prob(x).value)
    torch.testing.assert_close(terms.terms["class_nll"], -found.predict(x)[:, 1].log())


def test_another_condition_than_the_labels_reaches_all_of_the_flow():
    data = DataSpec(SHAPE, condition_shapes={"labels": (), "vector": (2,)})
    found = model(data, conditional=False, bijector=partial(GLOW, context_to="all"))
    x, c = rows(), torch.randn(5, 2, dtype=torch.float64)
    want = found.predict(x, Condition(vector=c))
    assert not torch.allclose(found.predict(x, Condition(vector=c + 1)), want)


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (LABELLED, {"bijector": partial(GLOW, context_to="all")}, r"which sees them: the head"),
        (SEVERAL, {"bijector": partial(GLOW, context_to="all")}, r"FlowStep.*sees them"),
        (DataSpec(SHAPE), {}, "must have the condition 'labels'.* got the conditions none"),
        (LABELLED, {"weight": -1.0}, "weight be at least 0"),
        (LABELLED, {"classes": 0}, "classes at least 1, got the conditions labels, 0.01 and 0"),
        (LABELLED, {"classes": None}, "must have the condition 'vector'"),
    ],
)
def test_what_would_tell_the_head_or_tell_it_nothing_is_refused(data, options, words):
    classes = CLASSES if data is LABELLED else None
    options = {"bijector": GLOW, "classes": CLASSES if data is not SEVERAL else classes, **options}
    with pytest.raises(UsageError, match=words):
        ClassifiedFlow(data, **options)


def test_noise_in_the_bins_must_not_see_several_labels():
    sees = partial(Bins, sees=True)
    with pytest.raises(UsageError, match=r"got Bins \(Bins\), which sees them"):
        ClassifiedFlow(SEVERAL, bijector=GLOW, dequantize=sees)
    ClassifiedFlow(SEVERAL, bijector=GLOW, dequantize=sees, conditional=False)
    both = DataSpec(SHAPE, condition_shapes={"labels": (), "vector": (2,)})
    ClassifiedFlow(both, bijector=GLOW, dequantize=sees, classes=3)  # the class it does not see


def test_labels_that_are_none_are_refused():
    found, x = model(), rows(2)
    with pytest.raises(UsageError, match="needs the condition 'labels', got none"):
        found(Batch(x))
    free = model(conditional=False)
    with pytest.raises(UsageError, match=r"lie in 0 to 2, or be -1 for none, got 0 to 3\. Set"):
        free(Batch(x, Condition(labels=torch.tensor([0, 3]))))
    many = model(SEVERAL, None)
    with pytest.raises(UsageError, match=r"each be 0 or 1, got -1 to 1\. Convert -1 to 0"):
        many(Batch(x, Condition(vector=torch.tensor([[-1.0, 1, 0]] * 2, dtype=torch.float64))))


def test_the_last_layer_of_the_deepest_level_is_found():
    assert isinstance(top_of(GLOW(SHAPE)), TopPrior)
    assert top_of(GLOW(SHAPE, learn_top=False)) is None
    assert top_of(Linear((3,))) is None
    deep = top_of(Glow((3, 8, 8), levels=3, steps=1, hidden=4))
    assert deep.event_shape == (48, 1, 1)
    assert top_of(Chain((4,), of=[TopPrior, Permute])) is None


@pytest.mark.parametrize("bijector", [Linear, partial(GLOW, learn_top=False)])
def test_any_flow_may_have_a_head_on_its_deepest_latent(bijector):
    found, x = model(conditional=False, bijector=bijector), rows()
    z = found.encode(x)
    deepest = z if bijector is Linear else z.split([24, 24], dim=1)[1].reshape(5, 24, 1, 1)
    assert torch.equal(found.predict(x), found.head(deepest).softmax(1))


# a run


def spec(**model):
    return {
        "version": 1,
        "model": {
            "type": "glow.classified_flow",
            "classes": 3,
            "bijector": {"type": "glow.glow", "levels": 1, "steps": 1, "hidden": 8},
            **model,
        },
        "data": {"type": "shapes2d", "side": 8, "size": 64, "held_out": 16, "labels": True},
        "train": {"steps": 2, "batch_size": 16},
    }


def test_a_spec_says_what_is_missing():
    check_spec(run_spec(spec()))
    with pytest.raises(SpecError, match="data must have the condition 'vector', got labels"):
        check_spec(run_spec(spec(classes=None)))
    unlabelled = spec()
    unlabelled["data"]["labels"] = False
    with pytest.raises(SpecError, match="data must have the condition 'labels', got none"):
        check_spec(run_spec(unlabelled))


def test_evaluation_prints_how_many_labels_are_right(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(spec()))
    assert main(["train", "run.yaml", "--run", "a"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "runs/a"]) == 0
    printed = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "share of labels" in printed["test/accuracy"]
    assert 0 <= float(printed["test/accuracy"].split()[1]) <= 1
    assert "nats" in printed["test/class_nll"]


def test_it_learns_to_tell_shapes_that_differ_in_brightness():
    x = torch.randn(96, 1, 4, 4) + torch.arange(96).remainder(3)[:, None, None, None]
    batch = Batch(x, Condition(labels=torch.arange(96) % 3))
    data = DataSpec((1, 4, 4), condition_shapes={"labels": ()})
    flow = partial(Glow, levels=1, steps=1, hidden=4)
    found = ClassifiedFlow(data, bijector=flow, classes=3)
    found.initialize(batch)
    optimizer = torch.optim.Adamax(found.parameters(), lr=2e-2)
    for _ in range(60):
        terms = found(batch)
        optimizer.zero_grad()
        terms.total.mean().backward()
        optimizer.step()
    assert terms.terms["accuracy"].mean() > 0.9
    right = found.predict(x).argmax(1) == batch.condition.labels
    assert right.float().mean() > 0.9
