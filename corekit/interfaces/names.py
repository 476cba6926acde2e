"""Names that several interfaces share."""

MAIN = "main"
"""The phase that every model has: held-out data are scored by its loss."""
