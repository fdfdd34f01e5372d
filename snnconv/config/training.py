"""The options of the stages that train."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from snnconv.config.base import (
    ARGUMENT,
    DataConfig,
    Engine,
    NormalisationConfig,
    OutputOption,
    methods,
    names_of,
)
from snnconv.core.bounds import COUNT, LEVELS, STEPS
from snnconv.core.kinds import Kind

_LOSS = "spiking networks: cross-entropy of the mean logits, or the mean of every step's (TET)"
_SLICE = "train online, in slices of this many steps: memory does not grow with T"


class OptimiserConfig(DataConfig):
    """Options of stages that train."""

    panel: ClassVar[str] = "Training"
    batch_size: int = Field(
        default=128, ge=1, le=COUNT, description="samples for each optimiser step and process"
    )
    epochs: int = Field(default=30, ge=0, le=COUNT, description="passes over the training samples")
    lr: float = Field(default=0.1, gt=0, description="peak learning rate of the cosine schedule")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of SGD")
    weight_decay: float = Field(
        default=5e-4, ge=0, description="weight decay; none on neurons and biases"
    )
    warmup: float = Field(
        default=0.0, ge=0, description="epochs over which the learning rate rises"
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="label smoothing of the cross-entropy"
    )
    augment: tuple[str, ...] = Field(
        default=(),
        description="any of flip, crop, autoaugment, cutout; repeat the option for several",
        json_schema_extra=names_of(),
    )
    mix: tuple[str, ...] = Field(
        default=(),
        description="mixup, cutmix, or both: each batch draws one; repeat the option",
        json_schema_extra=names_of(),
    )
    mix_alpha: float = Field(
        default=1.0,
        ge=1e-3,
        le=1e3,
        description="parameter of the Beta distribution that the mixed shares come from",
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        le=COUNT,
        description="compute each batch in this many parts, to save memory; one step after them",
    )
    clip_gradient: float | None = Field(
        default=None, gt=0, description="largest norm of the gradient"
    )
    bf16: bool = Field(default=False, description="train under bfloat16 autocast")
    validation: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="share of the training split that is held out to measure each epoch on",
    )
    limit: int | None = Field(
        default=None, ge=1, le=COUNT, description="use N training samples, each class by its share"
    )
    sync_batchnorm: bool = Field(
        default=False, description="let BatchNorm see the batches of all processes (torchrun)"
    )
    resume: bool = Field(
        default=False,
        description="continue from the last whole epoch of an interrupted training",
    )
    tensorboard: Path | None = Field(
        default=None,
        description="folder for TensorBoard: loss, scores, firing rate and learning rate of every "
        "epoch; takes the extra snnconv[tensorboard]",
    )


class TrainConfig(OptimiserConfig, NormalisationConfig):
    """Train a network of the zoo, your own, or a checkpoint; as it is, or for conversion."""

    panel: ClassVar[str] = "Network"
    example: ClassVar[str] = "snnconv train resnet20 --data cifar10 --epochs 50"
    model: str = Field(
        default="cnn",
        description="zoo name (resnet20?pool=max), a checkpoint, or package.module:factory or "
        "file.py:factory, whose code is run",
        json_schema_extra=ARGUMENT,
    )
    data: str | None = Field(
        default=None,
        description="data set to train on (snnconv ls datasets); by default the checkpoint's own, "
        "or digits",
        json_schema_extra=names_of("datasets"),
    )
    output: OutputOption = Field(
        default=None,
        description="which of several outputs the network is read at, by name or by number from 0; "
        "what only others need is cut away",
    )
    activation: Literal["relu", "qcfs"] = Field(
        default="relu",
        description="activation; qcfs is quantized, with a trained threshold for each layer",
    )
    recurrent: Literal["keep", "hard"] = Field(
        default="keep",
        description="LSTM and GRU: keep them, or give them clipped-linear gates that can spike",
    )
    levels: int = Field(default=8, ge=1, le=LEVELS, description="L, levels of a qcfs activation")
    theta: float | None = Field(
        default=None,
        gt=0,
        description="threshold. qcfs: the first one, calibrated if MODEL is a checkpoint, "
        "else 8. Neurons: 1 by default, and it stays",
    )
    neuron: str | None = Field(
        default=None,
        description=f"train with spiking neurons from scratch: {methods('neurons')}",
        json_schema_extra=names_of("neurons"),
    )
    param: dict[str, Any] = Field(
        default={}, description="parameter of the neuron, NAME=VALUE, e.g. levels=2"
    )
    timesteps: int = Field(
        default=4, ge=1, le=STEPS, description="T, the time steps to train neurons at"
    )
    loss: Literal["mean", "tet"] = Field(default="mean", description=_LOSS)
    slice: int | None = Field(default=None, ge=1, le=STEPS, description=_SLICE)
    pool: Literal["average", "keep"] = Field(
        default="average",
        description="max pooling, with qcfs or neurons: make it average pooling, or keep it",
    )
    out: Path | None = Field(
        default=None,
        description="checkpoint; RUN/ann, calibrated (qcfs) or trained (neurons).safetensors",
    )

    @property
    def kind(self) -> Kind:
        """Of the checkpoint that comes out: QCFS thetas are calibrated thresholds."""
        if self.neuron is not None:
            return "trained"
        return "ann" if self.activation == "relu" else "calibrated"


class FinetuneConfig(OptimiserConfig):
    """Train the spiking network through its neurons (STBP)."""

    panel: ClassVar[str] = "Neurons"
    example: ClassVar[str] = "snnconv finetune --epochs 5 --timesteps 4"
    checkpoint: Path | None = Field(
        default=None,
        description="converted or fine-tuned checkpoint; by default the run's",
        json_schema_extra=ARGUMENT,
    )
    lr: float = Field(default=0.01, gt=0, description="peak learning rate of the cosine schedule")
    timesteps: int | None = Field(
        default=None, ge=1, le=STEPS, description="T to train at; by default the checkpoint's"
    )
    loss: Literal["mean", "tet"] = Field(default="mean", description=_LOSS)
    slice: int | None = Field(default=None, ge=1, le=STEPS, description=_SLICE)
    engine: Engine = Field(
        default="auto",
        description="train convolutions by events: if that should be faster, never (dense), "
        "or whenever it is possible",
    )
    release: int = Field(
        default=0,
        ge=0,
        le=COUNT,
        description="epochs before neurons learn, too; weights learn from the first",
    )
    out: Path | None = Field(
        default=None, description="checkpoint; RUN/finetuned.safetensors by default"
    )
