"""Weights and capacities follow the optimizer step, exactly, and nothing else."""

import math

import pytest
import torch
from corekit_vae.objectives.base import Objective, Term
from corekit_vae.objectives.beta_tc import BetaTc
from corekit_vae.objectives.combined import Combined
from corekit_vae.objectives.dip import Dip
from corekit_vae.objectives.elbo import Elbo, beta
from corekit_vae.objectives.factor import Factor
from corekit_vae.objectives.gan import Gan
from corekit_vae.objectives.iwae import Iwae
from corekit_vae.objectives.mmd import Mmd, info
from corekit_vae.objectives.sliced import Sliced
from corekit_vae.scheduled import value_at
from corekit_vae.specs.schedules import ScheduleSpec
from pydantic import ValidationError

from corekit.data_spec import DataSpec
from corekit.errors import SpecError, UsageError
from corekit.flows.linear import Linear
from corekit.flows.prior import FlowPrior, StandardNormal
from corekit.interfaces.draws import Draws, NoNoise
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.records import Batch
from corekit.latent.decoders import GaussianDecoder
from corekit.latent.elbo import WeightedElbo
from corekit.latent.model import LatentModel
from corekit.latent.posteriors import Point
from corekit.spec import spec_class
from corekit.testing.linear_gaussian import FEATURES, LinearEncoder, LinearGaussian


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"steps": 4}, {0: 0, 1: 0.25, 4: 1, 9: 1}),
        ({"steps": 4, "start": 2, "end": 0.5}, {0: 2, 2: 1.25, 4: 0.5, 10**9: 0.5}),
        ({"steps": 4, "delay": 3}, {0: 0, 3: 0, 5: 0.5, 7: 1}),
        ({"steps": 4, "shape": "cosine"}, {1: 0.5 - math.sqrt(0.125), 2: 0.5, 4: 1, 5: 1}),
        ({"steps": 8, "shape": "cyclic"}, {1: 0.25, 4: 1, 7: 1, 8: 0, 10: 0.5, 801: 0.25}),
        (
            {"steps": 8, "shape": "cyclic", "cycles": 2, "ramp": 1.0},
            {4: 0.5, 9: 0.125, 16: 1, 99: 1},
        ),
    ],
)
def test_a_schedule_at_its_steps(options, wanted):
    schedule = ScheduleSpec(**options)
    assert [value_at(schedule, step) for step in wanted] == pytest.approx(
        [*wanted.values()], abs=1e-15
    )


def batch(rows=4):
    return Batch(torch.linspace(-1, 1, rows * FEATURES, dtype=torch.float64).reshape(rows, -1))


def terms(loss, step=0, model=None):
    model = model or LinearGaussian(exact=False).model
    loss.double().at_step(step)
    return loss(model, batch(), NoNoise())


def test_the_weight_of_the_kl_at_each_step():
    """In float64 it is the schedule to the last digit."""
    loss = Elbo(kl_weight={"steps": 7, "end": 0.7, "shape": "cosine"})
    for step in range(9):
        found = terms(loss, step)
        added = found.total - found.terms["reconstruction_nll"]
        weight = value_at(loss.kl_weight.schedule, step)
        torch.testing.assert_close(added, weight * found.terms["kl"], rtol=0, atol=1e-14)
    fixed = terms(Elbo(kl_weight=0.1))
    added = fixed.total - fixed.terms["reconstruction_nll"]
    torch.testing.assert_close(added, 0.1 * fixed.terms["kl"], rtol=0, atol=1e-14)


@pytest.mark.parametrize("per_row", [False, True])
def test_the_capacity_at_each_step(per_row):
    loss = beta(form="b", gamma=3.0, max_capacity=4.0, capacity_steps=8, per_row=per_row)
    for step in range(10):
        found = terms(loss, step)
        kl, capacity = found.terms["kl"], min(4.0, 0.5 * step)
        wanted = (kl - capacity).abs() if per_row else (kl.mean() - capacity).abs().expand(4)
        added = found.total - found.terms["reconstruction_nll"]
        torch.testing.assert_close(added, 3 * wanted, rtol=0, atol=1e-13)


def test_form_h_and_the_elbo_of_core_are_the_same():
    for ours, cores in (
        (beta(beta=3.0), WeightedElbo(kl_weight=3.0)),
        (Elbo(), WeightedElbo()),
        (Elbo(free_bits=1.5), WeightedElbo(free_bits=1.5)),
        (Elbo(kl="monte_carlo"), WeightedElbo(kl="monte_carlo")),
    ):
        torch.testing.assert_close(terms(ours).total, terms(cores).total, rtol=0, atol=1e-12)


