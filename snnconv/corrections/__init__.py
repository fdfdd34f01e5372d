"""What changes a converted network after calibration, without labels: a file a correction."""
