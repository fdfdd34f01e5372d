"""Metrics: one file for each, which assigns ``METRIC``. ``snnconv ls metrics`` lists them."""
