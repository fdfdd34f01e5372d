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
from snnconv.config.training_presets import with_preset
from snnconv.core.bounds import COUNT, LEVELS, STEPS
from snnconv.core.kinds import Kind

_SLICE = "train online, in slices of this many steps: memory does not grow with T"


GROUPS = ("weights", "biases", "neurons")
"""Of parameters: weights of layers, biases and BatchNorm, and what neurons learn."""


class OptimiserConfig(DataConfig):
    """Options of stages that train."""

    panel: ClassVar[str] = "Training"
    stage: ClassVar[str] = ""
    preset: str | None = Field(
        default=None,
        description="a paper's training method, or a TOML file of your own: its options, where you "
        "give none; snnconv ls training-presets",
        json_schema_extra=names_of(),
    )
    batch_size: int = Field(
        default=128, ge=1, le=COUNT, description="samples for each optimiser step and process"
    )
    epochs: int = Field(default=30, ge=0, le=COUNT, description="passes over the training samples")
    lr: float = Field(default=0.1, gt=0, description="peak learning rate of the cosine schedule")
    optimiser: Literal["sgd", "adamw"] = Field(
        default="sgd", description="SGD with momentum, or AdamW, for which --lr 0.001 is usual"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of SGD")
    nesterov: bool = Field(default=False, description="Nesterov's momentum, of SGD")
    weight_decay: float = Field(
        default=5e-4, ge=0, description="weight decay, on the groups of --decay-on"
    )
    decay_on: tuple[str, ...] = Field(
        default=("weights",),
        description="what weight decay acts on: weights of layers, biases and BatchNorm, what "
        "neurons learn; repeat the option for several",
        json_schema_extra=names_of(),
    )
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="keep an exponential moving average of the weights, of which each step keeps "
        "this share, e.g. 0.999; it is what is measured and written",
    )
    warmup: float = Field(
        default=0.0, ge=0, description="epochs over which the learning rate rises"
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="label smoothing of the cross-entropy"
    )
    augment: tuple[str, ...] = Field(
        default=(),
        description="any of flip, crop, resized-crop, autoaugment, cutout; repeat the option for "
        "several",
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
    mixup_alpha: float | None = Field(
        default=None, ge=1e-3, le=1e3, description="of mixup alone; --mix-alpha by default"
    )
    cutmix_alpha: float | None = Field(
        default=None, ge=1e-3, le=1e3, description="of cutmix alone; --mix-alpha by default"
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
    step_memory: bool = Field(
        default=False,
        description="measure how much memory one training step takes, too; that step is slower",
    )
    tensorboard: Path | None = Field(
        default=None,
        description="folder for TensorBoard: loss, scores, firing rate and learning rate of every "
        "epoch; takes the extra snnconv[tensorboard]",
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
        description="what training lowers: " + methods("losses"),
        json_schema_extra=names_of("losses"),
    )
    loss_param: dict[str, Any] = Field(
        default={}, description="parameter of the loss, NAME=VALUE, e.g. lam=0.001"
    )
    slice: int | None = Field(default=None, ge=1, le=STEPS, description=_SLICE)
    update: Literal["slice", "batch"] = Field(
        default="slice",
        description="an optimiser step after each slice of time, or after all slices of a batch; "
        "with --slice 1, batch is SLTT",
    )
    sample_slices: int | None = Field(
        default=None,
        ge=1,
        le=STEPS,
        description="let gradients come from this many slices of a batch, drawn at random; with "
        "--slice 1 --update batch this is SLTT-K",
    )
    release: int = Field(
        default=0,
        ge=0,
        le=COUNT,
        description="epochs before neurons learn, too; weights learn from the first",
    )
    surrogate: str | None = Field(
        default=None,
        description="what stands for the derivative of a spike: "
        + methods("surrogates")
        + "; by default the checkpoint's, or what the neurons' authors take",
        json_schema_extra=names_of("surrogates"),
    )
    surrogate_param: dict[str, Any] = Field(
        default={}, description="parameter of the surrogate, NAME=VALUE, e.g. width=0.5"
    )


class TrainConfig(NeuronTrainingConfig, NormalisationConfig):
    """Train a network of the zoo, your own, or a checkpoint; as it is, or for conversion."""

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


class FinetuneConfig(NeuronTrainingConfig):
    """Train the spiking network through its neurons (STBP)."""

    panel: ClassVar[str] = "Neurons"
    stage: ClassVar[str] = "finetune"
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
    engine: Engine = Field(
        default="auto",
        description="train convolutions by events: if that should be faster, never (dense), "
        "or whenever it is possible",
    )
    out: Path | None = Field(
        default=None, description="checkpoint; RUN/finetuned.safetensors by default"
    )
