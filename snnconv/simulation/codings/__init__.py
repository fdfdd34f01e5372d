"""Codings: what a spike says of the value that its neuron sends. One file a coding."""
