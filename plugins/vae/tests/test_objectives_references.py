"""The losses of two libraries: those that are right are ours, and those that are not differ."""

import pytest
import torch
from corekit_vae.objectives.beta_tc import BetaTc
from corekit_vae.objectives.dip import Dip
from corekit_vae.objectives.elbo import Elbo, beta
from corekit_vae.objectives.factor import Factor, permuted
from corekit_vae.objectives.iwae import Iwae
from corekit_vae.objectives.mmd import Mmd, info, squared_mmd
from corekit_vae.objectives.sliced import Sliced
from stored_latent import arrays, terms_of
from torch.nn.functional import cross_entropy, leaky_relu

from corekit.interfaces.network import Network

EXACT = {"rtol": 0, "atol": 1e-10}
PAIRS = 8 * 7  # of a batch of 8: the reference divides its weights by them


@pytest.fixture(scope="module")
def antixk(golden_root):
    return arrays(golden_root, "losses_pytorch_vae")


@pytest.fixture(scope="module")
def pythae(golden_root):
    return arrays(golden_root, "losses_pythae")


@pytest.fixture(scope="module")
def truth(golden_root):
    return arrays(golden_root, "truth")


def close(found, wanted):
    torch.testing.assert_close(found.detach().double().squeeze(), wanted.squeeze(), **EXACT)


# -- PyTorch-VAE: the mean squared error, and a KL with the weight M_N --------------------------


@pytest.mark.parametrize(("key", "heavier"), [("vanilla", 1), ("beta_H10", 10)])
def test_vanilla_and_beta_vae(antixk, key, heavier):
    terms = terms_of(antixk, beta(beta=heavier * float(antixk["M_N"])))
    close(terms.total.mean(), antixk[f"{key}/loss"])
    close(terms.terms["reconstruction_error"].mean(), antixk[f"{key}/Reconstruction_Loss"])
    close(terms.terms["kl"].mean(), antixk[f"{key}/KLD"].abs())  # vanilla reports minus the KL
    assert (terms.terms["kl"] >= 0).all()


@pytest.mark.parametrize("step", [1, 2, 5000, 20000])
def test_the_capacity_of_beta_vae(antixk, step):
    loss = beta(form="b", gamma=10 * float(antixk["M_N"]), max_capacity=25.0, capacity_steps=10_000)
    close(terms_of(antixk, loss, step=step).total.mean(), antixk[f"beta_B_iter{step}/loss"])


def test_sliced_wasserstein(antixk):
    drawn = torch.cat([antixk["swae/raw_projections"], torch.ones(4, 6)]).reshape(8, 3, 6)
    loss = Sliced(projections=20, weight=100 / PAIRS)
    terms = terms_of(antixk, loss, noise={"directions": drawn})
    close(terms.total.mean() - terms.terms["reconstruction_error"].mean(), antixk["swae/SWD"])
    # The reference adds an absolute error of its own to the reconstruction.
    absolute = (antixk["x"] - antixk["recon"]).abs().mean()
    close(terms.total.mean() + absolute, antixk["swae/loss"])


class Judge(Network):
    """The discriminator of the golden file: two logits, whose difference counts."""

    def __init__(self, in_shape, out_shape, context_shape, golden):
        super().__init__(in_shape, out_shape, context_shape)
        names = ("W0", "b0", "W2", "b2")
        self.layers = torch.nn.ParameterList([golden[f"factor/{name}"] for name in names])

    def logits(self, x):
        w0, b0, w2, b2 = self.layers
        return leaky_relu(x @ w0.T + b0, 0.2) @ w2.T + b2

    def _forward(self, x, context):
        return self.logits(x) @ torch.tensor([1.0, -1.0], dtype=x.dtype)


def test_factor_vae(antixk):
    """Both steps, with dimensions permuted across the batch; the reference does it inside rows."""
    z, wanted = antixk["z"], antixk["factor/z_perm_batchwise"]
    order = (wanted[:, None] == z[None]).double().argmax(1)  # the row that each element came from
    keys = torch.zeros_like(z).scatter(0, order, torch.arange(8.0).double()[:, None].expand(8, 6))
    close(permuted(z, keys), wanted)
    for d in range(6):
        assert sorted(wanted[:, d].tolist()) == sorted(z[:, d].tolist())
    weight, gamma = float(antixk["M_N"]), 6.4
    loss = Factor(
        judge=lambda **given: Judge(golden=antixk, **given), kl_weight=weight, gamma=gamma
    )
    terms = terms_of(antixk, loss)
    found = terms.terms["judged_total_correlation"].mean()
    close(found, antixk["factor_vae_step/VAE_TC_Loss"])
    close(terms.total.mean(), antixk["factor_vae_step/loss"])
    learnt = terms_of(antixk, loss, phase="discriminator", noise={"permutation": keys})
    close(learnt.total.mean(), antixk["factor_disc_step/loss"])
    two, judge = torch.zeros(8, dtype=torch.int64), loss.judge
    both = cross_entropy(judge.logits(z), two) + cross_entropy(judge.logits(wanted), two + 1)
    close(0.5 * both, antixk["factor_disc_step/loss"])


