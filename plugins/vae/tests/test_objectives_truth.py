"""Objectives give the numbers of a correct implementation: golden/vae/truth.npz."""

import pytest
import torch
from corekit_vae.objectives.beta_tc import BetaTc, log_aggregate, log_weights
from corekit_vae.objectives.dip import Dip
from corekit_vae.objectives.elbo import Elbo
from corekit_vae.objectives.iwae import Iwae
from corekit_vae.objectives.mmd import Mmd, squared_mmd
from corekit_vae.objectives.sliced import Sliced, sliced_wasserstein
from stored_latent import arrays, stored, terms_of

from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.records import Batch
from corekit.latent.posteriors import DiagonalGaussian

EXACT = {"rtol": 0, "atol": 1e-10}


@pytest.fixture(scope="module")
def truth(golden_root):
    return arrays(golden_root, "truth")


def close(found, wanted):
    torch.testing.assert_close(found.detach().double(), wanted.double(), **EXACT)


def by_draw(drawn):
    """``(B, K, ...)`` or ``(B, M, K, ...)``, as golden files have it, to draw by draw."""
    groups = drawn if drawn.ndim == 4 else drawn[:, None]
    return groups.permute(2, 1, 0, 3).flatten(0, 2)


def noise_of(truth, z):
    """The noise that makes draws ``(K B, D)`` of the posteriors."""
    k = len(z) // len(truth["mu"])
    return (z - truth["mu"].repeat(k, 1)) * (-0.5 * truth["log_var"]).exp().repeat(k, 1)


def importance(truth, loss, z, recon):
    """The terms of an importance-weighted loss on these draws, and the model."""
    model = stored(truth, loss, error=None, recon=by_draw(recon).reshape(-1, 3, 4, 4))
    given = GivenDraws({"z": noise_of(truth, by_draw(z))})
    return model(Batch(truth["x"]), draws=given), model


def test_kl_of_a_diagonal_gaussian(truth):
    terms = terms_of(truth, Elbo())
    close(terms.terms["kl"], truth["kl/diag_vs_std"])
    drawn = terms_of(truth, Elbo(kl="draw")).terms
    close(drawn["kl"], truth["logq"] - truth["logp_std"])
    close(drawn["cross_entropy"], -truth["logp_std"])


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("per_dim_batchmean_lam0.1", {"free_bits": 0.1, "groups": None}),
        ("per_dim_batchmean_lam0.5", {"free_bits": 0.5, "groups": None}),
        ("groups3_lam0.5", {"free_bits": 0.5, "groups": 3}),
        ("per_sample_lam0.1", {"free_bits": 0.1, "groups": None, "per_row": True}),
        ("per_sample_lam0.5", {"free_bits": 0.5, "groups": None, "per_row": True}),
    ],
)
def test_free_bits(truth, key, options):
    terms = terms_of(truth, Elbo(**options))
    cost = terms.total - terms.terms["reconstruction_error"]
    wanted = truth[f"freebits/{key}"]
    close(cost if wanted.ndim else cost.mean(), wanted)


def test_free_bits_of_groups_and_of_the_whole(truth):
    """With more nats than the golden file asks for, which no group reaches there."""
    elements = truth["freebits/kl_bd"]
    for groups, free, wanted in ((3, 0.7, [0.7, 0.7]), (1, 3.0, [3.0]), (2, 1.0, [1.0])):
        terms = terms_of(truth, Elbo(free_bits=free, groups=groups))
        means = elements.reshape(8, groups, -1).sum(2).mean(0)
        assert sorted(means.clamp(min=free).tolist())[: len(wanted)] == pytest.approx(wanted)
        cost = (terms.total - terms.terms["reconstruction_error"]).mean()
        close(cost, means.clamp(min=free).sum())


def test_the_importance_weighted_bound(truth):
    terms, _ = importance(truth, Iwae(samples=5), truth["iw/z"], truth["iw/recon"])
    close(-terms.total, truth["iw/bound"])
    close(terms.terms["effective_draws"], truth["iw/ess"])
    elbo = -(terms.terms["reconstruction_nll"] + terms.terms["kl"])
    close(elbo, truth["iw/elbo"])
    mean, _ = importance(
        truth, Iwae(samples=1, groups=5), truth["iw/z"][:, :, None], truth["iw/recon"][:, :, None]
    )
    close(-mean.total, truth["iw/elbo"])


def test_the_mean_of_several_importance_weighted_bounds(truth):
    terms, _ = importance(truth, Iwae(samples=5, groups=3), truth["miw/z"], truth["miw/recon"])
    close(-terms.total, truth["miw/bound"])
    z, recon = (truth[f"miw/{name}"].flatten(1, 2) for name in ("z", "recon"))
    terms, _ = importance(truth, Iwae(samples=15), z, recon)
    close(-terms.total, truth["miw/iwae_MK_bound"])


