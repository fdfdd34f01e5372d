"""Made-up but plausible reports: curves that rise, errors that shrink, and every odd case."""

import math
import random

from snnconv.config.stages import METRICS
from snnconv.core.uncertainty import packed, packed_numbers
from snnconv.reports import (
    DataUse,
    EvaluateReport,
    FileHash,
    Histogram,
    LayerRow,
    Lineage,
    Outcomes,
)
from snnconv.reports.evaluation import BY_ANSWER

ODD = 'conv<1>&"bn"'
DATA = DataUse(spec="digits", train_samples=1437, test_samples=360)
ERRORS = ("conversion_error", "error_clipping", "error_rounding", "error_rest")
ENVIRONMENT = {
    "snnconv": "0.1.0",
    "torch": "2.9.0",
    "python": "3.11.7",
    "threads": 2,
    "device": "cpu",
}
HISTORY = [
    {"stage": "train", "parent": None, "config": {"model": "cnn", "data": "digits", "epochs": 9}},
    {"stage": "calibrate", "parent": "ab" * 32, "config": {"method": "max"}},
    {"stage": "convert", "parent": "cd" * 32, "config": {"neuron": "msat"}},
]


def digest(text: str) -> str:
    rng = random.Random(text)
    return "".join(rng.choice("0123456789abcdef") for _ in range(64))


def common(stage: str, inputs: list[str], outputs: list[str]) -> dict:
    return {
        "schema_id": f"snnconv.{stage}/1",
        "stage": stage,
        "config": {"run": "snnconv-run", "seed": 0, "device": "auto", "threads": None},
        "lineage": Lineage(
            inputs=[FileHash(path=p, sha256=digest(p)) for p in inputs],
            outputs=[FileHash(path=p, sha256=digest(p)) for p in outputs],
            parent_report_sha256=digest("parent"),
        ),
        "environment": ENVIRONMENT,
        "seed": 0,
        "seconds": 12.34,
    }


def names(layers: int) -> list[str]:
    return [f"features.{i}.block.act" if layers > 8 else f"conv{i + 1}.relu" for i in range(layers)]


def layer_row(name: str, depth: float, T: int, rng: random.Random, speed: float) -> LayerRow:
    neurons = int(4096 * 0.5 ** (4 * depth))
    rate = 0.22 * math.exp(-1.4 * depth) * rng.uniform(0.6, 1.3)
    clip = 0.01 + 0.02 * rng.random()
    rounding, rest = 0.9 / T * speed, 0.6 * depth / math.sqrt(T) * speed * rng.uniform(0.5, 1.2)
    sin = [
        0.02 + 0.25 * depth * speed * (1 - math.exp(-t / 5)) * rng.uniform(0.97, 1.03)
        for t in range(1, T + 1)
    ]
    return LayerRow(
        name=name,
        neurons=neurons,
        threshold=1.2 + 3 * rng.random(),
        firing_rate=rate,
        firing_rate_steps=[rate] * T,
        sops_per_sample=(sops := neurons * rate * T * rng.uniform(60, 200)),
        sops_pooled_per_sample=0.6 * sops,
        events_per_sample=neurons * rate * T,
        energy_memory_mj=3e-9 * sops,
        energy_memory_terms_mj=terms(3e-9 * sops),
        energy_twin_mj=0.8e-10 * sops,
        energy_twin_snn_mj=1e-10 * sops,
        break_even_rate=0.8 * rate,
        sin_ratio=sin,
        wrong_spike_share=[s / 3 for s in sin],
        ans_per_neuron=sin[-1] * 2,
        ans_per_sin_neuron=2.0,
        conversion_error=math.sqrt(clip**2 + rounding**2 + rest**2),
        error_clipping=clip,
        error_rounding=rounding,
        error_rest=rest,
    )


def histogram(name: str, threshold: float, rng: random.Random, bins: int = 256) -> Histogram:
    top = threshold * rng.uniform(1.1, 2.2)
    edges = [top * i / bins for i in range(bins + 1)]
    scale = threshold / rng.uniform(4, 7)
    counts = [float(int(2e5 * math.exp(-e / scale) * rng.uniform(0.8, 1.2))) for e in edges[:-1]]
    return Histogram(name=name, threshold=threshold, edges=edges, counts=counts)