def test_a_model_moves_every_weight_that_it_holds():
    ramp = {"steps": 10}
    members = [
        Elbo(kl_weight=ramp),
        Dip(diagonal=ramp),
        Mmd(weight=ramp),
        BetaTc(beta=ramp, size=9),
    ]
    loss = Combined(of=[*members, Sliced(weight=ramp), Factor(gamma=ramp)])
    model = LinearGaussian().model
    model.loss = loss
    model.at_step(5)
    moved = [part.now.item() for part in loss.modules() if hasattr(part, "now")]
    assert moved == [0.5] * 6
    assert "now" not in "".join(loss.state_dict())  # nothing to resume: the step says it


@pytest.mark.parametrize(
    ("loss", "kind", "coupled"),
    [
        (Elbo(), "bound", False),
        (Elbo(kl="draw"), "bound", False),
        (Elbo(kl_weight=0.5), "none", False),
        (Elbo(kl_weight={"steps": 5}), "none", False),
        (Elbo(free_bits=0.1), "none", True),
        (Elbo(free_bits=0.1, per_row=True), "none", False),
        (Elbo(capacity=1.0), "none", True),
        (beta(), "none", False),
        (beta(beta=1.0), "bound", False),
        (BetaTc(), "none", True),
        (Dip(), "none", True),
        (Factor(), "none", True),
        (info(), "none", True),
        (Mmd(), "none", True),
        (Sliced(), "none", True),
        (Iwae(), "bound", False),
        (Gan(), "none", False),
        (Combined(of=[Elbo()]), "bound", False),
        (Combined(of=[Elbo(), Gan()]), "none", False),
        (Combined(of=[Elbo(), Dip()]), "none", True),
    ],
)
def test_what_each_total_says_of_the_likelihood(loss, kind, coupled):
    assert loss.kind is Likelihood(kind)
    assert loss.rows_coupled is coupled


def test_a_combination_adds_the_terms_of_the_others_to_the_first():
    alone = [Elbo(kl_weight=0.3), Dip(diagonal=2.0, off_diagonal=5.0), Mmd(weight=7.0)]
    whole = terms(
        Combined(of=[Elbo(kl_weight=0.3), Dip(diagonal=2.0, off_diagonal=5.0), Mmd(weight=7.0)])
    )
    first, dip, mmd = (terms(loss) for loss in alone)
    wanted = first.total + 2 * dip.batch_terms["dip_diagonal"]
    wanted = wanted + 5 * dip.batch_terms["dip_off_diagonal"] + 7 * mmd.batch_terms["mmd"]
    torch.testing.assert_close(whole.total, wanted, rtol=0, atol=1e-12)
    assert {"dip_diagonal", "dip_off_diagonal", "mmd"} <= whole.batch_terms.keys()
    names = {*whole.terms, "mmd", "dip_diagonal", "dip_off_diagonal"}
    assert names <= whole.units.keys()


