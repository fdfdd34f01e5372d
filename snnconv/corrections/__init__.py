"""Changes to a converted network after calibration, without labels: a file for each correction."""
