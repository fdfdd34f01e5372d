"""The options of the stages that train."""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from snnconv.config.base import (
    ARGUMENT,
    DataConfig,
    Engine,
    NormalisationConfig,
    OutputOption,
    methods,
    names_of,
)
from snnconv.config.presets import with_preset
from snnconv.core.bounds import COUNT, LEVELS, STEPS
from snnconv.core.kinds import Kind

_SLICE = "train online, in slices of this many steps, so that memory does not grow with T"


GROUPS = ("weights", "biases", "neurons")
"""Groups of parameters: weights of layers, biases and BatchNorm, and parameters of neurons."""


class OptimiserConfig(DataConfig):
    """Options of stages that train."""

    panel: ClassVar[str] = "Training"
    stage: ClassVar[str] = ""
    preset: str | None = Field(
        default=None,
        description="training method of a paper (snnconv ls training-presets), or a TOML file of "
        "your own; it sets the options that you do not give",
        json_schema_extra=names_of(),
    )
    batch_size: int = Field(
        default=128,
        ge=1,
        le=COUNT,
        description="number of samples for each optimiser step and process",
    )
    epochs: int = Field(
        default=30, ge=0, le=COUNT, description="number of passes over the training samples"
    )
    lr: float = Field(default=0.1, gt=0, description="peak learning rate of the cosine schedule")
    neuron_lr: float | None = Field(
        default=None,
        gt=0,
        description="the same for parameters of neurons, such as a decay or the width of a "
        "surrogate; by default --lr",
    )
    optimiser: Literal["sgd", "adamw"] = Field(
        default="sgd", description="SGD with momentum, or AdamW, for which --lr 0.001 is usual"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of SGD")
    nesterov: bool = Field(default=False, description="use Nesterov's momentum in SGD")
    weight_decay: float = Field(
        default=5e-4, ge=0, description="weight decay on the groups of --decay-on"
    )
    decay_on: tuple[str, ...] = Field(
        default=("weights",),
        description="what weight decay acts on: weights of layers (weights), biases and BatchNorm "
        "(biases), parameters of neurons (neurons); repeat the option for several",
        json_schema_extra=names_of(),
    )
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="measure and write an exponential moving average of the weights, of which "
        "each step keeps this share, for example 0.999",
    )
    warmup: float = Field(
        default=0.0, ge=0, description="number of epochs over which the learning rate rises"
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="label smoothing of the cross-entropy"
    )
    augment: tuple[str, ...] = Field(
        default=(),
        description="augmentation: flip, crop, resized-crop, autoaugment or cutout; repeat the "
        "option for several",
        json_schema_extra=names_of(),
    )
    mix: tuple[str, ...] = Field(
        default=(),
        description="mixup or cutmix; repeat the option for both, of which each batch draws one",
        json_schema_extra=names_of(),
    )
    mix_alpha: float = Field(
        default=1.0,
        ge=1e-3,
        le=1e3,
        description="parameter of the Beta distribution from which mixed shares are drawn",
    )
    mixup_alpha: float | None = Field(
        default=None,
        ge=1e-3,
        le=1e3,
        description="the same for mixup alone; by default --mix-alpha",
    )
    cutmix_alpha: float | None = Field(
        default=None,
        ge=1e-3,
        le=1e3,
        description="the same for cutmix alone; by default --mix-alpha",
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        le=COUNT,
        description="compute each batch in this many parts to save memory; the step follows the "
        "last",
    )
    clip_gradient: float | None = Field(
        default=None, gt=0, description="scale larger gradients down to this norm"
    )
    bf16: bool = Field(default=False, description="train under bfloat16 autocast")
    validation: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="share of the training split that is held out to measure every epoch",
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        le=COUNT,
        description="use only N training samples, in which each class keeps its share",
    )
    sync_batchnorm: bool = Field(
        default=False,
        description="compute the statistics of BatchNorm over all processes of torchrun",
    )
    resume: bool = Field(
        default=False,
        description="continue an interrupted training after its last complete epoch",
    )
    step_memory: bool = Field(
        default=False,
        description="also measure the memory of one training step, which makes that step slower",
    )
    tensorboard: Path | None = Field(
        default=None,
        description="folder for TensorBoard, with loss, scores, firing rate and learning rate of "
        "every epoch; requires the extra snnconv[tensorboard]",
    )

    @model_validator(mode="before")
    @classmethod
    def _under_what_is_given(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("preset") is None or not cls.stage:
            return given
        return with_preset(str(given["preset"]), cls.stage, given)

    @field_validator("decay_on")
    @classmethod
    def _groups_there_are(cls, decay_on: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in decay_on if name not in GROUPS]:
            raise ValueError(f"'{unknown[0]}' is none of {', '.join(GROUPS)}")
        return decay_on

    @model_validator(mode="after")
    def _fits_its_optimiser(self) -> Self:
        if self.nesterov and (self.optimiser != "sgd" or self.momentum == 0):
            raise ValueError("--nesterov goes with --optimiser sgd and a --momentum above 0")
        return self

    def alphas(self) -> dict[str, float]:
        """Return the parameter of each mixture's Beta distribution."""
        return {
            "mixup": self.mixup_alpha or self.mix_alpha,
            "cutmix": self.cutmix_alpha or self.mix_alpha,
        }


class NeuronTrainingConfig(OptimiserConfig):
    """Options of stages that train spiking networks."""

    panel: ClassVar[str] = "Neurons"
    loss: str = Field(
        default="mean",
        description="loss that training minimises: " + methods("losses"),
        json_schema_extra=names_of("losses"),
    )
    loss_param: dict[str, Any] = Field(
        default={}, description="parameter of the loss, NAME=VALUE, for example lam=0.001"
    )
    slice: int | None = Field(default=None, ge=1, le=STEPS, description=_SLICE)
    update: Literal["slice", "batch"] = Field(
        default="slice",
        description="take an optimiser step after each slice of time, or after all slices of a "
        "batch; batch with --slice 1 is SLTT",
    )
    sample_slices: int | None = Field(
        default=None,
        ge=1,
        le=STEPS,
        description="compute gradients from this many slices of each batch, drawn at random; with "
        "--slice 1 and --update batch this is SLTT-K",
    )
    release: int = Field(
        default=0,
        ge=0,
        le=COUNT,
        description="number of epochs in which only weights learn, before neurons learn, too",
    )
    surrogate: str | None = Field(
        default=None,
        description="surrogate for the derivative of a spike: "
        + methods("surrogates")
        + "; by default that of the checkpoint, or of the paper of the neuron",
        json_schema_extra=names_of("surrogates"),
    )
    surrogate_param: dict[str, Any] = Field(
        default={}, description="parameter of the surrogate, NAME=VALUE, for example width=0.5"
    )
    norm: str | None = Field(
        default=None,
        description="norm that replaces BatchNorm: "
        + methods("norms")
        + "; it is folded away when the network runs",
        json_schema_extra=names_of("norms"),
    )
    norm_param: dict[str, Any] = Field(
        default={}, description="parameter of the norm, NAME=VALUE, for example alpha=0.5"
    )


class TrainConfig(NeuronTrainingConfig, NormalisationConfig):
    """Train a network from the zoo, from your own code or from a checkpoint."""

    panel: ClassVar[str] = "Network"
    stage: ClassVar[str] = "train"
    example: ClassVar[str] = "snnconv train resnet20 --data cifar10 --epochs 50"
    model: str = Field(
        default="cnn",
        description="zoo name (resnet20?pool=max), a checkpoint, or package.module:factory or "
        "file.py:factory, whose code is run",
        json_schema_extra=ARGUMENT,
    )
    data: str | None = Field(
        default=None,
        description="data set to train on (snnconv ls datasets); by default that of the "
        "checkpoint, or digits",
        json_schema_extra=names_of("datasets"),
    )
    output: OutputOption = Field(
        default=None,
        description="the output to use if the network has several, by name or by number from 0; "
        "layers that only the other outputs need are cut away",
    )
    activation: Literal["relu", "qcfs"] = Field(
        default="relu",
        description="activation; qcfs is quantized, and learns a threshold for each layer",
    )
    recurrent: Literal["keep", "hard"] = Field(
        default="keep",
        description="keep LSTM and GRU as they are, or give them clipped-linear gates that can "
        "spike (hard)",
    )
    levels: int = Field(
        default=8, ge=1, le=LEVELS, description="L, the number of levels of a qcfs activation"
    )
    theta: float | None = Field(
        default=None,
        gt=0,
        description="threshold. For qcfs, the one that training starts from; by default "
        "calibrated if MODEL is a checkpoint, or else 8. For neurons, the fixed threshold; by "
        "default 1",
    )
    neuron: str | None = Field(
        default=None,
        description=f"train with spiking neurons from scratch: {methods('neurons')}",
        json_schema_extra=names_of("neurons"),
    )
    param: dict[str, Any] = Field(
        default={}, description="parameter of the neuron, NAME=VALUE, for example levels=2"
    )
    timesteps: int = Field(
        default=4, ge=1, le=STEPS, description="T, the time steps to train neurons at"
    )
    pool: Literal["average", "keep"] = Field(
        default="average",
        description="with qcfs or neurons, whether max pooling becomes average pooling or stays",
    )
    out: Path | None = Field(
        default=None,
        description="checkpoint to write; by default RUN/ann.safetensors, "
        "RUN/calibrated.safetensors with qcfs, or RUN/trained.safetensors with neurons",
    )

    @property
    def kind(self) -> Kind:
        """Of the checkpoint that comes out: QCFS thetas are calibrated thresholds."""
        if self.neuron is not None:
            return "trained"
        return "ann" if self.activation == "relu" else "calibrated"


class FinetuneConfig(NeuronTrainingConfig):
    """Train the spiking network through its neurons (STBP)."""

    panel: ClassVar[str] = "Neurons"
    stage: ClassVar[str] = "finetune"
    example: ClassVar[str] = "snnconv finetune --epochs 5 --timesteps 4"
    checkpoint: Path | None = Field(
        default=None,
        description="converted or fine-tuned checkpoint; by default the newest of the run folder",
        json_schema_extra=ARGUMENT,
    )
    lr: float = Field(default=0.01, gt=0, description="peak learning rate of the cosine schedule")
    timesteps: int | None = Field(
        default=None,
        ge=1,
        le=STEPS,
        description="T, the time steps to train at; by default those of the checkpoint",
    )
    engine: Engine = Field(
        default="auto",
        description="when to train convolutions from spike events: if that should be faster "
        "(auto), never (dense), or whenever it is possible (event)",
    )
    out: Path | None = Field(
        default=None, description="checkpoint to write; by default RUN/finetuned.safetensors"
    )
