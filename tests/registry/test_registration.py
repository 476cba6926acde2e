"""Components offered from Python: found, replaced, taken back, and honest in a checkpoint."""

import json
from typing import Literal

import pytest
import torch

import corekit
from corekit.checkpoint import load
from corekit.checkpoint.save import save
from corekit.data_spec import DataSpec
from corekit.errors import PluginError, UsageError
from corekit.interfaces.bijector import Bijector
from corekit.registry import Component, Registry, registry, use_registry
from corekit.spec import Spec, run_spec

PART = Component("bijector", "mine.part", spec="m:S", target="m:T", summary="old")


class ShiftSpec(Spec):
    """A shift."""

    type: Literal["mine.shift"] = "mine.shift"
    by: float = 1.0

    def shape(self, event_shape, context_shape=None):
        return event_shape


class Shift(Bijector):
    def __init__(self, event_shape, context_shape=None, *, by=1.0):
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.by = torch.nn.Parameter(torch.full(self.event_shape, by))

    def _forward(self, x, context):
        return x + self.by, x.new_zeros(len(x))

    def _inverse(self, z, context):
        return z - self.by, z.new_zeros(len(z))


SHIFT = {"spec": ShiftSpec, "target": Shift, "summary": "a shift"}
SPEC = {
    "version": 1,
    "model": {"type": "flow", "bijector": {"type": "mine.shift", "by": 3}},
    "data": "toy2d",
}


@pytest.fixture(autouse=True)
def own():
    """A registry that nobody else sees."""
    with use_registry(Registry()) as found:
        yield found


def test_classes_are_offered_as_they_are(own):
    with corekit.register("bijector", "mine.shift", **SHIFT):
        model = corekit.build(SPEC)
        assert isinstance(model.density.bijector, Shift)
        assert model.density.bijector.by.tolist() == [3, 3]
        assert own.component("bijector", "mine.shift").summary == "a shift"
    assert "mine.shift" not in own.names()
    with pytest.raises(corekit.errors.SpecError, match=r"No bijector named 'mine\.shift'"):
        corekit.build(SPEC)


