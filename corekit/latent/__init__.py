"""Floor 4: encoder, prior and decoder composed into one model."""
