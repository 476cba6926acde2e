"""What this package offers: posteriors, priors and quantizers."""

LATENTS = [
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
]
