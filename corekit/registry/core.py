"""The components of core itself. Names without a dot; strings only, nothing is imported."""

from __future__ import annotations

from corekit.registry.core_data import DATA
from corekit.registry.core_flows import FLOWS, of_core
from corekit.registry.core_samplers import SAMPLERS

COMPONENTS = [
    # models
    of_core(
        "model",
        "flow",
        "flows:FlowModelSpec",
        "flows.model:FlowModel",
        "a normalizing flow over the data",
        "FLOW",
    ),
    of_core(
        "model",
        "diffusion",
        "diffusion:DiffusionModelSpec",
        "diffusion.model:DiffusionModel",
        "a denoising diffusion model of the data",
        "DIFFUSION",
    ),
    of_core(
        "model",
        "latent",
        "latent:LatentModelSpec",
        "latent.model:LatentModel",
        "a variational auto-encoder of any encoder, prior and decoder",
        "LATENT",
    ),
    *FLOWS,
    # priors
    of_core(
        "prior",
        "normal",
        "flows:NormalSpec",
        "flows.prior:StandardNormal",
        "the standard normal distribution",
    ),
    of_core(
        "prior",
        "flow",
        "flows:FlowPriorSpec",
        "flows.prior:FlowPrior",
        "a normalizing flow with an exact density",
        "FLOW",
    ),
    of_core(
        "prior",
        "diffusion",
        "diffusion:DiffusionPriorSpec",
        "diffusion.prior:DiffusionPrior",
        "a diffusion model of the latents",
        "DIFFUSION",
    ),
    # decoders
    of_core(
        "decoder",
        "diffusion",
        "diffusion:DiffusionDecoderSpec",
        "diffusion.density:DiffusionDecoder",
        "a diffusion model conditioned on the latent",
        "DIFFUSION",
    ),
    of_core(
        "decoder",
        "gaussian",
        "latent:GaussianDecoderSpec",
        "latent.decoders:GaussianDecoder",
        "a network that gives the mean of a Gaussian",
        "GAUSSIAN_DECODER",
    ),
    # diffusion
    of_core(
        "timestep_sampler",
        "uniform",
        "diffusion:UniformSpec",
        "diffusion.timesteps:Uniform",
        "every timestep equally often",
    ),
    *SAMPLERS,
    # losses
    of_core(
        "loss",
        "weighted_elbo",
        "latent:WeightedElboSpec",
        "latent.elbo:WeightedElbo",
        "reconstruction plus weighted KL divergence, in nats",
        "WEIGHTED_ELBO",
    ),
    # training
    of_core(
        "optimizer",
        "adam",
        "optimizers:AdamSpec",
        "train.optimizers:adam",
        "Adam; weight decay is added to the gradient",
    ),
    of_core(
        "optimizer",
        "adamw",
        "optimizers:AdamWSpec",
        "train.optimizers:adamw",
        "Adam with decoupled weight decay",
    ),
    of_core(
        "optimizer",
        "adamax",
        "optimizers:AdamaxSpec",
        "train.optimizers:adamax",
        "Adam with the infinity norm: steps are bounded",
    ),
    of_core(
        "optimizer",
        "sgd",
        "optimizers:SgdSpec",
        "train.optimizers:sgd",
        "stochastic gradient descent, with momentum if asked",
    ),
    of_core(
        "lr_schedule",
        "constant",
        "lr_schedules:ConstantSpec",
        "train.lr_schedules:constant",
        "the same learning rate throughout, after an optional warm-up",
    ),
    of_core(
        "lr_schedule",
        "linear_decay",
        "lr_schedules:LinearDecaySpec",
        "train.lr_schedules:linear_decay",
        "constant, then linear down to a last value, then constant",
    ),
    of_core(
        "lr_schedule",
        "linear",
        "lr_schedules:LinearSpec",
        "train.lr_schedules:linear",
        "linear down to a last value, after an optional warm-up",
    ),
    of_core(
        "lr_schedule",
        "cosine",
        "lr_schedules:CosineSpec",
        "train.lr_schedules:cosine",
        "half a cosine down to a last value, after an optional warm-up",
    ),
    of_core(
        "lr_schedule",
        "noam",
        "lr_schedules:NoamSpec",
        "train.lr_schedules:noam",
        "a warm-up, then one over the square root of the step",
    ),
    of_core(
        "lr_schedule",
        "step",
        "lr_schedules:StepSpec",
        "train.lr_schedules:step",
        "multiplied by a factor every so many steps",
    ),
    of_core(
        "callback",
        "stop_when",
        "callbacks:StopWhenSpec",
        "train.stop_when:StopWhen",
        "stops a run when a held-out figure no longer improves",
    ),
    *DATA,
]
