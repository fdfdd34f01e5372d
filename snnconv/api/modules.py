"""A live module as a checkpoint; the module is not changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from torch import nn

from snnconv.config import CalibrateConfig
from snnconv.core.metadata import DataInfo, LineageStep
from snnconv.data.dataset import load_dataset
from snnconv.frontends.open import from_module
from snnconv.stages import run_folder
from snnconv.stages.session import form, normalisation


def written(module: nn.Module, config: CalibrateConfig) -> Path:
    """Write a live module into the run folder, and return the checkpoint's file."""
    info = _info(config)
    origin = LineageStep(stage="import", parent=None, config={"model": type(module).__name__})
    with modes_kept(module):
        ann, _ = from_module(module, info, config.takes_functions, config.output)
    _, file = run_folder.save(replace(ann, lineage=(origin,)), config.run, out=None)
    return file


def _info(config: CalibrateConfig) -> DataInfo:
    given = normalisation(config)
    data = config.data or "digits"
    where = (data, config.data_root, config.download)
    return load_dataset(*where, given=given, form=form(config), task=config.task).info


@contextmanager
def modes_kept(module: nn.Module) -> Iterator[None]:
    """Give every part of a module its own mode back; a frozen layer has another than its parent."""
    before = {part: part.training for part in module.modules()}
    try:
        yield
    finally:
        for part, training in before.items():
            part.training = training
