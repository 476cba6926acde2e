"""A spec of a latent model whose parts are toys."""

GOOD = """\
version: 1
model:
  type: latent
  encoder: {type: toy.net, latent_dim: 256}
  prior:
    type: flow
    bijector: {type: repeat, times: 2, of: linear}
  decoder:
    type: diffusion
    denoiser: toy.denoiser
    schedule: {type: toy.linear, steps: 200}
    loss: toy.mse
  loss: {type: weighted_elbo, kl_weight: 1e-3}
data: shapes3d
train: {steps: 1e4, optimizer: {type: adam, lr: 2e-3}}
"""
