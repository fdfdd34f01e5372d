"""Formats that networks are exported to: a file each, ``EXPORT`` in it; ``snnconv ls exports``."""
