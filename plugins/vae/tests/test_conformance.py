"""Every component of this package keeps the promises of its kind."""

from corekit.testing import parametrize_checks


@parametrize_checks("likelihood", "vae.bernoulli")
def test_likelihood_bernoulli(check):
    check()


@parametrize_checks("likelihood", "vae.continuous_bernoulli")
def test_likelihood_continuous_bernoulli(check):
    check()


@parametrize_checks("likelihood", "vae.gaussian")
def test_likelihood_gaussian(check):
    check()


@parametrize_checks("likelihood", "vae.laplace")
def test_likelihood_laplace(check):
    check()


@parametrize_checks("likelihood", "vae.discretized_logistic")
def test_likelihood_discretized_logistic(check):
    check()


@parametrize_checks("likelihood", "vae.categorical")
def test_likelihood_categorical(check):
    check()


@parametrize_checks("likelihood", "vae.squared_error")
def test_likelihood_squared_error(check):
    check()


@parametrize_checks("likelihood", "vae.log_cosh")
def test_likelihood_log_cosh(check):
    check()


@parametrize_checks("encoder", "vae.mlp")
def test_mlp_encoder(check):
    check()


@parametrize_checks("encoder", "vae.conv")
def test_conv_encoder(check):
    check()


@parametrize_checks("encoder", "vae.resnet")
def test_resnet_encoder(check):
    check()


@parametrize_checks("encoder", "vae.kl")
def test_kl_encoder(check):
    check()


@parametrize_checks("decoder", "vae.mlp")
def test_mlp_decoder(check):
    check()


@parametrize_checks("decoder", "vae.conv")
def test_conv_decoder(check):
    check()


@parametrize_checks("decoder", "vae.resnet")
def test_resnet_decoder(check):
    check()


@parametrize_checks("decoder", "vae.kl")
def test_kl_decoder(check):
    check()


@parametrize_checks("loss", "vae.elbo")
def test_elbo(check):
    check()


@parametrize_checks("loss", "vae.beta")
def test_beta(check):
    check()


@parametrize_checks("loss", "vae.beta_tc")
def test_beta_tc(check):
    check()


@parametrize_checks("loss", "vae.dip")
def test_dip(check):
    check()


@parametrize_checks("loss", "vae.factor")
def test_factor(check):
    check()


@parametrize_checks("loss", "vae.info")
def test_info(check):
    check()


@parametrize_checks("loss", "vae.mmd")
def test_mmd(check):
    check()


@parametrize_checks("loss", "vae.sliced")
def test_sliced(check):
    check()


@parametrize_checks("loss", "vae.iwae")
def test_iwae(check):
    check()


@parametrize_checks("loss", "vae.gan")
def test_gan(check):
    check()


@parametrize_checks("loss", "vae.combined")
def test_combined(check):
    check()


@parametrize_checks("encoder", "vae.vq")
def test_encoder_vq(check):
    check()


@parametrize_checks("decoder", "vae.vq")
def test_decoder_vq(check):
    check()


@parametrize_checks("quantizer", "vae.vector")
def test_quantizer_vector(check):
    check()


@parametrize_checks("quantizer", "vae.residual")
def test_quantizer_residual(check):
    check()


@parametrize_checks("quantizer", "vae.finite_scalar")
def test_quantizer_finite_scalar(check):
    check()


@parametrize_checks("prior", "vae.autoregressive")
def test_prior_autoregressive(check):
    check()


@parametrize_checks("model", "vae.quantized")
def test_model_quantized(check):
    check()


@parametrize_checks("metric", "vae.nll")
def test_metric_nll(check):
    check()


@parametrize_checks("posterior", "vae.gaussian")
def test_gaussian_posterior(check):
    check()


@parametrize_checks("posterior", "vae.point")
def test_point_posterior(check):
    check()


@parametrize_checks("posterior", "vae.full_gaussian")
def test_full_gaussian_posterior(check):
    check()


@parametrize_checks("posterior", "vae.low_rank")
def test_low_rank_posterior(check):
    check()


@parametrize_checks("posterior", "vae.mixture")
def test_mixture_posterior(check):
    check()


@parametrize_checks("posterior", "vae.flow")
def test_flow_posterior(check):
    check()


@parametrize_checks("posterior", "vae.von_mises_fisher")
def test_von_mises_fisher_posterior(check):
    check()


@parametrize_checks("posterior", "vae.gumbel")
def test_gumbel_posterior(check):
    check()


@parametrize_checks("prior", "vae.vamp")
def test_vamp_prior(check):
    check()


@parametrize_checks("prior", "vae.mixture")
def test_mixture_prior(check):
    check()


@parametrize_checks("prior", "vae.sphere")
def test_sphere_prior(check):
    check()


@parametrize_checks("prior", "vae.categories")
def test_categories_prior(check):
    check()


@parametrize_checks("metric", "vae.latents")
def test_metric_latents(check):
    check()


@parametrize_checks("metric", "vae.disentanglement")
def test_metric_disentanglement(check):
    check()


@parametrize_checks("metric", "vae.reconstruction")
def test_metric_reconstruction(check):
    check()
