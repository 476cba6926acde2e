"""A flow as a whole model: its condition is used both ways, and it can say how it samples."""

from functools import partial

import pytest
import torch

from corekit.data_spec import DataSpec
from corekit.errors import ShapeError, UsageError
from corekit.flows.affine import Affine
from corekit.flows.compose import Chain
from corekit.flows.coupling import Coupling
from corekit.flows.model import FlowModel
from corekit.flows.permute import Permute
from corekit.interfaces.records import Batch, Condition
from corekit.spec import run_spec


@pytest.fixture
def model():
    """A flow of three numbers given two others, with random weights."""
    torch.manual_seed(0)
    layers = [partial(Coupling, univariate=Affine()), Permute]
    data = DataSpec((3,), condition_shapes={"vector": (2,)})
    flow = FlowModel(data, bijector=partial(Chain, of=layers * 2)).double()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return flow.eval()


def given(rows):
    return Condition(vector=torch.randn(rows, 2, dtype=torch.float64))


def test_encode_and_decode_use_the_condition(model):
    x, one, two = torch.randn(4, 3).double(), given(4), given(4)
    z = model.encode(x, one)
    torch.testing.assert_close(model.decode(z, one), x)
    assert not torch.allclose(model.encode(x, two), z)
    assert not torch.allclose(model.decode(z, two), x)
    torch.testing.assert_close(model.reconstruct(x, one), x)


def test_encode_is_what_the_loss_computes(model):
    """With the base of z and the log-determinant it makes log p(x | condition)."""
    x, condition = torch.randn(4, 3).double(), given(4)
    z = model.encode(x, condition)
    _, logdet = model.density.bijector(x, condition.vector)
    found = model.log_prob(x, condition).value
    torch.testing.assert_close(found, model.density.base.log_prob(z).value + logdet)
    torch.testing.assert_close(model(Batch(x, condition)).total, -found)


def test_a_line_has_one_condition(model):
    x, y, condition = torch.randn(4, 3).double(), torch.randn(4, 3).double(), given(4)
    made = model.interpolate(x, y, 5, condition)
    assert made.shape == (4, 5, 3)
    torch.testing.assert_close(made[:, 0], x)
    torch.testing.assert_close(made[:, -1], y)
    middle = (model.encode(x, condition) + model.encode(y, condition)) / 2
    torch.testing.assert_close(made[:, 2], model.decode(middle, condition))


def test_a_missing_condition_is_told(model):
    x = torch.randn(4, 3).double()
    for use in (model.encode, model.decode, model.reconstruct):
        with pytest.raises(ShapeError, match="needs a context, got None"):
            use(x)
    with pytest.raises(ShapeError, match="context must have 4 rows"):
        model.decode(x, given(3))


def test_a_flow_without_a_context_ignores_a_condition():
    """As its log_prob does: labels may come with the data."""
    flow = FlowModel(DataSpec((3,)), bijector=Permute)
    x, labels = torch.randn(4, 3), Condition(labels=torch.zeros(4, dtype=torch.int64))
    assert torch.equal(flow.decode(flow.encode(x, labels), labels), x)


def test_components_are_refused_when_it_is_built():
    with pytest.raises(UsageError, match="must end in an autoregressive layer of mixtures"):
        FlowModel(DataSpec((3,)), bijector=Permute, sample_by="components")


def test_how_it_samples_is_a_field_of_the_spec():
    model = {"type": "flow", "bijector": "linear", "sample_by": "components"}
    spec = run_spec({"version": 1, "model": model, "data": "toy2d"})
    assert spec.model.sample_by == "components"
