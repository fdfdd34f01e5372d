"""The names of networks: one short description, as a label in legends and as a file's name.

>>> network_name("if", {"method": "percentile", "params": {"percentile": 99.9}}, ["convert"]).label
'IF p99.9'
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from snnconv.core.kinds import Kind

_DONE = {"finetune": "fine-tuned", "reparameterize": "reparameterized"}
RATE = "rate"
"""The coding that goes without saying."""
LONGEST = 120
"""Characters of a file's name without its suffix; file systems take 255 bytes."""


@dataclass(frozen=True)
class NetworkName:
    """The name of a network, in parts.

    Attributes:
        neuron: :func:`short`; empty before a conversion.
        thresholds: ``p99.9``, ``max``; empty if there are none, or if they were given.
        channel: whether every channel has a threshold of its own.
        done: what was done to it, in that order: ``fine-tuned``, ``reparameterized``, ``trained``.
        confidence: whether spike confidence acts.
        corrections: the methods of its corrections, in their order.
        coding: :func:`short`; empty for rate coding.
    """

    neuron: str
    thresholds: str
    channel: bool
    done: tuple[str, ...]
    confidence: bool
    corrections: tuple[str, ...] = ()
    coding: str = ""

    @property
    def basis(self) -> str:
        """The thresholds: ``p99.9 channel``."""
        return " ".join([self.thresholds] * bool(self.thresholds) + ["channel"] * self.channel)

    @property
    def label(self) -> str:
        """For legends and tables: ``MSAT p99.9 channel, fine-tuned``."""
        head = " ".join(word for word in (self.neuron.upper(), self.coding, self.basis) if word)
        return ", ".join([head, *self.corrections, *self.done, *["confidence"] * self.confidence])

    def stem(self, head: str, timesteps: int | None = None, samples: int | None = None) -> str:
        """Return a file's name without suffix: ``evaluate-if-p99.9-channel-T16-n360``.

        Args:
            head: the kind of the checkpoint, or ``evaluate``.
            timesteps: T.
            samples: the number of samples of an evaluation.
        """
        done = [word.replace("-", "") for word in self.done]
        words = [head, self.neuron, self.coding, *self.basis.split(), *self.corrections]
        words += [word for word in done if word != head]
        words += ["confidence"] * self.confidence
        words += [f"T{timesteps}"] if timesteps is not None else []
        words += [f"n{samples}"] if samples is not None else []
        return _safe("-".join(word for word in words if word))


def short(method: str) -> str:
    """Return a method's name without its file or module: ``Mine`` for ``file.py:Mine``."""
    return method.rpartition(":")[2]


def network_name(
    neuron: str,
    calibration: Mapping[str, Any],
    stages: Iterable[str],
    confidence: bool = False,
    corrections: Iterable[str] = (),
    coding: str = RATE,
) -> NetworkName:
    """Return the description of a network.

    Args:
        neuron: as ``--neuron`` takes it; empty before a conversion.
        calibration: ``method``, ``params`` and ``granularity`` of the thresholds; empty before.
        stages: the stages that made it, first to last.
        confidence: whether spike confidence acts.
        corrections: the methods of its corrections, in their order.
        coding: as ``--coding`` takes it.
    """
    method = short(str(calibration.get("method") or ""))
    percentile = (calibration.get("params") or {}).get("percentile")
    if method == "percentile" and isinstance(percentile, int | float):
        method = f"p{percentile:.6g}"
    done = dict.fromkeys(_DONE[stage] for stage in stages if stage in _DONE)
    if method == "given":  # thresholds are given only where neurons are trained from scratch
        method, done = "", {"trained": None} | done
    channel = calibration.get("granularity") == "channel"
    named = tuple(map(short, corrections))
    coded = "" if coding == RATE else short(coding)
    return NetworkName(short(neuron), method, channel, tuple(done), confidence, named, coded)


def ann_stem(model: str) -> str:
    """Return the name of a trained ANN's file: ``ann-resnet20-pool=max``."""
    return _safe(f"ann-{model.rsplit('/', 1)[-1] or 'network'}")


def origin(configs: Iterable[Mapping[str, Any]]) -> str:
    """Return the name of the original model, from the first stage that names it."""
    return next((str(config["model"]) for config in configs if config.get("model")), "network")


def last_epoch(stem: str) -> str:
    """Return the file name of the last epoch, which is in the folder of the best one."""
    return f"{stem}-last"


def is_last_epoch(stem: str) -> bool:
    """Return whether :func:`last_epoch` has given this name."""
    return stem.endswith("-last")


def file_name(kind: Kind) -> str:
    """Return the checkpoint's name in a run folder."""
    return f"{kind}.safetensors"


def patterns(kinds: Iterable[Kind]) -> list[str]:
    """Return which file names checkpoints of these kinds have."""
    return [pattern for kind in kinds for pattern in (file_name(kind), f"{kind}-*.safetensors")]


def _safe(text: str) -> str:
    """Return text without characters that a file system or a shell treats specially."""
    return re.sub(r"[^\w.=+-]+", "-", text, flags=re.ASCII).strip("-.")[:LONGEST]
