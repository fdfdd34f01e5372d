"""Data that a Python program has: arrays, PyTorch's data sets and loaders, Hugging Face's."""
