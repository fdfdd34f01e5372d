"""The kinds of checkpoint: which stage writes each, and which stages read it."""

from typing import Literal, get_args

Kind = Literal[
    "ann", "calibrated", "converted", "corrected", "trained", "finetuned", "reparameterized"
]

KINDS: tuple[Kind, ...] = get_args(Kind)

WRITTEN_BY: dict[Kind, str] = {
    "ann": "train",
    "calibrated": "calibrate",
    "converted": "convert",
    "corrected": "correct",
    "trained": "train",
    "finetuned": "finetune",
    "reparameterized": "reparameterize",
}
"""The stage that writes a kind. ``train`` writes ``calibrated``, too, if its activation is QCFS."""

SPIKING: tuple[Kind, ...] = (
    "converted",
    "corrected",
    "trained",
    "finetuned",
    "reparameterized",
)
"""Kinds that have neurons."""

READS: dict[str, tuple[Kind, ...]] = {
    "calibrate": ("ann",),
    "convert": ("calibrated",),
    "correct": ("converted", "corrected"),
    "finetune": ("converted", "corrected", "trained"),
    "reparameterize": ("converted", "corrected", "trained", "finetuned"),
    "evaluate": SPIKING,
    "predict": SPIKING,
    "trace": SPIKING,
    "export": SPIKING,
    "fit": SPIKING,
}
"""What each stage reads: the newest of these kinds, if no checkpoint is named."""


def written_by(stage: str) -> Kind | None:
    """Return the one kind that a stage writes; None for ``train``, whose options decide which."""
    if stage == "train":
        return None
    return next((kind for kind in KINDS if WRITTEN_BY[kind] == stage), None)
