"""Data sets: where they are, what they are, and what a time step shows of them."""