def test_a_block_that_fails_takes_its_components_back(own):
    seen = []

    def fail():
        with corekit.register(PART):
            seen.append(own.component("bijector", "mine.part"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen == [PART]
    assert "mine.part" not in own.names()


def test_without_a_block_it_stays_and_is_replaced_when_the_cell_is_run_again(own):
    corekit.register("bijector", "mine.shift", **SHIFT)

    class Better(Shift):
        """The next version of the cell."""

    corekit.register("bijector", "mine.shift", spec=ShiftSpec, target=Better)
    assert type(corekit.build(SPEC).density.bijector) is Better
    assert not own.problems


def test_the_end_of_a_block_brings_back_what_was_replaced(own):
    corekit.register(PART)
    newer = Component("bijector", "mine.part", spec="m:S", target="m:T", summary="new")
    with corekit.register(newer), corekit.register("bijector", "mine.part", **SHIFT):
        assert own.load_target(own.component("bijector", "mine.part")) is Shift
    assert own.component("bijector", "mine.part").summary == "old"


def test_what_is_offered_inside_a_block_and_not_by_it_stays(own):
    other = Component("bijector", "mine.other", spec="m:S", target="m:T", summary="")
    with corekit.register(PART):
        corekit.register(other)
    assert [c.name for c in own.components("bijector") if "." in c.name] == ["mine.other"]


def test_classes_inside_a_function_and_functions_without_a_name_will_do(own):
    class LocalSpec(ShiftSpec):
        """Not to be found by any import."""

    registration = corekit.register(
        "bijector", "mine.shift", spec=LocalSpec, target=lambda *given, **more: Shift(*given)
    )
    (component,) = registration.components
    assert component.spec == (
        f"{__name__}:test_classes_inside_a_function_and_functions_without_a_name_will_do"
        ".locals.LocalSpec"
    )
    assert own.load_spec(component) is LocalSpec
    spec = run_spec(SPEC)
    assert type(spec.model.bijector) is LocalSpec


def test_strings_are_imported_as_ever(own):
    with corekit.register("bijector", "chain2", spec="corekit.spec.flows:ChainSpec", target=Shift):
        component = own.component("bijector", "chain2")
        assert own.load_spec(component).__name__ == "ChainSpec"
        assert own.load_target(component) is Shift


def test_how_it_is_tested_may_be_said(own):
    how = object()
    with corekit.register("bijector", "mine.shift", **SHIFT, conformance=how):
        assert own.load_conformance(own.component("bijector", "mine.shift")) is how
    with corekit.register("bijector", "mine.shift", **SHIFT):
        assert own.load_conformance(own.component("bijector", "mine.shift")) is None


def test_a_name_of_a_package_is_refused_and_nothing_is_changed(own):
    own.register(PART, distribution="corekit-mine", version="0.3")
    new = Component("bijector", "mine.new", spec="m:S", target="m:T", summary="")
    words = r"must be free, got bijector 'mine\.part' of corekit-mine 0\.3\. Choose another"
    with pytest.raises(PluginError, match=words):
        corekit.register(new, PART)
    with pytest.raises(PluginError, match=r"bijector 'chain' of corekit .*'mine\.chain'"):
        corekit.register("bijector", "chain", **SHIFT)
    assert "mine.new" not in own.names()
    assert not own.problems


@pytest.mark.parametrize(
    ("what", "options"),
    [
        ((), {}),
        (("bijector",), SHIFT),
        (("bijector", "mine.shift"), {"spec": ShiftSpec}),
        (("bijector", PART), SHIFT),
        ((PART,), {"spec": ShiftSpec}),
        ((Shift,), {}),
    ],
)
def test_a_call_of_neither_form_is_explained(what, options):
    with pytest.raises(UsageError, match=r"must be register\(Component\(\.\.\.\), \.\.\.\) or reg"):
        corekit.register(*what, **options)


def test_the_process_keeps_what_is_offered_to_its_own_registry(python):
    probe = (
        "import corekit, sys\n"
        "assert not any(name.startswith('corekit.') and name != 'corekit.errors'"
        " for name in sys.modules), sorted(sys.modules)\n"
        "from corekit.spec.flows import LinearSpec\n"
        "class MineSpec(LinearSpec):\n    type: str = 'mine.linear'\n"
        "corekit.register('bijector', 'mine.linear', spec=MineSpec, target='torch:nn')\n"
        "from corekit.spec import run_spec\n"
        "model = {'type': 'flow', 'bijector': 'mine.linear'}\n"
        "print(run_spec({'version': 1, 'model': model, 'data': 'toy2d'}).model.bijector)\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = python("-c", probe)
    assert done.stdout == "type='mine.linear' bias=True\n", done.stderr


# -- checkpoints ---------------------------------------------------------------------------------


def test_a_checkpoint_says_local_and_loads_where_the_code_has_run(own, tmp_path):
    spec = run_spec(SPEC | {"model": {"type": "flow", "bijector": "linear"}})
    with corekit.register("bijector", "mine.shift", **SHIFT):
        spec = run_spec(SPEC)
        model = corekit.build(spec, data=DataSpec((2,)))
        folder = save(tmp_path / "checkpoints" / "step-0000001", spec, model, step=1)
        assert load(folder).density.bijector.by.tolist() == [3, 3]
    facts = json.loads((folder / "provenance.json").read_text())
    (mine,) = [c for c in facts["components"] if c["name"] == "mine.shift"]
    assert (mine["distribution"], mine["version"]) == ("local", "0")
    with pytest.raises(PluginError, match=r"run the code that calls corekit\.register") as e:
        load(folder)
    assert "pip install" not in str(e.value)


def test_it_is_the_registry_in_use_that_is_added_to(own):
    with use_registry(Registry()) as inner, corekit.register(PART):
        assert "mine.part" in inner.names()
        assert registry() is inner
        assert "mine.part" not in own.names()
