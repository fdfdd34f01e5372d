"""Networks of the results as files of every format: sizes, what the referees found, accuracy.

python docs/results/exports.py [ROW ...]    # a JSON file a row, in runs/results/exports/
python docs/results/condense.py runs/results
python docs/results/tables.py                   # the tables of docs/results/exports.md

A row is a network, a conversion and a format. The network is converted without training, exported,
and the files are run by the format's referee on stratified test samples, all by `snnconv export`,
so that the accuracy is the files' own. A format that has no words for the network says so, and the
row has its words. `vgg11-signed` names all rows that begin so. Rows that exist are not run again.
"""

import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch

import snnconv
from snnconv.exports.base import EXPORTS

HERE = Path(__file__).parent
RUNS = Path(os.environ.get("RUNS", "runs"))
REPORTS = Path(os.environ.get("RESULTS", "runs/results")) / "exports"
T = 8


class Subject(NamedTuple):
    """A trained network: its checkpoint, if the package has not got it, its data, and samples."""

    checkpoint: Path | None
    data: str
    peers: int
    """Samples for the formats whose referee is slow."""
    all: int
    """Samples for `FAST` formats: the test set."""
    few: int
    """Samples for NIR, which three other programs run step by step."""


class Conversion(NamedTuple):
    """Options of `convert`, a correction if there is one, and whether LM-HT becomes IF."""

    convert: dict[str, Any]
    vanilla: bool = False
    correct: str | None = None


class Format(NamedTuple):
    """A format with its options, and what is exported to it."""

    to: str
    conversions: tuple[str, ...]
    param: dict[str, Any] | None = None


NETWORKS = {
    "digits": Subject(None, "digits", 355, 355, 355),
    "resnet20": Subject(HERE / "resnet20" / "ann.safetensors", "fashion-mnist", 1000, 10000, 100),
    "vgg11": Subject(RUNS / "vgg11" / "ann.safetensors", "fashion-mnist", 1000, 10000, 100),
    "m5": Subject(
        RUNS / "speech" / "ann.safetensors", f"speech-commands:{RUNS / 'spoken'}", 1000, 1620, 100
    ),
}
FAST = ("integer-8", "integer-8-biases", "torch")
LEVELS: dict[str, Any] = {"neuron": "lm-ht", "param": {"levels": 4}, "timesteps": T // 4}
CONVERSIONS = {
    "if": Conversion({"neuron": "if"}),
    "if-bias": Conversion({"neuron": "if"}, correct="bias"),
    "if-32": Conversion({"neuron": "if", "timesteps": 32}),
    "if-v0": Conversion({"neuron": "if", "param": {"v0": 0.0}}),
    "msat": Conversion({"neuron": "msat", "param": {"v0": 0.5}}),
    "signed": Conversion({"neuron": "signed", "param": {"spikes": 4}}),
    "lm-ht": Conversion(LEVELS),
    "lm-ht-as-if": Conversion(LEVELS, vanilla=True),
}
ALL = ("if", "msat", "signed", "lm-ht")
WHOLE = ("if", "msat", "signed", "lm-ht", "lm-ht-as-if")
BIASED = ("if", "signed")
FORMATS = {
    "integer-8": Format("integer", (*WHOLE, "if-bias", "if-32"), {"bits": 8}),
    "integer-4": Format("integer", WHOLE, {"bits": 4}),
    "integer-8-biases": Format("integer", BIASED, {"bits": 8, "bias_correction": True}),
    "integer-4-biases": Format("integer", BIASED, {"bits": 4, "bias_correction": True}),
    "torch": Format("torch", ALL),
    "onnx": Format("onnx", ALL),
    "nir": Format("nir", ("if-v0", "msat", "signed", "lm-ht")),
    "spikingjelly": Format("spikingjelly", ALL),
    "pt2": Format("pt2", ALL),
    "onnx-unrolled": Format("onnx", ("lm-ht",), {"unroll": T // 4}),
}
KEPT = (
    *("neuron", "timesteps", "samples", "steps", "difference", "tolerance"),
    *("classes_equal", "spikes_compared", "spikes_differing", "accuracy", "accuracy_before"),
    *("counted", "peers", "seconds"),
)


def converted(network: str, conversion: str) -> Path:
    """The spiking checkpoint; what exists is taken."""
    subject, how = NETWORKS[network], CONVERSIONS[conversion]
    run = RUNS / "exports" / network
    made = run / f"{conversion}.safetensors"
    if made.exists():
        return made
    calibrated = run / "calibrated.safetensors"
    if not calibrated.exists():
        given = None if subject.checkpoint is None else str(subject.checkpoint)
        snnconv.calibrate(given, data=subject.data, run=run, out=calibrated)
    simple = not (how.vanilla or how.correct)
    first = made if simple else run / f"before-{conversion}.safetensors"
    snnconv.convert(calibrated, run=run, out=first, **{"timesteps": T, **how.convert})
    if how.vanilla:
        options = {"tolerance": 100.0, "limit": 100}
        snnconv.reparameterize(first, vanilla=True, run=run, out=made, **options)
    if how.correct:
        snnconv.correct(first, method=how.correct, run=run, out=made)
    return made


def row(network: str, conversion: str, name: str) -> dict[str, Any]:
    """Export one network to one format, or return what it refuses."""
    format_, checkpoint = FORMATS[name], converted(network, conversion)
    folder, subject = checkpoint.parent / "files", NETWORKS[network]
    limit = subject.all if name in FAST else subject.few if name == "nir" else subject.peers
    limit = min(limit, 2500) if conversion == "if-32" else limit  # four times the steps
    suffix = EXPORTS.load(format_.to).suffix
    out = folder / f"{conversion}_{name.replace('-', '_')}{suffix}".replace("-", "_")
    found: dict[str, Any] = {"network": network, "conversion": conversion, "format": name}
    options: dict[str, Any] = {"param": format_.param or {}, "run": checkpoint.parent}
    options["batch_size"] = 500  # `torch` starts a process for each batch
    try:
        done = snnconv.export(checkpoint, to=format_.to, limit=limit, out=out, **options)
    except snnconv.SnnconvError as refusal:
        return found | {"refused": refusal.found}
    report = done.model_dump(mode="json")
    sizes = {file.suffix: file.stat().st_size for file in sorted(folder.glob(f"{out.stem}.*"))}
    sizes.pop(".json")
    return found | {key: report[key] for key in KEPT} | {"bytes": sizes}


def main() -> None:
    """As the module's docstring says."""
    torch.set_num_threads(1)
    REPORTS.mkdir(parents=True, exist_ok=True)
    wanted = tuple(sys.argv[1:] or NETWORKS)
    for network, name in itertools.product(NETWORKS, FORMATS):
        for conversion in FORMATS[name].conversions:
            file = REPORTS / f"{network}-{conversion}-{name}.json"
            if file.exists() or not file.stem.startswith(wanted):
                continue
            found = row(network, conversion, name)
            text = json.dumps(found, indent=2, sort_keys=True) + "\n"
            file.write_text(text, encoding="utf-8")
            print(file.stem, found.get("accuracy", "refused"), flush=True)


if __name__ == "__main__":
    main()
