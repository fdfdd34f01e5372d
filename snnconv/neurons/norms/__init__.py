"""Normalizations of a training: a file for each, and what they are (``base``)."""
