"""Neurons as compiled scans over time, forward and backward."""
