"""Whether a network fits a chip, by the chip's published figures."""
