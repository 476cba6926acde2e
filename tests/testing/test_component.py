"""The conformance kit itself: what is built, what is reported, what pytest sees."""

from functools import partial

import pytest
import torch
from corekit_ddpm_improved import corekit_components
from teeth.bijector import Right, RowsMix, SignOfLogdet

from corekit.errors import PluginError, RegistryLookup, ShapeError, UsageError
from corekit.flows.linear import Linear
from corekit.interfaces.bijector import Bijector
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.registry import Component, Registry, use_registry
from corekit.spec.flows import LinearSpec
from corekit.testing import Conformance, check_component, parametrize_checks
from corekit.testing.check import CheckFailed, expect_close
from corekit.testing.likelihood import expect_kind
from corekit.testing.plugin import check_plugin

JACOBIAN = "logdet_equals_the_autograd_jacobian"


def by_name(results):
    return {result.check: result for result in results}


def test_a_failure_says_what_by_how_much_and_where_to_look():
    found = by_name(check_component("bijector", SignOfLogdet, only={JACOBIAN}))[JACOBIAN]
    assert found.status == "failed"
    assert found.component == "bijector SignOfLogdet"
    assert found.case == "event_shape=(5,), context_shape=(3,)"  # the last one with that name
    assert "must equal that of autograd's Jacobian within" in found.detail
    assert "forward is data to latent" in found.detail


def test_a_named_failure_is_expected_and_must_come():
    how = Conformance(expected_failures={"rows_do_not_mix": "a batch norm"})
    for part, status in ((RowsMix, "expected"), (Right, "unexpected")):
        results = check_component("bijector", part, how=how, only={"rows_do_not_mix"})
        assert {result.status for result in results} == {status}
        assert {result.ok for result in results} == {status == "expected"}


def test_a_misspelt_name_of_a_check_is_refused():
    how = Conformance(expected_failures={"rows_do_not_mixx": "a batch norm"})
    with pytest.raises(
        UsageError, match=r"got 'rows_do_not_mixx'\. Did you mean 'rows_do_not_mix'"
    ):
        check_component("bijector", Right, how=how)
    with pytest.raises(UsageError, match=r"check of a bijector, got 'nonsense'\."):
        check_component("bijector", Right, only={"nonsense"})


@pytest.mark.parametrize("how", [{"options": ({"bias": False},)}, {"files": lambda folder: {}}])
def test_options_of_a_spec_are_refused_for_what_has_none(how):
    with pytest.raises(UsageError, match="options and files are those of a spec, got some for Lin"):
        check_component("bijector", Linear, how=Conformance(**how))


def test_a_claim_of_coupled_rows_leaves_the_check_out():
    coupled = type("Coupled", (RowsMix,), {"rows_coupled": True})
    assert check_component("bijector", coupled, only={"rows_do_not_mix"}) == []


def test_a_name_a_spec_and_a_class_are_accepted():
    for component in ("linear", LinearSpec(bias=False), Linear, partial(Linear, bias=False)):
        results = check_component("bijector", component, only={JACOBIAN})
        assert [result.status for result in results][:1] == ["passed"]


def test_shapes_can_be_given():
    how = Conformance(given=[{"event_shape": (2,)}, {"event_shape": (7,)}])
    results = check_component("bijector", Linear, how=how, only={JACOBIAN})
    assert [result.case for result in results] == ["event_shape=(2,)", "event_shape=(7,)"]


def test_a_part_that_cannot_be_built_is_one_failed_check():
    def broken(event_shape, context_shape=None):
        raise RuntimeError("no such thing")

    (result,) = check_component("bijector", broken)
    assert (result.check, result.status) == ("it_can_be_built", "failed")
    assert "no such thing" in result.detail


def test_a_part_that_takes_no_usual_shape_is_told_to_name_one():
    def picky(event_shape, context_shape=None):
        raise ShapeError("picky: event_shape must be (99,), got another.")

    (result,) = check_component("bijector", picky)
    assert "Conformance(given=" in result.detail


def test_an_unknown_component_is_refused():
    with pytest.raises(RegistryLookup, match="No bijector named 'linea'"):
        check_component("bijector", "linea")


def test_slow_checks_run_when_asked_and_carry_the_marker():
    names = by_name(check_component("bijector", Linear, only={"it_compiles_with_inductor"}))
    assert not names
    params = parametrize_checks("bijector", SignOfLogdet).args[1]
    slow = [p for p in params if [mark.name for mark in p.marks] == ["slow"]]
    of_first = [param.id for param in slow if param.id.endswith("-(5,)")]
    assert of_first == ["it_compiles_with_inductor-(5,)"]


def test_what_options_hardly_change_is_slow_for_all_cases_but_the_first():
    def marked(name):
        params = parametrize_checks("bijector", "linear").args[1]
        return [[mark.name for mark in p.marks] for p in params if p.id.startswith(f"{name}-")]

    first, *others = marked("a_state_dict_restores_it")
    assert first == []
    assert others
    assert all(marks == ["slow"] for marks in others)
    assert all(marks == [] for marks in marked(JACOBIAN))
    quick = by_name(check_component("bijector", "linear", only={"a_state_dict_restores_it"}))
    assert len(quick) == 1
    every = check_component("bijector", "linear", only={"a_state_dict_restores_it"}, slow=True)
    assert len(every) == 1 + len(others)