def terms(mj: float) -> dict[str, float]:
    """The parts of an energy with memory."""
    shares = {"operations": 0.1, "addressing": 0.1, "inout": 0.1, "weights": 0.5, "potentials": 0.2}
    return {name: share * mj for name, share in shares.items()}


def evaluation(
    label: str = "cnn, if",
    T: int = 32,
    layers: int = 4,
    speed: float = 1.0,
    seed: int = 1,
    ann: float = 0.9889,
    layer_names: list[str] | None = None,
    **changes,
) -> EvaluateReport:
    """Everything measured; ``speed`` above 1 converges later."""
    rng = random.Random(seed)
    found = layer_names or names(layers)
    rows = [
        layer_row(name, i / max(len(found) - 1, 1), T, rng, speed) for i, name in enumerate(found)
    ]
    shared = random.Random(0)
    accuracy = [
        max(0.1, ann - 0.9 * math.exp(-1.1 * t**0.75 / speed) - 0.004 * speed / t)
        for t in range(1, T + 1)
    ]
    accuracy = [round(a * 360) / 360 for a in accuracy]
    close = {}
    for margin in (1.0, 0.5, 0.1):
        near = [a >= ann - margin / 100 for a in accuracy]
        start = next((t for t in range(T) if all(near[t:])), None)
        close[str(margin)] = None if start is None else start + 1
    sops = sum(row.sops_per_sample for row in rows)
    first, macs = 147_456.0, 3.1e6
    synaptic, dense = 0.9e-9 * sops, 4.6e-9 * macs
    rate = sum(row.firing_rate * row.neurons for row in rows) / sum(row.neurons for row in rows)
    fields = {
        "data": DATA,
        "label": label,
        "neuron": "if",
        "params": {"v0": 0.5},
        "calibration": {"method": "percentile", "params": {"percentile": 99.9}, "samples": 1024},
        "confidence": {},
        "early": None,
        "samples": 360,
        "timesteps": T,
        "accuracy": accuracy,
        "ann_accuracy": ann,
        "steps_to_ann": close,
        "logits_relative_error": 0.3 / math.sqrt(T),
        "agreement": [min(1.0, a + 0.008) for a in accuracy],
        "firing_rate_mean": rate,
        "firing_rate_steps": [rate * (1 - 0.5 * math.exp(-t / 3)) for t in range(1, T + 1)],
        "spikes_per_sample": sum(row.firing_rate * row.neurons * T for row in rows),
        "sops_per_sample": sops,
        "sops_per_sample_steps": [sops * t / T for t in range(1, T + 1)],
        "sops_by_sample": packed_numbers(
            [sops * shared.uniform(0.7, 1.3) for _ in range(changes.get("samples", 360))]
        ),
        "first_layer_macs_per_sample": first,
        "analog_macs_per_sample": 0.0,
        "ann_macs_per_sample": macs,
        "ann_macs_exact_per_sample": 0.94 * macs,
        "energy_synaptic_mj": synaptic,
        "energy_total_mj": synaptic + 4.6e-9 * first,
        "energy_total_every_step_mj": synaptic + 4.6e-9 * first * T,
        "energy_ann_mj": dense,
        "energy_synaptic_ratio": synaptic / dense,
        "energy_total_ratio": (synaptic + 4.6e-9 * first) / dense,
        "energy_total_every_step_ratio": (synaptic + 4.6e-9 * first * T) / dense,
        "energy_total_mj_steps": [4.6e-9 * first + synaptic * t / T for t in range(1, T + 1)],
        "sops_pooled_per_sample": 0.6 * sops,
        "events_per_sample": sum(row.firing_rate * row.neurons * T for row in rows),
        "energy_synaptic_pooled_mj": 0.6 * synaptic,
        "energy_memory_mj": 3 * synaptic,
        "energy_memory_terms_mj": terms(3 * synaptic),
        "energy_memory_by_synapse_mj": 4 * synaptic,
        "energy_memory_mj_steps": [3 * synaptic * t / T for t in range(1, T + 1)],
        "energy_memory_ann_mj": dense,
        "energy_memory_ann_terms_mj": terms(dense),
        "energy_memory_ratio": 3 * synaptic / dense,
        "twin_bits": math.ceil(math.log2(T + 1)),
        "twin_accuracy": ann,
        "energy_twin_mj": 0.08 * synaptic,
        "energy_twin_snn_mj": 0.1 * synaptic,
        "energy_twin_ratio": 1.25,
        "sin_ratio_steps": [sum(r.sin_ratio[t] for r in rows) / len(rows) for t in range(T)],
        "layers": rows,
        "histograms": [histogram(name, 1.2 + 3 * shared.random(), shared) for name in found],
        "seconds_per_sample": 0.00184,
        "peak_memory_mib": 611.0,
    }
    fields |= {"model": "cnn", "history": HISTORY}
    head = common("evaluate", [f"snnconv-run/{label}.safetensors"], ["snnconv-run/evaluate.json"])
    head["config"] |= {
        "checkpoint": f"snnconv-run/{label}.safetensors",
        "timesteps": T,
        "energy_ac_pj": 0.9,
        "energy_mac_pj": 4.6,
        "metric": list(METRICS),
    }
    return EvaluateReport(**(head | fields | changes))


