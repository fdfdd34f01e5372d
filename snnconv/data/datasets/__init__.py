"""Data sets: a file each, ``DATASET`` in it loads one. ``snnconv ls datasets`` lists them."""
