"""The components of core itself. Names without a dot; strings only, nothing is imported."""

from __future__ import annotations

from corekit.registry.declaration import Component


def _component(
    kind: str, name: str, spec: str, target: str, summary: str, conformance: str | None = None
) -> Component:
    return Component(
        kind,
        name,
        spec=f"corekit.spec.{spec}",
        target=f"corekit.{target}",
        summary=summary,
        conformance=conformance and f"corekit.testing.core:{conformance}",
    )


COMPONENTS = [
    # models
    _component(
        "model",
        "flow",
        "flows:FlowModelSpec",
        "flows.model:FlowModel",
        "a normalizing flow over the data",
        "FLOW",
    ),
    _component(
        "model",
        "diffusion",
        "diffusion:DiffusionModelSpec",
        "diffusion.model:DiffusionModel",
        "a denoising diffusion model of the data",
        "DIFFUSION",
    ),
    _component(
        "model",
        "latent",
        "latent:LatentModelSpec",
        "latent.model:LatentModel",
        "a variational auto-encoder of any encoder, prior and decoder",
        "LATENT",
    ),
    # bijectors
    _component(
        "bijector", "chain", "flows:ChainSpec", "flows.compose:Chain", "bijectors one after another"
    ),
    _component(
        "bijector",
        "inverse",
        "flows:InverseSpec",
        "flows.compose:Inverse",
        "a bijector run backwards",
    ),
    _component(
        "bijector",
        "repeat",
        "flows:RepeatSpec",
        "flows.compose:Repeat",
        "the same bijectors again and again, each with its own weights",
        "REPEAT",
    ),
    _component(
        "bijector",
        "linear",
        "flows:LinearSpec",
        "flows.linear:Linear",
        "an invertible matrix over the features",
        "LINEAR",
    ),
    # priors
    _component(
        "prior",
        "normal",
        "flows:NormalSpec",
        "flows.prior:StandardNormal",
        "the standard normal distribution",
    ),
    _component(
        "prior",
        "flow",
        "flows:FlowPriorSpec",
        "flows.prior:FlowPrior",
        "a normalizing flow with an exact density",
        "FLOW",
    ),
    _component(
        "prior",
        "diffusion",
        "diffusion:DiffusionPriorSpec",
        "diffusion.density:DiffusionPrior",
        "a diffusion model of the latents",
        "DIFFUSION",
    ),
    # decoders
    _component(
        "decoder",
        "diffusion",
        "diffusion:DiffusionDecoderSpec",
        "diffusion.density:DiffusionDecoder",
        "a diffusion model conditioned on the latent",
        "DIFFUSION",
    ),
    _component(
        "decoder",
        "gaussian",
        "latent:GaussianDecoderSpec",
        "latent.decoders:GaussianDecoder",
        "a network that gives the mean of a Gaussian",
        "GAUSSIAN_DECODER",
    ),
    # diffusion
    _component(
        "timestep_sampler",
        "uniform",
        "diffusion:UniformSpec",
        "diffusion.timesteps:Uniform",
        "every timestep equally often",
    ),
    _component(
        "sampler",
        "ancestral",
        "diffusion:AncestralSpec",
        "diffusion.samplers:Ancestral",
        "one draw from the posterior per step (DDPM)",
        "ANCESTRAL",
    ),
    _component(
        "sampler",
        "ddim",
        "diffusion:DdimSpec",
        "diffusion.samplers:Ddim",
        "few steps, deterministic at eta = 0 (DDIM)",
        "DDIM",
    ),
    # losses
    _component(
        "loss",
        "weighted_elbo",
        "latent:WeightedElboSpec",
        "latent.elbo:WeightedElbo",
        "reconstruction plus weighted KL divergence, in nats",
        "WEIGHTED_ELBO",
    ),
    # training
    _component(
        "optimizer",
        "adam",
        "optimizers:AdamSpec",
        "train.optimizers:adam",
        "Adam; weight decay is added to the gradient",
    ),
    _component(
        "optimizer",
        "adamw",
        "optimizers:AdamWSpec",
        "train.optimizers:adamw",
        "Adam with decoupled weight decay",
    ),
    _component(
        "optimizer",
        "adamax",
        "optimizers:AdamaxSpec",
        "train.optimizers:adamax",
        "Adam with the infinity norm: steps are bounded",
    ),
    _component(
        "optimizer",
        "sgd",
        "optimizers:SgdSpec",
        "train.optimizers:sgd",
        "stochastic gradient descent, with momentum if asked",
    ),
    _component(
        "lr_schedule",
        "constant",
        "lr_schedules:ConstantSpec",
        "train.lr_schedules:constant",
        "the same learning rate throughout, after an optional warm-up",
    ),
    _component(
        "lr_schedule",
        "linear_decay",
        "lr_schedules:LinearDecaySpec",
        "train.lr_schedules:linear_decay",
        "constant, then linear down to a last value, then constant",
    ),
    _component(
        "lr_schedule",
        "linear",
        "lr_schedules:LinearSpec",
        "train.lr_schedules:linear",
        "linear down to a last value, after an optional warm-up",
    ),
    _component(
        "lr_schedule",
        "cosine",
        "lr_schedules:CosineSpec",
        "train.lr_schedules:cosine",
        "half a cosine down to a last value, after an optional warm-up",
    ),
    _component(
        "lr_schedule",
        "noam",
        "lr_schedules:NoamSpec",
        "train.lr_schedules:noam",
        "a warm-up, then one over the square root of the step",
    ),
    _component(
        "lr_schedule",
        "step",
        "lr_schedules:StepSpec",
        "train.lr_schedules:step",
        "multiplied by a factor every so many steps",
    ),
    _component(
        "callback",
        "stop_when",
        "callbacks:StopWhenSpec",
        "train.stop_when:StopWhen",
        "stops a run when a held-out figure no longer improves",
    ),
    # data
    _component(
        "dataset",
        "shapes3d",
        "data:Shapes3dSpec",
        "data.shapes3d:Shapes3d",
        "point clouds of shapes that corekit draws itself; no file needed",
        "SHAPES3D",
    ),
    _component(
        "dataset",
        "toy2d",
        "data:Toy2dSpec",
        "data.toy2d:Toy2d",
        "points in the plane from a classic density: moons, rings, …; no file needed",
    ),
    _component(
        "dataset",
        "image_folder",
        "data_files:ImageFolderSpec",
        "data.image_folder:ImageFolder",
        "image files in a folder and its sub-folders",
        "IMAGE_FOLDER",
    ),
    _component(
        "dataset",
        "arrays",
        "data_files:ArraysSpec",
        "data.arrays:Arrays",
        "rows of an array of an .npz, .npy or .h5 file",
        "ARRAYS",
    ),
    _component(
        "dataset",
        "idx",
        "data_files:IdxSpec",
        "data.idx:Idx",
        "images of idx files, like those of MNIST",
        "IDX",
    ),
    _component(
        "dataset",
        "csv",
        "data_files:CsvSpec",
        "data.csv_table:Csv",
        "columns of numbers of a text file",
        "CSV",
    ),
]
