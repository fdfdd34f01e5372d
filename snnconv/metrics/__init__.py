"""What an evaluation measures: a file each, ``METRIC`` in it. ``snnconv ls metrics`` lists them."""
