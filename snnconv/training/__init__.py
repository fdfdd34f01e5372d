"""Training: the loop, what is minimised, its history, and what it goes on from."""
