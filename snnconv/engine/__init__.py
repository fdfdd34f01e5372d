"""How simulation and training are made fast: the same spikes, in less time."""
