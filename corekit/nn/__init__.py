"""Floor 4: small networks that two packages need."""
