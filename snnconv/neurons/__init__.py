"""Neurons: one file for each, which assigns ``NEURON``. ``snnconv ls neurons`` lists them."""
