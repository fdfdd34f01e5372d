"""The bounds of numbers that users give in options, parameters and files."""

SEED = 2**63 - 1
"""The largest seed that torch takes with a sign."""

COUNT = 2**31 - 1
"""The largest number of samples, epochs or parts."""

STEPS = 2**16
"""The largest T: reports have a row for each step."""

LEVELS = 2**15 - 1
"""The largest L: a count of spikes fits 16 bits."""

SIDE = 4096
"""The largest side of an image that is scaled, in pixels."""

THREADS = 1024
"""The most threads."""

SMALLEST, LARGEST = 1e-30, 1e30
"""Magnitudes of a number that is not 0: its square root, ratios and sums stay within float32."""

NAME = 255
"""The most bytes that a file's name may have on the file systems in use."""

DEPTH = 100
"""The deepest that JSON may be nested: the functions that walk through it are recursive."""
