"""What a latent model is worth: its likelihood, its latents, its reconstructions."""
