"""How simulation and training are made fast: the rest of the package does not know it."""
