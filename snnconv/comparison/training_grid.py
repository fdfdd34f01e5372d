"""The grid of a comparison of training methods: the stages that give a method's network at T.

A method is a training preset. One with options of ``train`` trains the user's network from scratch.
One with options of ``finetune`` alone takes an ANN: the user's checkpoint, or one that is trained
under the same budget first. Epochs, batches, augmentation and samples are the budget's for all; the
rest, such as learning rate and optimiser, is the method's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from snnconv.comparison import grid
from snnconv.config import CompareConfig
from snnconv.config.comparison import BudgetConfig
from snnconv.config.presets import TrainingPreset
from snnconv.errors import UsageError
from snnconv.frontends.open import is_checkpoint

METRICS = ("accuracy", "scores", "firing-rate", "synops", "events", "energy")
MODEL = "cnn"
"""What is trained if the user names no network, as in ``train``."""
_OWN = {"methods", "timesteps", "samples", "limit", "csv", "out", "run", "model", "batch_size"}
_OWN |= BudgetConfig.model_fields.keys() - {"device", "threads"}


class Key(NamedTuple):
    """A training: a method at T with one seed."""

    method: str
    timesteps: int
    seed: int

    @property
    def stem(self) -> str:
        """What its files are called."""
        return f"{grid.cell(self.method, self.timesteps)}-s{self.seed}"


@dataclass(frozen=True)
class Training:
    """The stages of a training.

    Attributes:
        shared: stages before it, which other trainings share.
        own: the stages after them; the last trains, and the evaluation follows.
    """

    shared: grid.Plan
    own: grid.Plan


def trains(preset: TrainingPreset, model: str) -> str:
    """Return the stage by which a method trains a network: ``train`` or ``finetune``."""
    return "finetune" if is_checkpoint(model) or not preset.train else "train"


def network(preset: TrainingPreset, model: str) -> str:
    """Return the user's network with the blocks that a method asks for.

    >>> sew = TrainingPreset(title="", reference="", train={"model": "resnet18?block=sew"})
    >>> network(sew, "resnet20?pool=max")
    'resnet20?pool=max&block=sew'
    """
    _, _, options = str(preset.train.get("model", "")).partition("?")
    if not options:
        return model
    return f"{model}{'&' if '?' in model else '?'}{options}"


def plan(config: CompareConfig, preset: TrainingPreset, key: Key) -> Training:
    """Return the stages of one training, in their order, each with its options.

    Args:
        config: the options of the comparison; those for data, memory and the like go to every
            stage.
        preset: the method.
        key: its name, T and seed.

    Raises:
        UsageError: the preset has an option that its stage does not have, a value out of range, or
            trains from scratch where the user gives a trained network.
    """
    folder, model = config.run / "compare-training", config.model or MODEL
    common = grid.given(config, type(config).model_fields.keys() - _OWN)
    common |= {"run": folder, "seed": key.seed}
    stage = trains(preset, model)
    if stage == "finetune" and not preset.finetune:
        raise UsageError(
            f"the preset '{key.method}' trains from scratch",
            f"the checkpoint {model}",
            "name a network of the zoo (snnconv ls models), or leave the preset out",
        )
    budget: dict[str, Any] = {
        "epochs": config.epochs,
        "batch_size": config.train_batch_size,
        "augment": config.augment,
        "limit": config.train_limit,
        "validation": config.validation,
        "resume": True,
    }
    T, file = key.timesteps, folder / f"{key.stem}-{stage}.safetensors"
    trained = {**budget, "timesteps": T, "step_memory": True, "out": file}
    shared: grid.Plan = []
    own: grid.Plan = []

    def add(stages: grid.Plan, name: str, *tables: Mapping[str, Any]) -> None:
        put = {option: value for table in tables for option, value in table.items()}
        stages.append((name, grid.options(name, common, key.method, put)))

    if stage == "train":
        add(own, "train", preset.train, trained, {"model": network(preset, model)})
    else:
        ann = Path(model)
        if not is_checkpoint(model):
            ann = folder / f"ann-s{key.seed}.safetensors"
            add(shared, "train", budget, {"model": model, "out": ann})
        calibrated = folder / f"calibrated-s{key.seed}.safetensors"
        add(shared, "calibrate", {"model": str(ann), "samples": config.samples, "out": calibrated})
        start = folder / f"{key.stem}-convert.safetensors"
        add(own, "convert", {"checkpoint": calibrated, "timesteps": T, "out": start})
        add(own, "finetune", preset.finetune, trained, {"checkpoint": start})
    measured = {"checkpoint": file, "limit": config.limit, "batch_size": config.batch_size}
    out = folder / f"{key.stem}.json"
    # all networks on the same test samples, whatever their own seeds
    add(own, "evaluate", measured, {"metric": METRICS, "out": out, "seed": config.seed})
    return Training(shared, own)
