"""Posterior heads: from the features of an encoder to a distribution over latents."""
