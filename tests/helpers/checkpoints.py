"""A checkpoint of every kind, for tests."""

from dataclasses import replace

import pytest
import safetensors
import torch
from torch import nn

from snnconv.checkpoint import Checkpoint, load, save
from snnconv.checkpoint.file import intact, sealed, unsealed
from snnconv.core.metadata import (
    CalibrationInfo,
    ConfidenceInfo,
    CorrectionInfo,
    DataInfo,
    LineageStep,
    SiteStats,
    SpikingInfo,
)
from snnconv.errors import CheckpointError, ExitCode
from snnconv.frontends.torch.capture import capture


def ann():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(3, 4),
        nn.ReLU6(),
        nn.Linear(4, 2),
    )
    graph, tensors, _ = capture(module, (1, 4, 4))
    data = DataInfo(spec="digits", shape=(1, 4, 4), classes=("no", "yes"), mean=(0.5,), std=(0.25,))
    return Checkpoint(
        "ann", graph, data, tensors, (LineageStep(stage="train", parent=None, config={"lr": 0.1}),)
    )


def calibrated():
    """Per channel at one site, per layer at the other."""
    site = SiteStats(threshold=1, max=2.5, mean=0.1, zero_share=0.5, clipped_share=0.001)
    return replace(
        ann(),
        kind="calibrated",
        calibrated=CalibrationInfo(
            method="percentile",
            params={"p": 99.9},
            granularity="channel",
            samples=100,
            sites={"2": site, "6": site},
        ),
        calibration={
            "2/threshold": torch.tensor([0.5, 1.0, 1.5]),
            "6/threshold": torch.tensor([6.0]),
            "2/edges": torch.arange(10.0, dtype=torch.float64)[::2],  # not contiguous
            "2/counts": torch.tensor([3.0, 0.0, 2.0, 1.0], dtype=torch.float64),
        },
    )


def spiking(kind="converted"):
    return replace(
        calibrated(),
        kind=kind,
        spiking=SpikingInfo(
            neuron="lm-h",
            params={"v0": 0.25, "leak": 0.75},
            timesteps=8,
            seed=0,
            confidence=ConfidenceInfo(early=4, keep={"6": 0.75}),
        ),
        neurons={
            f"{site}/{name}": torch.tensor([k / 8])
            for k, site in enumerate(("2", "6"))
            for name in ("mu_d", "mu_s", "lambda_s", "lambda_d")
        },
    )


def finetuned():
    before = spiking("finetuned")
    return replace(before, reference={name: t + 1 for name, t in before.network.items()})


def corrected():
    """Two corrections, of every part."""
    made = CorrectionInfo(method="bias", params={}, samples=10, timesteps=8)
    return replace(
        spiking("corrected"),
        corrected=(made, made.model_copy(update={"method": "mine.py:Mine", "timesteps": None})),
        corrections={
            "1/current/2": torch.tensor([0.5, -0.25, 0.0]),
            "1/current/6": torch.ones(8, 4) / 8,
            "1/potential/2": torch.ones(3, 2, 2) / 4,
            "2/amplitude/6": torch.tensor([0.5, -0.5, 0.0, 1.0]),
            "2/weight/5.weight": torch.ones(4, 3) / 8,
        },
    )


MADE = {
    "ann": ann,
    "calibrated": calibrated,
    "converted": spiking,
    "corrected": corrected,
    "trained": lambda: spiking("trained"),
    "finetuned": finetuned,
    "reparameterized": lambda: spiking("reparameterized"),
}


def contents(file):
    with safetensors.safe_open(file, framework="pt") as handle:
        return handle.metadata(), {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118


def rewritten(file, checkpoint, change):
    """Save a checkpoint, then change its document and tensors behind the package's back.

    Digests are those of what is there then, as somebody who made the file would write them.
    """
    save(checkpoint, file)
    document, tensors = unsealed(file, "snnconv")
    document = intact(document, tensors)
    change(document, tensors)
    file.write_bytes(b"".join(sealed(document, tensors, "snnconv")))
    return file


def refused(file, expected=None):
    with pytest.raises(CheckpointError) as caught:
        load(file, expected)
    assert caught.value.code == ExitCode.CHECKPOINT
    assert str(file) in caught.value.problem
    return caught.value
