"""Specs of this package: no torch."""
