"""The report of an evaluation."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from snnconv.core.uncertainty import unpacked, unpacked_numbers
from snnconv.errors import ExitCode
from snnconv.reports.base import (
    AnswerSteps,
    Difference,
    Interval,
    Latency,
    LineageRow,
    Steps,
)
from snnconv.reports.exporting import IntegerUse
from snnconv.reports.functions import FunctionRow, FunctionWork
from snnconv.reports.scores import ScoredReport
from snnconv.reports.stages import CorrectionRow, DataUse, SubsetUse


class LayerRow(BaseModel):
    """A site or a max pooling in an evaluation. Keys that a metric adds are told in its file."""

    model_config = ConfigDict(extra="allow")

    name: str
    neurons: int = Field(description="of one sample")
    threshold: float | None = Field(
        description="theta; mean over channels; null for a max pooling, which has no neurons"
    )
    firing_rate: float | None = Field(None, description="spikes per neuron and step")
    firing_rate_steps: Steps | None = None
    delta_d: float | None = Field(None, description="LM-H: as delta_d, of this layer")
    delta_s: float | None = Field(None, description="LM-H: as delta_s, of this layer")
    sops_per_sample: float | None = Field(
        None, description="synaptic operations its spikes cause behind it, up to T"
    )
    sops_pooled_per_sample: float | None = Field(
        None, description="the same where what an average pooling gives is counted"
    )
    events_per_sample: float | None = Field(None, description="outputs that are not zero, up to T")
    energy_memory_mj: float | None = Field(
        None, description="of its neurons, its events and the synapses behind it (Lemaire 2022)"
    )
    energy_memory_terms_mj: dict[str, float] | None = None
    energy_twin_mj: float | None = Field(
        None, description="of its activations in the quantized twin, and the synapses behind"
    )
    energy_twin_snn_mj: float | None = Field(
        None, description="of its neurons and spikes, by the same convention"
    )
    break_even_rate: float | None = Field(
        None, description="the firing_rate at which both are equal; below it the spikes are cheaper"
    )
    sin_ratio: Steps | None = Field(
        None, description="by t: inactivated neurons that have fired / neurons (MSAT Fig. 2)"
    )
    wrong_spike_share: Steps | None = Field(
        None, description="share of a step's spikes that come from inactivated neurons"
    )
    ans_per_neuron: float | None = Field(
        None, description="wrong spikes in T steps / neurons of the layer"
    )
    ans_per_sin_neuron: float | None = Field(
        None, description="wrong spikes in T steps / SIN neurons"
    )
    conversion_error: float | None = Field(
        None, description="|mean output - ANN activation| / |ANN activation|, L2"
    )
    error_clipping: float | None = Field(None, description="the part above theta, same scale")
    error_rounding: float | None = Field(
        None, description="of the clipped activation to multiples of theta/T, same scale"
    )
    error_rest: float | None = Field(
        None, description="what remains: uneven spikes, wrong spikes, errors of layers before"
    )


class Histogram(BaseModel):
    """Activations of a site during calibration."""

    name: str
    threshold: float
    edges: list[float] = Field(description="bin edges, one more than counts")
    counts: list[float] = Field(description="positive activations in each bin")


class Outcomes(BaseModel):
    """Which samples are right: a bit each, in the order of their indices, first one highest."""

    samples_sha256: str = Field(
        description="of the indices in ascending order, then of the labels, int64, little endian"
    )
    steps: dict[int, str] = Field(description="base64 by step t: T, and powers of two before it")
    ann: str | None = Field(None, description="of the ANN; null where there is none")
    twin: str | None = Field(None, description="of the quantized twin; null where there is none")


class EarlyExitUse(BaseModel):
    """Samples that stop as soon as the network is sure of its answer."""

    margin: float = Field(
        description="the confidence at which a sample stops: between the probabilities of the two "
        "most probable classes, and of other tasks as the metric's file says"
    )
    scores: dict[str, float | None] = Field(
        {}, description="of the task, of the outputs at the exits; empty in an older file"
    )
    accuracy: float | None = Field(
        None, description="of the classes at the exits; null for tasks that have none"
    )
    accuracy_interval: Interval | None = Field(
        None, description="95 % Wilson interval, [low, high]"
    )
    steps_mean: float = Field(description="steps that a sample takes")
    samples_by_step: list[int] = Field(description="how many samples stop after step t")
    sops_per_sample: float = Field(description="synaptic operations of the steps taken")
    energy_total_mj: float = Field(description="as energy_total_mj, of the steps taken")
    energy_total_ratio: float | None = Field(description="to the ANN's energy")


class EvaluateReport(ScoredReport):
    """The report of ``snnconv evaluate``. Keys that a metric adds are explained in its file."""

    model_config = ConfigDict(populate_by_name=True, extra="allow")
    name = "evaluate"
    data: DataUse
    subset: SubsetUse | None = Field(None, description="the test samples; null in an older file")
    model: str = Field(description="what the network was made from, as its first stage named it")
    history: list[LineageRow] = Field(description="the stages behind the checkpoint, first to last")
    label: str = Field(description="short name of the network and neuron, for legends")
    trained_directly: bool = Field(
        False,
        description="whether it was trained with its neurons: then no ANN was converted, and what "
        "compares with one is null",
    )
    neuron: str
    params: dict[str, Any]
    coding: str = Field("rate", description="how spikes stand for what a neuron sends")
    calibration: dict[str, Any] = Field(description="method and parameters of the thresholds")
    corrections: list[CorrectionRow] = Field([], description="of the network, in their order")
    confidence: dict[str, float] = Field(description="keep probability by site; empty when off")
    early: int | None
    samples: int
    samples_at_once: int | None = Field(
        None, description="simulated together: no more than fit into --memory"
    )
    steps_at_once: int | None = Field(None, description="of them, computed together")
    classes: int | None = Field(None, description="how many classes these samples have")
    ann_largest_class_share: float | None = Field(
        None,
        description="without labels, the share of samples that the ANN gives its most frequent "
        "class; null with labels",
    )
    timesteps: int
    latency_steps: Latency = None
    first_answer_step: int | None = Field(
        None,
        description="the first of the T steps after which the class can be read: T where neurons "
        "need all steps at once; null in an older file",
    )
    readout_from: int = Field(1, description="the first step whose currents count for the class")
    early_exit: EarlyExitUse | None = Field(None, description="null without --exit")
    integer: IntegerUse | None = Field(None, description="null without --integer")
    accuracy_interval: list[Interval | None] | None = Field(
        None, description="95 % Wilson intervals of the accuracy, [low, high] by step"
    )
    ann_accuracy_interval: Interval | None = Field(
        None, description="95 % Wilson interval, [low, high]"
    )
    against_ann: Difference | None = Field(
        None, description="this network at T and its ANN on the same samples"
    )
    twin_accuracy: float | None = Field(
        None,
        description="of the same network with quantized activations, on the same samples; null "
        "without the metric energy-twin",
    )
    twin_accuracy_interval: Interval | None = Field(
        None, description="95 % Wilson interval, [low, high]"
    )
    twin_bits: int | None = Field(None, description="of its activations")
    against_twin: Difference | None = Field(
        None, description="this network at T and its quantized twin on the same samples"
    )
    outcomes: Outcomes | None = Field(
        None, description="what other runs on the same samples are tested against"
    )
    steps_to_ann: dict[str, int | None] | None = Field(
        None,
        description="first step at which the score that decides is within 1.0, "
        "0.5, 0.1 points of the ANN's, percent of it for an error; null if none",
    )
    logits_relative_error: float | None = Field(
        None, description="L2, outputs averaged over T steps against the ANN's"
    )
    agreement: AnswerSteps | None = Field(
        None, description="share of samples classified as the ANN does; null as in accuracy"
    )
    firing_rate_mean: float | None = Field(None, description="spikes per neuron and step")
    firing_rate_steps: Steps | None = None
    delta_d: float | None = Field(
        None, description="LM-H: mean over neurons of |mean_t delta_D|, units of theta"
    )
    delta_s: float | None = Field(None, description="LM-H: the same of delta_S")
    spikes_per_sample: float | None = Field(
        None, description="spikes in all steps that are simulated, those before the T too"
    )
    sops_per_sample: float | None = Field(
        None, description="synaptic operations, in all steps that are simulated too"
    )
    sops_per_sample_steps: AnswerSteps | None = Field(
        None, description="up to each step t; null as in accuracy"
    )
    sops_by_sample: str | None = Field(
        None,
        description="in T steps, of each sample in the order of their indices: float32, little "
        "endian, base64; what other runs on the same samples are tested against",
    )
    sops_pooled_per_sample: float | None = Field(
        None,
        description="by the convention that counts what an average pooling gives and not what it "
        "takes in (LM-HT)",
    )
    events_per_sample: float | None = Field(
        None, description="outputs that are not zero in T steps, whatever their level"
    )
    first_layer_macs_per_sample: float | None = Field(None, description="counted once")
    first_layer_passes: int | None = Field(
        None, description="how often T steps compute it: once, or for every frame that is shown"
    )
    analog_macs_once_per_sample: float | None = Field(
        None,
        description="of the first layer's MACs, those of functions that no neuron stands for",
    )
    analog_macs_per_sample: float | None = Field(
        None, description="MACs at each step of layers behind the first that analog values feed"
    )
    ann_macs_per_sample: float | None = Field(
        None, description="the field's convention: multiplications with padding counted"
    )
    ann_macs_exact_per_sample: float | None = Field(
        None, description="without padding, as SOPs are counted"
    )
    functions: list[FunctionRow] = Field([], description="what is computed without spikes")
    function_work: FunctionWork | None = Field(None, description="null if there are no functions")
    energy_functions_mj: float | None = Field(
        None, description="of energy_total_mj, what functions take, computed at every step"
    )
    energy_functions_changed_mj: float | None = Field(
        None, description="the same, computed only where an input has changed"
    )
    energy_ann_functions_mj: float | None = Field(
        None, description="of energy_ann_mj, what functions take"
    )
    energy_synaptic_mj: float | None = Field(None, description="accumulates only (LM-HT Table 1)")
    energy_synaptic_pooled_mj: float | None = Field(
        None, description="of sops_pooled_per_sample (LM-HT Table 1, behind average poolings)"
    )
    energy_total_mj: float | None = Field(
        None, description="with the first layer's MACs, first_layer_passes times (MSAT section 5.4)"
    )
    energy_total_every_step_mj: float | None = Field(
        None, description="with the first layer's MACs at each step"
    )
    energy_ann_mj: float | None = None
    energy_synaptic_ratio: float | None = Field(None, description="to the ANN's energy")
    energy_total_ratio: float | None = Field(None, description="to the ANN's energy")
    energy_total_every_step_ratio: float | None = Field(None, description="to the ANN's energy")
    energy_total_mj_steps: AnswerSteps | None = Field(
        None, description="up to each step t, as energy_total_mj; null as in accuracy"
    )
    energy_memory_mj: float | None = Field(
        None, description="with addresses and memory (Lemaire 2022)"
    )
    energy_memory_terms_mj: dict[str, float] | None = Field(
        None,
        description="its parts: operations, addressing, inout (events written and read), weights, "
        "potentials",
    )
    energy_memory_by_synapse_mj: float | None = Field(
        None, description="if a potential is read and written for every operation, not once a step"
    )
    energy_memory_mj_steps: AnswerSteps | None = Field(
        None, description="up to each step t, as energy_memory_mj; null as in accuracy"
    )
    energy_memory_ann_mj: float | None = Field(
        None, description="of the ANN, by the same convention"
    )
    energy_memory_ann_terms_mj: dict[str, float] | None = None
    energy_memory_ratio: float | None = Field(
        None, description="energy_memory_mj / energy_memory_ann_mj"
    )
    energy_twin_mj: float | None = Field(
        None, description="of the quantized twin: operations and moves of activations (Yan 2024)"
    )
    energy_twin_snn_mj: float | None = Field(
        None, description="of this network, by the same convention"
    )
    energy_twin_ratio: float | None = Field(
        None, description="energy_twin_snn_mj / energy_twin_mj; above 1 the twin is cheaper"
    )
    sin_ratio_steps: Steps | None = Field(None, description="mean over layers, by t")
    layers: list[LayerRow]
    engine: dict[str, Literal["once", "mean", "dense", "event"]] = Field(
        {},
        description="how each layer with weights was simulated: once, its input being constant, "
        "or of the mean over time, or at each step, dense or by events",
    )
    histograms: list[Histogram]
    seconds_per_sample: float = Field(description="wall time of the simulation with all metrics")
    peak_memory_mib: float = Field(description="of the process, or of the GPU")

    @model_validator(mode="before")
    @classmethod
    def _without_steps_that_have_no_answer(cls, data: Any) -> Any:
        """Return an older file without figures at steps that have no answer."""
        return with_latency(answered(data)) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _bits_of_the_samples(self) -> "EvaluateReport":
        if self.outcomes:
            for text in (*self.outcomes.steps.values(), self.outcomes.ann, self.outcomes.twin):
                if text is not None:
                    unpacked(text, self.samples)
        if self.sops_by_sample is not None:
            unpacked_numbers(self.sops_by_sample, self.samples)
        return self

    def code(self) -> ExitCode:
        """Return 4 if the accuracy at T is below what was expected."""
        return self.expected(self.accuracy[-1] if self.accuracy else None)


BY_ANSWER = (
    "accuracy",
    "agreement",
    "sops_per_sample_steps",
    "energy_total_mj_steps",
    "energy_memory_mj_steps",
)
"""Lists whose value at t is that of the network stopped after step t."""


def answered(data: dict[str, Any]) -> dict[str, Any]:
    """Return a report's content without figures at steps that have no answer, as older files have.

    Such a file has neither ``latency_steps`` nor ``first_answer_step``. That its neurons need all
    steps at once follows from Omega: it was uniform or bounded, or the identity and then trained.
    """
    params = data.get("params")
    known = ("latency_steps", "first_answer_step")
    if any(data.get(key) is not None for key in known) or not isinstance(params, dict):
        return data
    start, stages = params.get("omega"), _stages(data.get("history"))
    trained = stages & {"finetune", "reparameterize"} or "calibrate" not in stages
    if not (start in ("uniform", "bounded") or (start == "identity" and trained)):
        return data
    found = data | {
        key: [None] * (len(steps) - 1) + steps[-1:]
        for key in BY_ANSWER
        if isinstance(steps := data.get(key), list)
    }
    reached, ann = found.get("accuracy"), data.get("ann_accuracy")
    at_end = reached[-1] if isinstance(reached, list) and reached else None
    if isinstance(data.get("steps_to_ann"), dict):
        found["steps_to_ann"] = {
            margin: data.get("timesteps") if _within(margin, at_end, ann) else None
            for margin in data["steps_to_ann"]
        }
    return found


def with_latency(data: dict[str, Any]) -> dict[str, Any]:
    """Return a report's content with ``latency_steps`` as it is meant now.

    An older file calls so what is ``first_answer_step`` now. If that is 1, the answer at T came
    after T steps; if not, nobody says what layers waited for.
    """
    first = data.get("latency_steps")
    if first is None or "first_answer_step" in data:
        return data
    latency = data.get("timesteps") if first == 1 else None
    return data | {"first_answer_step": first, "latency_steps": latency}


def _within(margin: Any, accuracy: Any, ann: Any) -> bool:
    """Return whether an accuracy is within a margin of the ANN's, in points."""
    try:
        return bool(accuracy + 1e-9 >= ann - float(margin) / 100)
    except (TypeError, ValueError, ArithmeticError):
        return False


def _stages(history: Any) -> set[str]:
    rows = history if isinstance(history, list) else []
    return {str(row.get("stage")) for row in rows if isinstance(row, dict)}