# -- PyTorch-VAE: where it is wrong --------------------------------------------------------------


def test_dip_is_the_truth_and_not_the_reference(antixk, truth):
    terms = terms_of(antixk, Dip(form="ii", diagonal=0.05, off_diagonal=0.1)).batch_terms
    found = 0.05 * terms["dip_diagonal"] + 0.1 * terms["dip_off_diagonal"]
    close(found, 0.05 * truth["dip2/diag_sq"] + 0.1 * truth["dip2/off_sq"])
    assert antixk["dip_ref/DIP_Loss"] > 50 * found


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_is_the_truth_and_not_the_reference(antixk, truth, kernel):
    """Its kernels are sums without a diagonal, or of mean distances: the scales differ."""
    key = {"imq": "imq_c2D", "rbf": "rbf_bw1"}[kernel]
    weight = {"imq": 100.0, "rbf": 5000.0}[kernel] / PAIRS
    found = terms_of(antixk, Mmd(kernel=kernel, weight=weight)).batch_terms["mmd"]
    close(found, truth[f"mmd/{key}_unbiased"])
    assert abs(antixk[f"wae_{kernel}/MMD"] / weight - found) > 0.03
    loss = info(alpha=-9.0, lam=110.0, kernel=kernel)
    assert (loss.weight.constant, loss.kl_weight.constant) == (100.0, 10.0)
    terms = terms_of(antixk, loss)
    close(terms.batch_terms["mmd"], truth[f"mmd/{key}_unbiased"])
    assert abs(antixk[f"info_{kernel}/MMD"] / PAIRS - found) > 0.004


def test_the_total_correlation_is_the_truth_and_not_that_of_the_published_weights(antixk, truth):
    size = round(8 / float(antixk["M_N"]))
    terms = terms_of(antixk, BetaTc(size=size), error="sum")
    close(
        8 * terms.terms["reconstruction_error"].mean(),
        antixk["betatc_mn00025_eval/Reconstruction_Loss"],
    )
    published = antixk["betatc_mn00025_eval/TC_Loss"]
    assert abs(terms.terms["total_correlation"].mean() - published) > 1
    names = ("MI_Loss", "TC_Loss", "KLD")
    whole = sum(antixk[f"betatc_mn00025_eval/{name}"] for name in names)
    close(
        sum(
            value.mean()
            for name, value in terms.terms.items()
            if name in ("mutual_information", "total_correlation", "dimension_wise_kl")
        ),
        whole,
    )


@pytest.mark.parametrize("key", ["iwae", "miwae"])
def test_importance_weights_favour_the_better_draw(antixk, key):
    """The reference weighs by the softmax of the loss, so that the worst draw counts most."""
    groups = 3 if key == "miwae" else 1
    recon, eps = (
        t if key == "miwae" else t[:, None] for t in (antixk[f"{key}/recon"], antixk[f"{key}/eps"])
    )
    recon, eps = (t.transpose(0, 2).flatten(0, 2) for t in (recon, eps))
    loss = Iwae(samples=5, groups=groups)
    noise = {"z": eps}
    terms = terms_of(antixk, loss, noise=noise, error=None, recon=recon)
    mean = terms.terms["reconstruction_nll"] + terms.terms["kl"]
    assert (terms.total < mean).all()  # a bound above the ELBO: its loss is lower
    errors = (antixk["x"] - recon.unflatten(0, (-1, 8))).square().flatten(2).mean(2)
    kl = terms_of(antixk, Elbo()).terms["kl"]
    each = (errors + antixk["M_N"] * kl).unflatten(0, (5, groups))
    theirs = (each.softmax(0) * each).sum(0).mean()
    close(theirs, antixk[f"{key}_ref/loss"])
    assert theirs > each.mean()  # worse than what one draw gives


# -- pythae: half the squared error ---------------------------------------------------------------


