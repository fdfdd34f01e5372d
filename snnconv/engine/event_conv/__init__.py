"""Convolutions of spikes by events."""
