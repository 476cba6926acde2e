"""What this package offers: objectives, whole models, metrics and importers."""

TRAINING = [
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
