"""Priors over latents."""
