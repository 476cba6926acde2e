"""Gaussian diffusion: the process, its schedules, samplers and densities. Written once, public."""
