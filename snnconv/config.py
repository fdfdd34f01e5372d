"""One model per stage: every option's type, default and help, written once.

The command line builds its signatures from these, recipes are validated by them, and reports carry
them. Nothing here imports torch.
"""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from snnconv.kinds import Kind

ARGUMENT: dict[str, JsonValue] = {"argument": True}
"""Marks a field as a positional argument of the command."""

_LOSS = "of spiking networks: cross-entropy of the mean logits, or the mean of every step's (TET)"
_SLICE = "train online, in slices of so many steps: memory does not grow with T"

METRICS = ("accuracy", "firing-rate", "synops", "energy", "sin", "conversion-error")


class StageConfig(BaseModel):
    """What every stage takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    suffix: ClassVar[str] = ".safetensors"

    run: Path = Field(Path("snnconv-run"), description="run folder: checkpoints and reports")
    seed: int = Field(0, ge=0, description="seed of everything random")
    device: str = Field("auto", description="cpu, cuda, cuda:1, ... or auto")
    threads: int | None = Field(None, ge=1, description="CPU threads; torch's choice by default")

    @field_validator("out", check_fields=False)
    @classmethod
    def _out_has_its_suffix(cls, out: Path | None) -> Path | None:
        # the stage's report goes beside it under the suffix .json, and must not be the same file
        if out is not None and out.suffix != cls.suffix:
            raise ValueError(f"name a file that ends with {cls.suffix}")
        return out


class DataConfig(StageConfig):
    """Stages that read data."""

    data: str | None = Field(
        None,
        description="digits, fashion-mnist, cifar10, cifar100, folder:DIR, npz:FILE, "
        "speech-commands:DIR, package.module:factory or file.py:factory; "
        "the checkpoint's own by default",
    )
    data_root: Path | None = Field(None, description="folder that holds data sets")
    download: bool = Field(False, description="allow a download where the data set is missing")
    batch_size: int = Field(100, ge=1, description="samples a batch; changes no result")


class OptimiserConfig(DataConfig):
    """Stages that train."""

    batch_size: int = Field(128, ge=1, description="samples an optimiser step, a process")
    epochs: int = Field(30, ge=0, description="passes over the training samples")
    lr: float = Field(0.1, gt=0, description="peak learning rate of the cosine schedule")
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD")
    weight_decay: float = Field(5e-4, ge=0, description="of weights; none on neurons and biases")
    warmup: float = Field(0.0, ge=0, description="epochs over which the learning rate rises")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="of the cross-entropy")
    augment: tuple[str, ...] = Field(
        (), description="any of flip, crop, autoaugment, cutout; repeat the option for several"
    )
    mix: tuple[str, ...] = Field(
        (), description="mixup, cutmix, or both, drawn by batch: repeat the option"
    )
    mix_alpha: float = Field(1.0, gt=0, description="of the Beta distribution of mixed shares")
    accumulate: int = Field(
        1, ge=1, description="parts a batch is computed in, to save memory; one step behind them"
    )
    clip_gradient: float | None = Field(None, gt=0, description="largest gradient norm")
    bf16: bool = Field(False, description="train under bfloat16 autocast")
    validation: float = Field(
        0.1, gt=0, lt=1, description="share of the training split held out to measure each epoch on"
    )
    limit: int | None = Field(None, ge=1, description="use the first N training samples")
    sync_batchnorm: bool = Field(
        False, description="BatchNorm by the batches of all processes together (torchrun)"
    )
    resume: bool = Field(
        False, description="go on from the last whole epoch of a training that was interrupted"
    )


class TrainConfig(OptimiserConfig):
    """Train a network from the zoo, one's own, or a checkpoint; as it is, or for conversion."""

    model: str = Field(
        "cnn",
        description="zoo name (resnet20?pool=max), package.module:factory, file.py:factory, or a "
        "checkpoint",
        json_schema_extra=ARGUMENT,
    )
    data: str | None = Field(
        None,
        description="data set to train on (snnconv ls datasets); the checkpoint's own by default, "
        "or digits",
    )
    activation: Literal["relu", "qcfs"] = Field(
        "relu", description="activation; qcfs is quantized, with a theta that is trained a layer"
    )
    levels: int = Field(8, ge=1, description="L, levels of a qcfs activation")
    theta: float | None = Field(
        None,
        gt=0,
        description="theta at the start, of qcfs; by default calibrated where MODEL is a "
        "checkpoint, else 8. Of neurons, 1 by default, and it stays",
    )
    neuron: str | None = Field(
        None, description="train with spiking neurons from scratch: if, msat, lm-ht"
    )
    param: dict[str, Any] = Field({}, description="NAME=VALUE of the neuron, e.g. levels=2")
    timesteps: int = Field(4, ge=1, description="T to train neurons at")
    loss: Literal["mean", "tet"] = Field("mean", description=_LOSS)
    slice: int | None = Field(None, ge=1, description=_SLICE)
    pool: Literal["average", "keep"] = Field(
        "average", description="max pooling, with qcfs or neurons: made average, or kept"
    )
    out: Path | None = Field(
        None, description="checkpoint; RUN/ann, calibrated (qcfs) or trained (neurons).safetensors"
    )

    @property
    def kind(self) -> Kind:
        """Of the checkpoint that comes out: QCFS thetas are calibrated thresholds."""
        if self.neuron is not None:
            return "trained"
        return "ann" if self.activation == "relu" else "calibrated"


