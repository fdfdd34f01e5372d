"""How simulation is made fast. The rest of the package does not know it: same spikes, less time."""
