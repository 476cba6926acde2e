"""Data sets, and what feeds them to a model."""