@pytest.mark.parametrize(("key", "weight"), [("vae_mse", 1.0), ("beta4", 4.0)])
def test_vae_and_beta_vae_of_pythae(pythae, key, weight):
    terms = terms_of(pythae, Elbo(kl_weight=weight), error="half")
    close(terms.total.mean(), pythae[f"{key}/loss"])
    close(terms.terms["kl"].mean(), pythae[f"{key}/kld"])
    close(terms.terms["reconstruction_error"].mean(), pythae[f"{key}/recon"])


@pytest.mark.parametrize("epoch", [1, 10, 30])
def test_the_capacity_of_pythae_is_that_of_each_row(pythae, epoch):
    """It moves with the epoch: C = 50 min(1, epoch / 26), for a warm-up of 25."""
    loss = beta(form="b", gamma=10.0, max_capacity=50.0, capacity_steps=26, per_row=True)
    terms = terms_of(pythae, loss, error="half", step=epoch)
    close(terms.total.mean(), pythae[f"disbeta_epoch{epoch}/loss"])


@pytest.mark.parametrize(("kernel", "ours"), [("imq", "imq_multi"), ("rbf", "rbf")])
def test_info_and_wae_of_pythae(pythae, kernel, ours):
    terms = terms_of(pythae, info(alpha=-2.0, lam=10.0, kernel=ours), error="half")
    close(terms.batch_terms["mmd"], pythae[f"info_{kernel}_am2_l10/mmd"])
    close(terms.total.mean(), pythae[f"info_{kernel}_am2_l10/loss"])
    terms = terms_of(pythae, Mmd(kernel=ours, weight=0.03), error="sum")
    close(terms.batch_terms["mmd"], pythae[f"wae_{kernel}/mmd"])
    close(terms.terms["reconstruction_error"].mean(), pythae[f"wae_{kernel}/recon"])
    close(terms.total.mean(), pythae[f"wae_{kernel}/loss"])


def test_minibatch_weighted_sampling_is_that_of_pythae(pythae):
    loss = BetaTc(beta=6.0, estimator="weighted", size=1000)
    terms = terms_of(pythae, loss, error="half")
    close(terms.total.mean(), pythae["betatc_mws_N1000/loss"])


def test_stratified_sampling_is_the_truth_and_not_that_of_pythae(pythae, truth):
    terms = terms_of(pythae, BetaTc(beta=6.0, size=1000), error="half")
    close(terms.terms["total_correlation"].mean(), truth["tc/mss_diag_tc"])
    wrong = truth["tc/mss_ref_mi"] + 6 * truth["tc/mss_ref_tc"] + truth["tc/mss_ref_dwkl"]
    close(wrong, pythae["betatc_mss_N1000/reg"])
    assert abs(terms.total.mean() - pythae["betatc_mss_N1000/loss"]) > 1


def test_the_bounds_are_the_truth_and_not_those_of_pythae(pythae, truth):
    """Its IWAE reports sum w log w, and its MIWAE averages over the wrong axis."""
    for key, samples, groups in (("iwae", 5, 1), ("miwae", 5, 3)):
        z, recon = pythae[f"{key}_in/z"], pythae[f"{key}_in/recon"]
        z, recon = (t if key == "miwae" else t[:, None] for t in (z, recon))
        z, recon = (t.transpose(0, 2).flatten(0, 2) for t in (z, recon))
        k = samples * groups
        eps = (z - pythae["mu"].repeat(k, 1)) * (-0.5 * pythae["log_var"]).exp().repeat(k, 1)
        loss = Iwae(samples=samples, groups=groups)
        images = recon.reshape(-1, 3, 4, 4)
        terms = terms_of(pythae, loss, noise={"z": eps}, error=None, recon=images)
        wanted = truth["iw/bound"] if key == "iwae" else truth["miw/bound"]
        close(-terms.total, wanted)
        constant = 24 * torch.log(torch.tensor(2 * torch.pi)).double()  # which it leaves out
        theirs = pythae["iwae/loss" if key == "iwae" else "miwae_pythae_axis1/loss"]
        assert abs(terms.total.mean() - constant - theirs) > 1e-3


def test_a_default_of_pythae_that_rewards_a_distance_is_refused():
    with pytest.raises(Exception, match=r"alpha \+ lam at least 1, got 0.0 and 0.001"):
        info(alpha=0.0, lam=1e-3)


def test_mmd_of_one_sample_with_itself_is_negative_by_its_diagonal(truth):
    """The U-statistic leaves out k(a_i, a_i), but not between the samples."""
    z = truth["z"]
    squared = (z[:, None] - z).square().sum(2)
    kernel = 12 / (12 + squared)
    off = (kernel.sum() - 8) / PAIRS
    close(squared_mmd(z, z), 2 * off - 2 * kernel.mean())
