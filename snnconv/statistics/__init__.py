"""Ways to find a threshold: a file each, ``STATISTIC`` in it. ``snnconv ls statistics`` lists them."""
