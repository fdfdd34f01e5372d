"""Thresholds from activation statistics."""
