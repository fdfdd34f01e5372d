"""What is measured: a converted network, with the images it is shown.

Rates decide what events cost, so they come from a trained network where there is one: a checkpoint
that is named, or ResNet-20 of ``docs/results`` on Fashion-MNIST. Else weights are random, He's,
with BatchNorm's statistics of real images, and the report says so.
"""

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconv.calibration.calibrate import Method, calibrate
from snnconv.calibration.histogram import STATISTICS
from snnconv.checkpoint import Checkpoint, load, save
from snnconv.core.metadata import SpikingInfo
from snnconv.core.validation import parameters, parse_pairs
from snnconv.data.dataset import Dataset, Drawn, batches, load_dataset
from snnconv.data.split import ArraySplit, Split
from snnconv.errors import UsageError
from snnconv.frontends.open import from_module
from snnconv.neurons.base import NEURONS
from snnconv.zoo import ZOO

_TRAINED = Path(__file__).parents[2] / "docs" / "results" / "resnet20" / "ann.safetensors"
_LARGE = ("vgg", "resnet")  # for images of 28 pixels and more
_SEEN = 256  # training images that thresholds, and random networks' statistics, are found on


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        checkpoint: converted.
        x: images ``[B, C, H, W]``, normalised.
        labels: ``[B]``.
        weights: where they come from.
    """

    checkpoint: Checkpoint
    x: Tensor
    labels: Tensor
    weights: str

    @property
    def timesteps(self) -> int:
        """T."""
        assert self.checkpoint.spiking is not None
        return self.checkpoint.spiking.timesteps

    def save(self, file: Path) -> None:
        """For another process."""
        save(self.checkpoint, file)


def subject(options: argparse.Namespace) -> Subject:
    """What the options name."""
    if options.converted is not None:  # by a process that has made it already
        checkpoint = load(options.converted, ["converted"])
        dataset, weights = _data(checkpoint.data.spec, options.network), "as given"
    else:
        ann, dataset, weights = _trained(options) or _random(options)
        checkpoint = _converted(ann, dataset, options)
    _, x, labels = next(
        batches(dataset.test, checkpoint.data, torch.arange(options.batch), options.batch)
    )
    return Subject(checkpoint, x, labels, weights)


def _trained(options: argparse.Namespace) -> tuple[Checkpoint, Dataset, str] | None:
    file = options.checkpoint
    if file is None and options.network == "resnet20" and options.data in (None, "fashion-mnist"):
        file = _TRAINED if _installed() else None
    if file is None:
        return None
    ann = load(file, ["ann"])
    name = os.path.relpath(file)
    return ann, _data(ann.data.spec, options.network), f"trained: {name}"


def _random(options: argparse.Namespace) -> tuple[Checkpoint, Dataset, str]:
    dataset = _data(options.data, options.network)
    info = dataset.info
    torch.manual_seed(0)
    module = ZOO[options.network](
        channels=info.shape[0], size=info.shape[-1], classes=len(info.classes)
    )
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None  # statistics are those of all images seen
    with torch.no_grad():
        for _, x, _ in _seen(dataset.train, dataset):
            module.train()(x)
    opened = from_module(module.eval(), info)
    return opened.network, dataset, "random, with BatchNorm's statistics of real images"


def _seen(split: Split, dataset: Dataset) -> list[Drawn]:
    return list(batches(split, dataset.info, torch.arange(_SEEN), 64))


def _installed() -> bool:
    try:
        load_dataset("fashion-mnist")
    except UsageError:
        return False
    return True


def _data(spec: str | None, network: str) -> Dataset:
    spec = spec or ("fashion-mnist" if _installed() else "digits")
    dataset = load_dataset(spec)
    if spec != "digits" or not network.startswith(_LARGE):
        return dataset
    scaled = dataset.info.model_copy(update={"shape": (1, 32, 32)})
    return Dataset(scaled, _larger(dataset.train), _larger(dataset.test))


def _larger(split: Split) -> Split:
    images = split.images(torch.arange(len(split.labels)))
    return ArraySplit(F.interpolate(images, scale_factor=4.0, mode="bilinear"), split.labels, 1.0)


def _converted(ann: Checkpoint, dataset: Dataset, options: argparse.Namespace) -> Checkpoint:
    statistic = STATISTICS.load("percentile")
    method = Method("percentile", statistic, statistic.params(), "layer")
    found = calibrate(ann, method, lambda: _seen(dataset.train, dataset), torch.device("cpu"))
    params = parameters(
        NEURONS.load(options.neuron).params_type,
        parse_pairs(options.param),
        f"neuron '{options.neuron}'",
    )
    facts = SpikingInfo(
        neuron=options.neuron, params=params.model_dump(), timesteps=options.timesteps, seed=0
    )
    return replace(found, kind="converted", spiking=facts)
