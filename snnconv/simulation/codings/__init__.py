"""Codings: what a spike says about the value that its neuron sends. One file for each."""
