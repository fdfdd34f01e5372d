"""A network over time: neurons at sites, the simulation, and networks from checkpoints."""