@pytest.mark.parametrize("kernel", ["rbf", "imq", "imq_multi"])
def test_mmd(truth, kernel):
    key = {"rbf": "rbf_bw1", "imq": "imq_c2D", "imq_multi": "imq_multi"}[kernel]
    terms = terms_of(truth, Mmd(kernel=kernel, weight=3.0))
    close(terms.batch_terms["mmd"], truth[f"mmd/{key}_unbiased"])
    added = terms.total - terms.terms["reconstruction_error"]
    close(added, (3 * truth[f"mmd/{key}_unbiased"]).expand(8))
    biased = truth[f"mmd/{key}_biased"]  # what the V-statistic gives: its diagonal is k(a, a)
    itself = 23.8 - 5 if kernel == "imq_multi" else 1.0
    assert abs(terms.batch_terms["mmd"] - biased) > 0.1 * itself / 8


@pytest.mark.parametrize(("p", "key"), [(1, "sw1"), (2, "sw2_sq")])
def test_sliced_wasserstein(truth, p, key):
    close(sliced_wasserstein(truth["z"], truth["z_prior"], truth["sw/proj"], p), truth[f"sw/{key}"])
    drawn = torch.cat([5 * truth["sw/proj"], torch.ones(4, 6)]).reshape(8, 3, 6)
    loss = Sliced(projections=20, p=p)
    terms = terms_of(truth, loss, noise={"directions": drawn})
    close(terms.batch_terms["sliced_wasserstein"], truth[f"sw/{key}"])


@pytest.mark.parametrize("form", ["i", "ii"])
def test_dip(truth, form):
    key = {"i": "dip1", "ii": "dip2"}[form]
    terms = terms_of(truth, Dip(form=form, diagonal=2.0, off_diagonal=3.0))
    off, diagonal = truth[f"{key}/off_sq"], truth[f"{key}/diag_sq"]
    close(terms.batch_terms["dip_off_diagonal"], off)
    close(terms.batch_terms["dip_diagonal"], diagonal)
    found = terms.total - terms.terms["reconstruction_error"] - terms.terms["kl"]
    close(found, (3 * off + 2 * diagonal).expand(8))


def test_stratified_weights(truth):
    size = int(truth["tc/N"])
    found = log_weights(truth["mu"], 8, size, "stratified")
    close(found, truth["tc/mss_diag_log_weights"])
    close(found.exp().sum(1), torch.ones(8))
    published = truth["tc/mss_ref_log_weights"]  # the own weight in column 0 of every row
    assert (found - published).abs().max() > 4
    q = DiagonalGaussian(truth["mu"], truth["log_var"])
    joint, product = log_aggregate(q, truth["z"], published)
    close((joint - product).mean(), truth["tc/mss_ref_tc"])


@pytest.mark.parametrize("estimator", ["stratified", "weighted"])
def test_the_three_parts_of_the_kl(truth, estimator):
    key = {"stratified": "mss_diag", "weighted": "mws"}[estimator]
    loss = BetaTc(alpha=2.0, beta=3.0, gamma=0.5, estimator=estimator)
    terms = terms_of(truth, loss, size=int(truth["tc/N"]))
    mi, tc, dwkl = (truth[f"tc/{key}_{part}"] for part in ("mi", "tc", "dwkl"))
    parts = [
        terms.terms[name].mean()
        for name in ("mutual_information", "total_correlation", "dimension_wise_kl")
    ]
    for found, wanted in zip(parts, (mi, tc, dwkl), strict=True):
        close(found, wanted)
    close(sum(parts), truth["tc/sum_identity"])
    added = (terms.total - terms.terms["reconstruction_error"]).mean()
    close(added, 2 * mi + 3 * tc + 0.5 * dwkl)


def test_a_batch_of_one_has_no_correlation(truth):
    one = {name: value[:1] for name, value in truth.items() if value.ndim and len(value) == 8}
    terms = terms_of(one, BetaTc(size=1000)).terms
    close(terms["mutual_information"], torch.zeros(1))
    close(terms["total_correlation"], torch.zeros(1))
    close(terms["dimension_wise_kl"], (truth["logq"] - truth["logp_std"])[:1])
    assert squared_mmd(one["z"], one["z_prior"]) == 0
    for loss in (Mmd(), Dip(), Sliced(projections=2), Iwae(samples=1), Elbo(free_bits=1.0)):
        noise = {"directions": torch.eye(6).reshape(1, 6, 6)[:, :2]}
        error = None if isinstance(loss, Iwae) else "mean"
        terms = terms_of(one, loss, noise=noise, error=error)
        assert terms.total.isfinite().all()
        terms.total.sum().backward()
