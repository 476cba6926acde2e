"""Figures that compare samples with data."""
