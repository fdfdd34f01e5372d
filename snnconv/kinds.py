"""The kinds of checkpoint, and the file each has in a run folder."""

from typing import Literal

Kind = Literal["ann", "calibrated", "converted", "trained", "finetuned", "reparameterized"]

SPIKING: tuple[Kind, ...] = ("converted", "trained", "finetuned", "reparameterized")
"""Kinds that have neurons."""


def file_name(kind: Kind) -> str:
    """The checkpoint's name in a run folder."""
    return f"{kind}.safetensors"
