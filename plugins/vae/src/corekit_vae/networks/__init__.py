"""Networks of encoders and decoders."""
