"""Conversion methods side by side: presets, the grid of methods and T, what is worth its cost."""
