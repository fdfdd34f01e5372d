"""Ways to find a threshold: a file each, with ``STATISTIC`` in it (``snnconv ls statistics``)."""
