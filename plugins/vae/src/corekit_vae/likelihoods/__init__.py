"""Likelihoods: the distribution of data, given what a decoder's network says."""
