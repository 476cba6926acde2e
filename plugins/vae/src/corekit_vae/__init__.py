"""Variational auto-encoders as parts. Imports neither torch nor pydantic."""

from corekit.registry import Component, hookimpl

API = "1.0"


def _component(kind: str, name: str, spec: str, target: str, summary: str) -> Component:
    """A component; ``spec`` is "module:Name": the class Name + Spec, and the conformance Name.

    Importers have no conformance: the kit has no suite for them.
    """
    module, _, spec = spec.partition(":")
    checks = None if kind == "importer" else f"corekit_vae.conformance:{spec}"
    return Component(
        kind,
        f"vae.{name}",
        spec=f"corekit_vae.specs.{module}:{spec}Spec",
        target=f"corekit_vae.{target}",
        summary=summary,
        conformance=checks,
    )


_PARTS = [
    # encoders
    (
        "encoder",
        "mlp",
        "encoders:MlpEncoder",
        "networks.mlp:MlpEncoder",
        "a perceptron over flattened data",
    ),
    (
        "encoder",
        "conv",
        "encoders:ConvEncoder",
        "networks.conv:ConvEncoder",
        "convolutions that halve images of any size",
    ),
    (
        "encoder",
        "resnet",
        "encoders:ResnetEncoder",
        "networks.resnet:ResnetEncoder",
        "the same with residual blocks between them",
    ),
    (
        "encoder",
        "kl",
        "encoders:KlEncoder",
        "networks.kl:KlEncoder",
        "the encoder of latent diffusion: its latent is an image",
    ),
    (
        "encoder",
        "vq",
        "models:VqEncoder",
        "networks.vq:VqEncoder",
        "halvings and residual blocks, a vector at each place",
    ),
    # decoders
    (
        "decoder",
        "vq",
        "models:VqDecoder",
        "networks.vq:VqDecoder",
        "residual blocks and doublings from a vector at each place",
    ),
    (
        "decoder",
        "mlp",
        "decoders:MlpDecoder",
        "networks.mlp:MlpDecoder",
        "a perceptron under a likelihood",
    ),
    (
        "decoder",
        "conv",
        "decoders:ConvDecoder",
        "networks.conv:ConvDecoder",
        "convolutions that double images to any size",
    ),
    (
        "decoder",
        "resnet",
        "decoders:ResnetDecoder",
        "networks.resnet:ResnetDecoder",
        "the same with residual blocks between them",
    ),
    (
        "decoder",
        "kl",
        "decoders:KlDecoder",
        "networks.kl:KlDecoder",
        "the decoder of latent diffusion",
    ),
    # posteriors
    (
        "posterior",
        "gaussian",
        "posteriors:DiagonalGaussian",
        "posteriors.diagonal:DiagonalGaussianHead",
        "a Gaussian with independent dimensions",
    ),
    (
        "posterior",
        "point",
        "posteriors:Point",
        "posteriors.point:PointHead",
        "one latent for each x: an auto-encoder",
    ),
    (
        "posterior",
        "full_gaussian",
        "posteriors:FullGaussian",
        "posteriors.full:FullGaussianHead",
        "a Gaussian with a full covariance",
    ),
    (
        "posterior",
        "low_rank",
        "posteriors:LowRankGaussian",
        "posteriors.low_rank:LowRankGaussianHead",
        "a Gaussian with a few common directions",
    ),
    (
        "posterior",
        "mixture",
        "posteriors:GaussianMixture",
        "posteriors.mixture:GaussianMixtureHead",
        "several Gaussians for each x",
    ),
    (
        "posterior",
        "flow",
        "posteriors:FlowPosterior",
        "posteriors.flow:FlowHead",
        "a Gaussian that a bijector bends",
    ),
    (
        "posterior",
        "von_mises_fisher",
        "posteriors:VonMisesFisher",
        "posteriors.von_mises_fisher:VonMisesFisherHead",
        "latents on the unit sphere",
    ),
    (
        "posterior",
        "gumbel",
        "posteriors:Gumbel",
        "posteriors.gumbel:GumbelHead",
        "categorical variables, relaxed",
    ),
    # likelihoods
    (
        "likelihood",
        "bernoulli",
        "likelihoods:Bernoulli",
        "likelihoods.bernoulli:Bernoulli",
        "black or white, each pixel on its own",
    ),
    (
        "likelihood",
        "continuous_bernoulli",
        "likelihoods:ContinuousBernoulli",
        "likelihoods.bernoulli:ContinuousBernoulli",
        "a density of gray values on [0, 1]",
    ),
    (
        "likelihood",
        "gaussian",
        "likelihoods:Gaussian",
        "likelihoods.gaussian:Gaussian",
        "Gaussian noise: of a fixed, learned or optimal scale, or one of each element",
    ),
    (
        "likelihood",
        "laplace",
        "likelihoods:Laplace",
        "likelihoods.gaussian:Laplace",
        "Laplace noise: absolute errors",
    ),
    (
        "likelihood",
        "discretized_logistic",
        "likelihoods:DiscretizedLogistic",
        "likelihoods.levels:DiscretizedLogistic",
        "probabilities of levels by a mixture of logistic distributions",
    ),
    (
        "likelihood",
        "categorical",
        "likelihoods:Categorical",
        "likelihoods.levels:Categorical",
        "a probability for each level, without an order",
    ),
    (
        "likelihood",
        "squared_error",
        "likelihoods:SquaredError",
        "likelihoods.errors:SquaredError",
        "the mean or summed squared error; no nats",
    ),
    (
        "likelihood",
        "log_cosh",
        "likelihoods:LogCosh",
        "likelihoods.errors:LogCosh",
        "squares of small errors, absolute values of large ones; no nats",
    ),
    # priors
    (
        "prior",
        "vamp",
        "priors:Vamp",
        "priors.vamp:VampPrior",
        "the posteriors of made-up inputs, averaged",
    ),
    (
        "prior",
        "mixture",
        "priors:LatentMixture",
        "priors.mixture:LatentMixture",
        "Gaussians that start where the latents are",
    ),
    (
        "prior",
        "sphere",
        "priors:UniformSphere",
        "priors.sphere:UniformSphere",
        "uniform on the unit sphere",
    ),
    (
        "prior",
        "categories",
        "priors:UniformCategories",
        "priors.categories:UniformCategories",
        "categorical variables, all categories alike",
    ),
    (
        "prior",
        "autoregressive",
        "priors:Autoregressive",
        "priors.autoregressive:Autoregressive",
        "a causal transformer over codes, exact",
    ),
    # quantizers
    (
        "quantizer",
        "vector",
        "quantizers:Vector",
        "quantizers.vector:VectorQuantizer",
        "the nearest vector of a learned codebook (VQ)",
    ),
    (
        "quantizer",
        "residual",
        "quantizers:Residual",
        "quantizers.residual:ResidualQuantizer",
        "each codebook quantizes what the ones before it left (RVQ)",
    ),
    (
        "quantizer",
        "finite_scalar",
        "quantizers:FiniteScalar",
        "quantizers.finite_scalar:FiniteScalarQuantizer",
        "every number of a latent is rounded by itself (FSQ)",
    ),
    # objectives
    (
        "loss",
        "elbo",
        "objectives:Elbo",
        "objectives.elbo:Elbo",
        "the evidence lower bound: weighted, annealed, with free bits or a capacity",
    ),
    (
        "loss",
        "beta",
        "objectives:Beta",
        "objectives.elbo:beta",
        "beta-VAE: a heavier KL, or one held at a capacity that grows",
    ),
    (
        "loss",
        "beta_tc",
        "objectives:BetaTc",
        "objectives.beta_tc:BetaTc",
        "the KL in three parts, the total correlation the heaviest",
    ),
    (
        "loss",
        "dip",
        "objectives:Dip",
        "objectives.dip:Dip",
        "the covariance of latents is to be the identity",
    ),
    (
        "loss",
        "factor",
        "objectives:Factor",
        "objectives.factor:Factor",
        "a total correlation that a judge of latents tells",
    ),
    (
        "loss",
        "info",
        "objectives:Info",
        "objectives.mmd:info",
        "InfoVAE: less of the KL, and an MMD to the prior",
    ),
    (
        "loss",
        "mmd",
        "objectives:Mmd",
        "objectives.mmd:Mmd",
        "Wasserstein auto-encoder: the MMD of latents to the prior",
    ),
    (
        "loss",
        "sliced",
        "objectives:Sliced",
        "objectives.sliced:Sliced",
        "the sliced Wasserstein distance of latents to the prior",
    ),
    (
        "loss",
        "iwae",
        "objectives:Iwae",
        "objectives.iwae:Iwae",
        "the importance-weighted bound of several draws: plain, STL, DReG; MIWAE",
    ),
    (
        "loss",
        "gan",
        "objectives:Gan",
        "objectives.gan:Gan",
        "VAE-GAN: a judge of data looks at reconstructions",
    ),
    (
        "loss",
        "combined",
        "objectives:Combined",
        "objectives.combined:Combined",
        "several objectives on one pass",
    ),
    # models
    (
        "model",
        "quantized",
        "models:Quantized",
        "models.quantized:QuantizedModel",
        "an auto-encoder through codes of a finite set: the VQ-VAE and its kin",
    ),
    # metrics
    (
        "metric",
        "nll",
        "metrics:Nll",
        "metrics.likelihood:Nll",
        "-log p(x) by importance sampling, with its effective sample size",
    ),
    (
        "metric",
        "latents",
        "metrics:Latents",
        "metrics.latents:Latents",
        "active units, KL per dimension, mutual information",
    ),
    (
        "metric",
        "disentanglement",
        "metrics:Disentanglement",
        "metrics.factors:Disentanglement",
        "MIG and the FactorVAE score",
    ),
    (
        "metric",
        "reconstruction",
        "metrics:Reconstruction",
        "metrics.reconstruction:Reconstruction",
        "mean squared error, PSNR and SSIM",
    ),
    # importers
    (
        "importer",
        "pytorch_vae",
        "importers:PytorchVae",
        "importers.pytorch_vae:PytorchVaeImporter",
        "checkpoints of PyTorch-VAE: VanillaVAE, ConditionalVAE and what shares their networks",
    ),
    (
        "importer",
        "pythae",
        "importers:Pythae",
        "importers.pythae:PythaeImporter",
        "folders of pythae with its default networks",
    ),
]

COMPONENTS = [_component(*row) for row in _PARTS]


@hookimpl
def corekit_components() -> list[Component]:
    """The components of this package."""
    return COMPONENTS