class CalibrateConfig(DataConfig):
    """Find a threshold for every activation site from activation statistics."""

    model: str | None = Field(
        None,
        description="checkpoint, zoo name, torchvision:NAME, package.module:factory or "
        "file.py:factory; by default the run's, else the embedded CNN",
        json_schema_extra=ARGUMENT,
    )
    weights: Path | None = Field(None, description="weights for MODEL: .safetensors, .pt or .pth")
    non_relu: Literal["refuse", "analog"] = Field(
        "refuse",
        description="what no neuron stands for: refuse it, or compute it beside the spikes",
    )
    method: str = Field("percentile", description="max, percentile, mse (snnconv ls statistics)")
    param: dict[str, Any] = Field({}, description="NAME=VALUE of the method, e.g. percentile=99.9")
    granularity: Literal["layer", "channel"] = Field(
        "layer", description="one threshold a layer, or one a channel"
    )
    samples: int = Field(1024, ge=1, description="training samples to calibrate on")
    out: Path | None = Field(None, description="checkpoint; RUN/calibrated.safetensors by default")


class ConvertConfig(DataConfig):
    """Put a spiking neuron at every activation site."""

    checkpoint: Path | None = Field(
        None, description="calibrated checkpoint; the run's by default", json_schema_extra=ARGUMENT
    )
    neuron: str = Field("if", description="if, msat, lm-ht (snnconv ls neurons)")
    param: dict[str, Any] = Field({}, description="NAME=VALUE of the neuron, e.g. preset=vgg16")
    timesteps: int = Field(16, ge=1, description="T, steps of simulation")
    confidence: str = Field(
        "off",
        description="spike confidence: off, last, all, or site names with commas between them",
    )
    early: int = Field(16, ge=1, description="E, steps in which spike confidence acts")
    confidence_samples: int = Field(256, ge=1, description="samples to measure confidence on")
    out: Path | None = Field(None, description="checkpoint; RUN/converted.safetensors by default")


class FinetuneConfig(OptimiserConfig):
    """Train the spiking network through its neurons (STBP)."""

    checkpoint: Path | None = Field(
        None,
        description="converted or fine-tuned checkpoint; the run's by default",
        json_schema_extra=ARGUMENT,
    )
    lr: float = Field(0.01, gt=0, description="peak learning rate of the cosine schedule")
    timesteps: int | None = Field(
        None, ge=1, description="T to train at; the checkpoint's by default"
    )
    loss: Literal["mean", "tet"] = Field("mean", description=_LOSS)
    slice: int | None = Field(None, ge=1, description=_SLICE)
    out: Path | None = Field(None, description="checkpoint; RUN/finetuned.safetensors by default")


class ReparameterizeConfig(DataConfig):
    """Turn L-level neurons at T steps into single-threshold ones at L*T, and compare the two."""

    checkpoint: Path | None = Field(
        None,
        description="converted or fine-tuned checkpoint; the run's newest by default",
        json_schema_extra=ARGUMENT,
    )
    vanilla: bool = Field(
        False, description="drop what mixes time: plain IF neurons, which may stream"
    )
    tolerance: float = Field(
        0.5, ge=0, description="largest difference of accuracy in points; plain IF may differ more"
    )
    limit: int | None = Field(None, ge=1, description="compare on the first N test samples")
    out: Path | None = Field(
        None, description="checkpoint; RUN/reparameterized.safetensors by default"
    )


class EvaluateConfig(DataConfig):
    """Measure accuracy, spikes, energy and errors of a spiking network, beside its ANN."""

    suffix: ClassVar[str] = ".json"
    checkpoint: Path | None = Field(
        None,
        description="spiking checkpoint; the run's newest by default",
        json_schema_extra=ARGUMENT,
    )
    batch_size: int | None = Field(  # type: ignore[assignment]
        None, ge=1, description="samples simulated at once; changes no result, only speed"
    )
    timesteps: int | None = Field(None, ge=1, description="T; the checkpoint's by default")
    limit: int | None = Field(None, ge=1, description="use the first N test samples")
    chunk: int = Field(8, ge=1, description="time steps computed at once; changes no result")
    metric: tuple[str, ...] = Field(
        METRICS, description="what to measure (snnconv ls metrics); repeat the option for several"
    )
    energy_ac_pj: float = Field(0.9, gt=0, description="pJ of an accumulate (45 nm, 32 bit)")
    energy_mac_pj: float = Field(4.6, gt=0, description="pJ of a multiply-accumulate")
    out: Path | None = Field(None, description="report; RUN/evaluate.json by default")


class ReportConfig(StageConfig):
    """Put evaluations into a table, Markdown and one self-contained HTML file."""

    suffix: ClassVar[str] = ".html"
    evaluations: tuple[Path, ...] = Field(
        (),
        description="evaluate reports or run folders; by default those in the run folder",
        json_schema_extra=ARGUMENT,
    )
    out: Path | None = Field(None, description="HTML file; RUN/report.html by default")


class InspectConfig(StageConfig):
    """Show what is in a checkpoint, layer by layer."""

    checkpoint: Path | None = Field(
        None, description="any checkpoint; the run's newest by default", json_schema_extra=ARGUMENT
    )


class DemoConfig(StageConfig):
    """Run the whole pipeline on embedded data: MSAT beside IF, ending with a report."""

    run: Path = Field(Path("snnconv-demo"), description="run folder: checkpoints and reports")
    timesteps: int = Field(32, ge=1, description="T, steps of simulation")


class DoctorConfig(StageConfig):
    """Check the installation: versions, devices, data sets, and that spikes come out right."""


STAGES: dict[str, type[StageConfig]] = {
    "train": TrainConfig,
    "calibrate": CalibrateConfig,
    "convert": ConvertConfig,
    "finetune": FinetuneConfig,
    "reparameterize": ReparameterizeConfig,
    "evaluate": EvaluateConfig,
    "report": ReportConfig,
}
"""The stages, in the order in which a recipe runs them."""
