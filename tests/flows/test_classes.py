"""Labels condition a flow: one-hot, before the vector if there is one."""

from functools import partial

import numpy as np
import pytest
import torch
import yaml
from torch.nn.functional import one_hot

from corekit.build import build_dataset
from corekit.checkpoint import load_model
from corekit.cli.main import main
from corekit.data.loading import fixed_batches
from corekit.data_spec import DataSpec
from corekit.errors import SpecError, UsageError
from corekit.flows.compose import Chain
from corekit.flows.coupling import Coupling
from corekit.flows.linear import Linear
from corekit.flows.model import FlowModel
from corekit.flows.prior import FlowPrior
from corekit.interfaces.draws import RowDraws
from corekit.interfaces.records import Condition
from corekit.nn.mlp import Mlp
from corekit.spec import run_spec
from corekit.spec.check import check_spec
from corekit.train.conditions import of_examples, of_labels
from corekit.train.sampling import generate

NET = partial(Mlp, hidden=(8,), zero_last=False)
FLOW = partial(Chain, of=[Linear, partial(Coupling, net=NET)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_context_is_the_one_hot_label_and_then_the_vector(dtype):
    shapes = {"labels": (), "vector": (2,)}
    prior = FlowPrior((4,), shapes, bijector=FLOW, classes=3).to(dtype)
    assert prior.condition_shapes == {"labels": (), "vector": (2,)}
    labels, vector = torch.tensor([2, 0, -1]), torch.randn(3, 2, dtype=dtype)
    x = torch.randn(3, 4, dtype=dtype)
    hot = one_hot(labels.clamp(min=0), 3).to(dtype)
    hot[2] = 0
    context = torch.cat((hot, vector), dim=1)
    z, logdet = prior.bijector(x, context)
    want = prior.base.log_prob(z).value + logdet
    got = prior.log_prob(x, Condition(vector=vector, labels=labels)).value
    torch.testing.assert_close(got, want)


def test_samples_and_losses_see_the_label():
    prior = FlowPrior((4,), {"labels": ()}, bijector=FLOW, classes=3)
    assert prior.condition_shapes == {"labels": ()}

    def sampled(label):
        condition = Condition(labels=torch.full((5,), label))
        return prior.sample(5, condition, generator=torch.Generator().manual_seed(0))

    assert not torch.equal(sampled(0), sampled(1))
    assert torch.equal(sampled(1), sampled(1))
    x = torch.randn(5, 4)
    prior.initialize(x, Condition(labels=torch.zeros(5, dtype=torch.int64)))


def test_a_flow_that_takes_no_context_leaves_labels_aside():
    prior = FlowPrior((4,), {"labels": ()}, bijector=Linear, classes=3)
    assert prior.condition_shapes == {}
    assert prior.sample(2).shape == (2, 4)


def test_wrong_labels_and_data_without_any_are_refused():
    with pytest.raises(UsageError, match="of data with labels, got 3 and the conditions none"):
        FlowPrior((4,), bijector=FLOW, classes=3)
    prior = FlowPrior((4,), {"labels": ()}, bijector=FLOW, classes=3)
    for wrong in (3, -2):
        with pytest.raises(UsageError, match="labels must lie in 0 to 2, or be -1 for none"):
            prior.log_prob(torch.zeros(1, 4), Condition(labels=torch.tensor([wrong])))
    with pytest.raises(UsageError, match="needs the condition 'labels'"):
        prior.log_prob(torch.zeros(1, 4), Condition(vector=torch.zeros(1, 3)))


TREE = {
    "version": 1,
    "model": {
        "type": "flow",
        "classes": 6,
        "dequantize": "realnvp.uniform_dequantize",
        "bijector": {"type": "glow.glow", "levels": 1, "steps": 1, "hidden": 4},
    },
    "data": {"type": "shapes2d", "side": 8, "size": 64, "held_out": 16, "labels": True},
    "train": {"steps": 2, "batch_size": 8, "device": "cpu"},
}


def test_a_spec_names_the_classes_and_a_command_trains(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "glow.yaml").write_text(yaml.safe_dump(TREE))
    assert main(["train", "glow.yaml", "--quiet"]) == 0
    assert main(["evaluate", "runs/glow"]) == 0
    assert "nats" in capsys.readouterr().out


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained flow of classes, which drew samples on the way."""
    folder = tmp_path_factory.mktemp("classes")
    tree = {**TREE, "train": {**TREE["train"], "sample_every": 2, "samples": 70}}
    (folder / "glow.yaml").write_text(yaml.safe_dump(tree))
    assert main(["train", str(folder / "glow.yaml"), "--run", str(folder / "run"), "--quiet"]) == 0
    return folder / "run"


def test_samples_take_the_conditions_of_examples_again_from_the_first(run):
    model, spec, _ = load_model(run)
    dataset = build_dataset(spec)
    labels = next(fixed_batches(dataset.split("val"), 0, 16)).condition.labels
    found = of_examples(model, dataset, 0)(range(14, 20)).labels
    assert found.tolist() == [*labels[14:].tolist(), *labels[:4].tolist()]
    (drawn,) = (run / "samples").glob("*.npy")
    wanted = generate(model, 70, 0, conditions=of_examples(model, dataset, 0))
    torch.testing.assert_close(torch.from_numpy(np.load(drawn)), wanted)


def test_classes_are_asked_for_in_turn(run, capsys):
    several = ["sample", str(run), "--num", "4", "--labels", "2,5", "--out", str(run / "several")]
    assert main(several) == 0
    model, _, _ = load_model(run)
    both = Condition(labels=torch.tensor([2, 5, 2, 5]))
    wanted = model.sample(4, both, generator=RowDraws(0, range(4)))
    torch.testing.assert_close(torch.from_numpy(np.load(run / "several.npy")), wanted)
    assert main(["sample", str(run), "--labels", "2;5"]) == 2
    assert "whole numbers" in capsys.readouterr().err


def test_labels_of_data_without_any_are_refused():
    model = FlowModel(DataSpec((2,)), bijector=Linear)
    with pytest.raises(UsageError, match="must have labels, got the conditions none"):
        of_labels(model, [1], None)
    assert of_examples(model, None, 0) is None


def test_a_spec_of_classes_without_labels_is_refused():
    data = {**TREE["data"], "labels": False}
    with pytest.raises(SpecError, match="flow: classes must be of data with labels"):
        check_spec(run_spec({**TREE, "data": data}))