def right_on(right, n: int, label: str, samples: str = "a" * 64) -> EvaluateReport:
    """One step, and these samples right."""
    bits = packed(i in set(right) for i in range(n))
    return evaluation(
        label,
        T=1,
        samples=n,
        classes=10,
        accuracy=[len(set(right)) / n],
        outcomes=Outcomes(samples_sha256=samples, steps={1: bits}, ann=None),
    )


def late() -> EvaluateReport:
    """Neurons that need all steps at once: one answer, at T."""
    whole = evaluation("lm-ht", T=4, seed=3, speed=0.5, neuron="lm-ht")
    changes = {key: [None] * 3 + getattr(whole, key)[-1:] for key in BY_ANSWER}
    return whole.model_copy(update=changes | {"latency_steps": 4})


def direct() -> EvaluateReport:
    """Trained with its neurons: nothing that compares with an ANN."""
    whole = evaluation("lm-h, given, trained", T=4, trained_directly=True, neuron="lm-h")
    lacks = ("ann_accuracy", "steps_to_ann", "logits_relative_error", "agreement")
    rows = [
        row.model_copy(update=dict.fromkeys(("sin_ratio", "wrong_spike_share", *ERRORS)))
        for row in whole.layers
    ]
    changes = {"sin_ratio_steps": None, "layers": rows, "histograms": []} | dict.fromkeys(lacks)
    return whole.model_copy(update=changes)


def minimal(label: str = "bare", T: int = 1) -> EvaluateReport:
    """Nothing measured that may be left out."""
    return EvaluateReport(
        **common("evaluate", [], []),
        data=DATA,
        model="network",
        history=[],
        label=label,
        neuron="if",
        params={},
        calibration={},
        confidence={},
        early=None,
        samples=10,
        timesteps=T,
        layers=[LayerRow(name="relu", neurons=10, threshold=1.0)],
        histograms=[],
        seconds_per_sample=0.001,
        peak_memory_mib=100.0,
    )


def three() -> list[EvaluateReport]:
    """One network, three neurons."""
    return [
        evaluation("cnn, if", speed=1.6),
        evaluation(
            "cnn, msat",
            seed=2,
            neuron="msat",
            params={"alpha": 0.03, "tau_mp": 1.0, "tau_rd": 1.0},
            confidence={"conv4.relu": 0.8731},
            early=16,
        ),
        evaluation("cnn, lm-ht", T=4, seed=3, speed=0.5, neuron="lm-ht", params={"levels": 4}),
    ]


def eight() -> list[EvaluateReport]:
    """More runs than anybody should compare, with long names, on a deep network."""
    return [
        evaluation(
            f"resnet34 on CIFAR-100, neuron {i}, percentile {99 + i / 10:.1f}",
            T=[8, 32, 64, 112, 256][i % 5],
            layers=40,
            speed=0.7 + 0.3 * i,
            seed=i,
            ann=0.7855,
        )
        for i in range(8)
    ]


def odd() -> list[EvaluateReport]:
    """Names that would break out of HTML, SVG or Markdown."""
    label = '<script>alert("x")</script> & </svg>|`*_\x1b[31m'
    return [
        evaluation(label, layer_names=[ODD, "a|b", "x" * 80, "</title>\x07"]),
        evaluation(label, seed=4, layer_names=[ODD, "a|b", "x" * 80, "</title>\x07"]),
    ]


def single() -> list[EvaluateReport]:
    """One layer, one step."""
    return [evaluation("tiny", T=1, layers=1)]