def test_the_wrapper_fails_as_the_check_does():
    params = parametrize_checks("bijector", SignOfLogdet).args[1]
    (check,) = (p.values[0] for p in params if p.id == f"{JACOBIAN}-(5,)")
    with pytest.raises(AssertionError, match=r"SignOfLogdet \(event_shape=\(5,\)\): logdet must"):
        check()


def test_checks_leave_the_random_state_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    check_component("bijector", Linear, only={JACOBIAN, "the_density_integrates_to_one"})
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_are_moved_away_from_the_identity_or_prepared():
    class Scale(Bijector):
        def __init__(self, event_shape, context_shape=None):
            super().__init__()
            self.event_shape = tuple(event_shape)
            self.log_scale = torch.nn.Parameter(torch.zeros(event_shape))

        def _forward(self, x, context):  # the sign is wrong, and the identity hides it
            return x * self.log_scale.exp(), -self.log_scale.sum().expand(len(x))

        def _inverse(self, z, context):
            return z * (-self.log_scale).exp(), self.log_scale.sum().expand(len(z))

    assert not check_component("bijector", Scale, only={JACOBIAN})[0].ok
    how = Conformance(prepare=lambda part: None)
    assert check_component("bijector", Scale, how=how, only={JACOBIAN})[0].ok


@pytest.mark.parametrize(
    ("spec", "check"),
    [
        ("Undescribed", "every_field_is_described"),
        ("OtherDefault", "the_spec_equals_the_constructor"),
        ("MissingField", "it_can_be_built"),
        ("FieldTooMany", "it_can_be_built"),
        ("Lenient", "unknown_keys_are_refused"),
        ("LosesItself", "the_spec_survives_json"),
        ("WrongShape", "the_shape_is_known_without_torch"),
    ],
)
def test_a_wrong_spec_is_found(spec, check):
    results = kit(spec, "Needy" if spec == "MissingField" else "Scale", f"kit_specs:{spec}")
    assert {result.check for result in results if result.status == "failed"} == {check}


def test_a_spec_that_imports_torch_is_found():
    results = kit("heavy", "Scale", "kit_parts:HeavySpec")
    assert [result.check for result in results if not result.ok] == [
        "the_declaration_and_the_spec_import_no_torch"
    ]


def test_a_spec_that_promises_other_data_is_found():
    results = kit(
        "WrongData", "Right", "kit_specs:WrongData", kind="dataset", module="teeth.dataset"
    )
    assert "the_spec_knows_the_data" in [r.check for r in results if not r.ok]


def kit(name, target, spec, *, kind="bijector", module="kit_parts"):
    """What the kit says of a component with that spec."""
    name = f"kit.{name.lower()}"
    component = Component(kind, name, spec=spec, target=f"{module}:{target}", summary="a toy")
    with use_registry(Registry()) as registry:
        registry.register(component)
        return check_component(kind, name)


@pytest.mark.parametrize("name", ["ddpm", "corekit-ddpm-improved"])
def test_a_plugin_is_checked_by_its_name_or_that_of_its_distribution(name, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "corekit.testing.plugin.check_component", lambda *of, slow: asked.append(of) or []
    )
    assert list(check_plugin(name)) == []
    assert asked == sorted((part.kind, part.name) for part in corekit_components())
    assert ("denoising_loss", "ddpm.mse") in asked


def test_an_unknown_plugin_is_refused():
    with pytest.raises(PluginError, match=r"got 'realnpv'\. Did you mean 'realnvp'"):
        next(check_plugin("realnpv"))


def test_a_broken_plugin_is_a_failed_check(fake_distribution, discovered):
    fake_distribution("rotten", "import nowhere_to_be_found\n")
    with use_registry(discovered()):
        (result,) = check_plugin("rotten")
    assert (result.check, result.status) == ("the_plugin_loads", "failed")
    assert "nowhere_to_be_found" in result.detail


@pytest.mark.parametrize(
    ("kind", "offset", "spread", "fine"),
    [
        (Likelihood.EXACT, 0.0, 0.0, True),
        (Likelihood.EXACT, 1e-3, 0.0, False),
        (Likelihood.WEIGHT, -0.5, 1.0, True),  # E[exp] of N(-1/2, 1) is 1
        (Likelihood.WEIGHT, 0.0, 1.0, False),
        (Likelihood.UNBIASED, 0.0, 1.0, True),
        (Likelihood.UNBIASED, 0.1, 1.0, False),
        (Likelihood.BOUND, -0.5, 1.0, True),
        (Likelihood.BOUND, 0.1, 1.0, False),
    ],
)
def test_kinds_of_likelihood_are_told_apart(kind, offset, spread, fine):
    noise = torch.randn(20_000, generator=torch.Generator().manual_seed(0)).double()
    claimed = LogProb(-3 + offset + spread * noise, kind)
    if fine:
        assert expect_kind("log p", claimed, -3.0)
    else:
        with pytest.raises(CheckFailed, match="log p"):
            expect_kind("log p", claimed, -3.0)


def test_nan_is_never_close():
    nan = torch.tensor([float("nan")])
    with pytest.raises(CheckFailed, match="nan"):
        expect_close("x", nan, torch.zeros(1), 1.0)
