"""The kinds of checkpoint, and the file each has in a run folder."""

from typing import Literal

Kind = Literal["ann", "calibrated", "converted", "trained", "finetuned", "reparameterized"]

SPIKING: tuple[Kind, ...] = ("converted", "trained", "finetuned", "reparameterized")
"""Kinds that have neurons."""


READS: dict[str, tuple[Kind, ...]] = {
    "calibrate": ("ann",),
    "convert": ("calibrated",),
    "finetune": ("converted", "trained"),
    "reparameterize": ("converted", "trained", "finetuned"),
    "evaluate": SPIKING,
}
"""What each stage reads: the newest of these kinds, if no checkpoint is named."""


def file_name(kind: Kind) -> str:
    """The checkpoint's name in a run folder."""
    return f"{kind}.safetensors"
