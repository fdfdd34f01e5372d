"""The options of the Python API, typed; None stands for an option's default.

Made from the models by ``python tests/helpers/typed_options.py``: change those, and run it again.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, TypedDict


class Indexed(Protocol):
    """What gives a sample for an index, as a ``Dataset`` of PyTorch."""

    def __getitem__(self, index: Any, /) -> Any:
        """Return the sample."""


class Splits(Protocol):
    """What has two splits, as a :class:`snnconv.Dataset`."""

    @property
    def train(self) -> Any:
        """To train and calibrate on."""

    @property
    def test(self) -> Any:
        """To measure on."""


Data = Iterable[Any] | Indexed | Splits
"""Data that a program has: see :func:`snnconv.data.objects.held.part_of`."""


class StageOptions(TypedDict, total=False):
    """Options that several commands have."""

    run: str | Path | None
    seed: int | None
    device: str | None
    threads: int | None


class DataOptions(StageOptions, total=False):
    """Options that several commands have."""

    data: Data | str | None
    data_root: str | Path | None
    download: bool | None
    task: str | None
    batch_size: int | None


class OptimiserOptions(DataOptions, total=False):
    """Options that several commands have."""

    preset: str | None
    epochs: int | None
    lr: float | None
    neuron_lr: float | None
    optimiser: Literal["sgd", "adamw"] | None
    momentum: float | None
    nesterov: bool | None
    weight_decay: float | None
    decay_on: list[str] | tuple[str, ...] | None
    ema: float | None
    warmup: float | None
    label_smoothing: float | None
    augment: list[str] | tuple[str, ...] | None
    mix: list[str] | tuple[str, ...] | None
    mix_alpha: float | None
    mixup_alpha: float | None
    cutmix_alpha: float | None
    accumulate: int | None
    clip_gradient: float | None
    bf16: bool | None
    validation: float | None
    limit: int | None
    sync_batchnorm: bool | None
    resume: bool | None
    step_memory: bool | None
    tensorboard: str | Path | None


class NeuronTrainingOptions(OptimiserOptions, total=False):
    """Options that several commands have."""

    loss: str | None
    loss_param: Mapping[str, Any] | None
    slice: int | None
    update: Literal["slice", "batch"] | None
    sample_slices: int | None
    release: int | None
    surrogate: str | None
    surrogate_param: Mapping[str, Any] | None
    norm: str | None
    norm_param: Mapping[str, Any] | None


class NormalisationOptions(DataOptions, total=False):
    """Options that several commands have."""

    mean: float | str | list[float] | tuple[float, ...] | None
    std: float | str | list[float] | tuple[float, ...] | None
    scale: float | None
    size: int | None
    layout: str | None


class TrainOptions(NeuronTrainingOptions, NormalisationOptions, total=False):
    """Options of ``snnconv.train``."""

    output: str | None
    activation: Literal["relu", "qcfs"] | None
    recurrent: Literal["keep", "hard"] | None
    levels: int | None
    theta: float | None
    neuron: str | None
    param: Mapping[str, Any] | None
    timesteps: int | None
    pool: Literal["average", "keep"] | None
    out: str | Path | None


class ModelOptions(DataOptions, total=False):
    """Options that several commands have."""

    weights: str | Path | None
    output: str | None
    non_relu: Literal["refuse", "analog", "spike"] | None
    spike_everything: bool | None
    spike_input: bool | None


class SimulationOptions(DataOptions, total=False):
    """Options that several commands have."""

    engine: Literal["auto", "dense", "event"] | None
    memory: str | None


class CalibrateOptions(ModelOptions, SimulationOptions, NormalisationOptions, total=False):
    """Options of ``snnconv.calibrate``."""

    method: str | None
    param: Mapping[str, Any] | None
    granularity: Literal["layer", "channel"] | None
    samples: int | None
    calibration_data: Data | str | None
    sin: int | None
    sin_samples: int | None
    expect_accuracy: float | None
    out: str | Path | None


class SearchOptions(SimulationOptions, total=False):
    """Options that several commands have."""

    within: float | None
    max_timesteps: int | None
    cost: Literal["energy", "latency", "spikes"] | None
    allow: str | int | list[str] | tuple[str, ...] | None
    methods: str | int | list[str] | tuple[str, ...] | None
    held_out: int | None


class ConvertOptions(SearchOptions, total=False):
    """Options of ``snnconv.convert``."""

    neuron: str | None
    param: Mapping[str, Any] | None
    coding: str | None
    timesteps: int | None
    thresholds: Literal["derived", "as-calibrated"] | None
    granularity: Literal["layer", "channel"] | None
    confidence: str | None
    early: int | None
    confidence_samples: int | None
    out: str | Path | None


class CorrectOptions(SimulationOptions, total=False):
    """Options of ``snnconv.correct``."""

    method: str | None
    param: Mapping[str, Any] | None
    samples: int | None
    remove: str | None
    out: str | Path | None


class FinetuneOptions(NeuronTrainingOptions, total=False):
    """Options of ``snnconv.finetune``."""

    timesteps: int | None
    engine: Literal["auto", "dense", "event"] | None
    out: str | Path | None


class ReparameterizeOptions(DataOptions, total=False):
    """Options of ``snnconv.reparameterize``."""

    vanilla: bool | None
    tolerance: float | None
    limit: int | None
    out: str | Path | None


class SpikingOptions(SimulationOptions, total=False):
    """Options that several commands have."""

    timesteps: int | None
    chunk: int | None


class EvaluateOptions(SpikingOptions, total=False):
    """Options of ``snnconv.evaluate``."""

    limit: int | None
    metric: list[str] | tuple[str, ...] | None
    readout_from: int | None
    exit: Mapping[str, Any] | None
    integer: Mapping[str, Any] | None
    energy_ac_pj: float | None
    energy_mac_pj: float | None
    energy_lookup_pj: float | None
    expect_accuracy: float | None
    out: str | Path | None


class SamplesOptions(SpikingOptions, total=False):
    """Options that several commands have."""

    split: Literal["test", "train"] | None


class PredictOptions(SamplesOptions, total=False):
    """Options of ``snnconv.predict``."""

    limit: int | None
    out: str | Path | None


class TraceOptions(SamplesOptions, total=False):
    """Options of ``snnconv.trace``."""

    limit: int | None
    sites: str | int | list[str] | tuple[str, ...] | None
    record: str | int | list[str] | tuple[str, ...] | None
    form: Literal["npz", "nir"] | None
    dt: float | None
    out: str | Path | None


class ExportOptions(DataOptions, total=False):
    """Options of ``snnconv.export``."""

    to: str | None
    param: Mapping[str, Any] | None
    limit: int | None
    out: str | Path | None


class FitOptions(StageOptions, total=False):
    """Options of ``snnconv.fit``."""

    target: str | None
    evaluation: str | Path | None
    out: str | Path | None


class ReportOptions(StageOptions, total=False):
    """Options of ``snnconv.report``."""

    figures: str | Path | None
    out: str | Path | None


class BudgetOptions(StageOptions, total=False):
    """Options that several commands have."""

    training: str | int | list[str] | tuple[str, ...] | None
    seeds: str | int | list[int] | tuple[int, ...] | None
    epochs: int | None
    train_batch_size: int | None
    train_limit: int | None
    augment: list[str] | tuple[str, ...] | None
    validation: float | None


class CompareOptions(
    ModelOptions, SimulationOptions, NormalisationOptions, BudgetOptions, total=False
):
    """Options of ``snnconv.compare``."""

    methods: str | int | list[str] | tuple[str, ...] | None
    timesteps: str | int | list[int] | tuple[int, ...] | None
    limit: int | None
    samples: int | None
    csv: str | Path | None
    out: str | Path | None


class InspectOptions(ModelOptions, NormalisationOptions, total=False):
    """Options of ``snnconv.inspect``."""