def test_a_pass_runs_every_part_once():
    model = LinearGaussian().model
    calls = []
    for part in (model.encoder, model.decoder.network):
        part.register_forward_hook(lambda *args: calls.append(args[0]))
    terms(Combined(of=[Elbo(), Dip(), Mmd(), Sliced(), BetaTc(size=9)]), model=model)
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Elbo(kl_weight=-1), "Elbo: kl_weight must be at least 0 and finite, got -1"),
        (lambda: Elbo(kl="exact"), "kl must be auto, monte_carlo or draw, got 'exact'"),
        (lambda: Elbo(free_bits=-1), "free_bits must be at least 0, got -1"),
        (lambda: Elbo(groups=0), "groups must be at least 1, or null, got 0"),
        (lambda: Elbo(free_bits=1, capacity=2), "free_bits must be 0 beside a capacity, got 1"),
        (lambda: Elbo(free_bits=1, groups=2, kl="draw"), "kl must be auto where groups"),
        (lambda: Elbo(kl_weight={"steps": 0}), r"Elbo: kl_weight\.steps: .*got 0"),
        (lambda: beta(form="a"), "form must be h or b, got 'a'"),
        (lambda: BetaTc(estimator="x"), "stratified or weighted, got 'x'"),
        (lambda: BetaTc(size=0), "size must be at least 1, got 0"),
        (lambda: Dip(form="iii"), "form must be i or ii, got 'iii'"),
        (lambda: info(alpha=2), "alpha must be at most 1 .* got 2"),
        (lambda: Mmd(kernel="x"), "kernel must be rbf, imq or imq_multi, got 'x'"),
        (lambda: Mmd(bandwidth=0), "bandwidth must be positive, got 0"),
        (lambda: Sliced(p=3), "p must be 1 or 2, got 3"),
        (lambda: Sliced(projections=0), "projections must be at least 1, got 0"),
        (lambda: Iwae(estimator="x"), "plain, stl or dreg, got 'x'"),
        (lambda: Iwae(samples=0), "at least 1, got 0 and 1"),
        (lambda: Combined(of=[]), "at least one, got none"),
        (lambda: Combined(of=[Elbo(), Elbo()]), r"of\[1\] must add a term, got Elbo"),
        (lambda: Combined(of=[Elbo(), Iwae()]), r"of\[1\] must be an objective with one draw"),
        (lambda: Combined(of=[Elbo(), Mmd(), info()]), "of different classes.*Elbo, Mmd, Mmd"),
    ],
)
def test_options_that_are_none_are_refused(make, words):
    with pytest.raises(UsageError, match=words):
        make()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("elbo", {"kl_weight": {"steps": 5, "stop": 1}}, "unknown key 'stop'"),
        ("elbo", {"kl_weight": {"start": 1}}, "steps\n  Field required"),
        ("elbo", {"kl_weight": "1"}, "kl_weight"),
        ("elbo", {"kl_weight": -1}, "greater than or equal to 0"),
        ("elbo", {"kl_weight": {"steps": 5, "ramp": 0.1}}, "ramp must go with shape: cyclic"),
        ("elbo", {"free_bits": 1, "capacity": 2}, "free_bits must be 0 beside a capacity"),
        ("info", {"alpha": 0, "lam": 0.5}, r"alpha \+ lam must be at least 1, got 0.0 \+ 0.5"),
        (
            "combined",
            {"of": ["vae.elbo", {"type": "vae.dip", "kl_weight": 2}]},
            r"of\[1\].kl_weigh",
        ),
        ("combined", {"of": []}, "at least 1 item"),
    ],
)
def test_specs_are_refused_in_words(name, options, words):
    with pytest.raises((ValidationError, SpecError), match=words):
        spec_class("loss", f"vae.{name}").model_validate(options)


def test_a_schedule_in_a_spec():
    found = spec_class("loss", "vae.elbo").model_validate({"kl_weight": {"steps": 5}})
    assert found.kl_weight == ScheduleSpec(steps=5)
    assert found.model_validate_json(found.model_dump_json()) == found


def test_a_model_that_lacks_something_is_refused_when_it_is_built():
    parts = {"encoder": LinearEncoder, "decoder": GaussianDecoder}
    for loss in (Mmd(), Sliced(), BetaTc(size=9), Combined(of=[Elbo(), Mmd()])):
        with pytest.raises(UsageError, match="must have a prior, got an auto-encoder"):
            LatentModel(DataSpec((FEATURES,)), **parts, loss=loss)
    model = LatentModel(DataSpec((FEATURES,), size=9), **parts, loss=Elbo())
    assert "kl" not in model(Batch(torch.zeros(2, FEATURES)), draws=Draws()).terms

    with pytest.raises(UsageError, match="number of training examples must be known"):
        LatentModel(DataSpec((FEATURES,)), **parts, prior=StandardNormal, loss=BetaTc())
    with pytest.raises(UsageError, match="prepare must be called before the loss"):
        terms(Factor())
    with pytest.raises(UsageError, match="groups must divide the 2 elements of the latent, got 3"):
        terms(Elbo(free_bits=1.0, groups=3))


def test_posteriors_and_priors_that_are_no_products_are_refused():

    model = LinearGaussian().model
    model.prior = FlowPrior((2,), bijector=Linear).double()
    with pytest.raises(UsageError, match="products over elements, got DiagonalGaussian and FlowP"):
        terms(Elbo(free_bits=0.1, groups=None), model=model)
    model.encoder._forward = lambda x, condition: Point(x[:, :2])
    for loss in (Dip(), BetaTc(size=9)):
        with pytest.raises(UsageError, match="must be a diagonal Gaussian, got Point"):
            terms(loss, model=model)


def test_an_objective_of_another_package_needs_its_terms_only():
    """The base class is enough: a term with a weight, once per row."""

    class Small(Objective):
        def __init__(self):
            super().__init__()
            self.weight = self.scheduled("weight", {"steps": 2})

        def terms(self, scored, model, batch, draws):
            return {"size": Term(self.weight, scored.z.square().sum(1), "squared latents")}

    found = terms(Small(), step=1)
    plain = found.terms["reconstruction_nll"] + found.terms["kl"] + 0.5 * found.terms["size"]
    torch.testing.assert_close(found.total, plain, rtol=0, atol=1e-13)
