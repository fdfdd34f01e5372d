"""Data sets: one file for each, whose ``DATASET`` loads it. ``snnconv ls datasets`` lists them."""
