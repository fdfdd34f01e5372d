"""Spiking neurons: a file each, ``NEURON`` in it. ``snnconv ls neurons`` lists them."""
