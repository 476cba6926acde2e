"""What a latent model minimises: named, weighted terms on one pass through its parts."""
