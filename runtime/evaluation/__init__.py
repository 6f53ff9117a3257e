"""Measuring a dataset, and a model trained on it, against the bounds that a recipe sets."""
