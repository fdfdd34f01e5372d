"""How simulation and training are made fast. The rest of the package does not know it: same spikes, less time."""
