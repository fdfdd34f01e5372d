"""Write the tables of docs/results.md, docs/results/*.md and the README from summary.jsonl.

python docs/results/tables.py            # write each table where its two comment lines stand
python docs/results/tables.py --check    # write nothing; fail if a page is stale
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
POWERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
Row = tuple[str, ...]


def load() -> dict[str, dict]:
    """Every condensed report by its name: ``folder/row``."""
    lines = (HERE / "summary.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["name"]: row["report"] for row in map(json.loads, lines)}


REPORTS = load()


def evaluations(folder: str) -> dict[str, dict]:
    """The reports in one folder, by row name."""
    names = sorted(REPORTS, key="{}.json".format)  # as files are listed
    return {n.split("/")[1]: REPORTS[n] for n in names if n.startswith(f"{folder}/")}


def table(heads: Row, rows: list[Row]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in (heads, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:]])


def by_step(rows: dict[str, dict], top: int) -> str:
    """Accuracy at every power of two, and the energy there as a share of the ANN's."""
    steps = [t for t in POWERS if t <= top]
    heads = ("row", "n", "ANN", *(f"T={t}" for t in steps))
    body = []
    for name, r in rows.items():
        ann = f"{r['ann_accuracy']:.2%}"
        accuracy = ("" if a is None else f"{a:.2%}" for a in (r["accuracy"][t - 1] for t in steps))
        body.append((f"`{name}`", str(r["samples"]), ann, *accuracy))
        spent = (r["energy_total_mj_steps"][t - 1] for t in steps)
        energy = ("" if mj is None else f"{mj / r['energy_ann_mj']:.2f}" for mj in spent)
        body.append(("energy / ANN's", "", "1", *energy))
    return table(heads, body)


def spikes(rows: dict[str, dict], at: tuple[int, ...]) -> str:
    """Firing rate and SOPs up to some steps."""
    heads = ("row", *(f"rate to {t}" for t in at), *(f"SOPs to {t} (M)" for t in at))
    body = []
    for name, r in rows.items():
        rates = (f"{sum(r['firing_rate_steps'][:t]) / t:.4f}" for t in at)
        sops = (f"{r['sops_per_sample_steps'][t - 1] / 1e6:.2f}" for t in at)
        body.append((f"`{name}`", *rates, *sops))
    return table(heads, body)


def confidence(rows: dict[str, dict]) -> str:
    """Table 6's form: last spiking layer, with and without spike confidence."""
    heads = ("row", "accuracy", "SIN ratio by E", "SIN ratio by T", "ANS/neuron", "ANS/SIN neuron")
    body = []
    for name, r in rows.items():
        layer = [row for row in r["layers"] if row["threshold"] is not None][-1]
        body.append(
            (
                f"`{name}`",
                f"{r['accuracy'][-1]:.2%}",
                f"{layer['sin_ratio'][15]:.4f}",
                f"{layer['sin_ratio'][-1]:.4f}",
                f"{layer['ans_per_neuron']:.4f}",
                f"{layer['ans_per_sin_neuron']:.3f}",
            )
        )
    return table(heads, body)


def levels(rows: dict[str, dict]) -> str:
    """LM-HT networks as converted: accuracy at T, and what it costs."""
    heads = (
        "row",
        "L",
        "T",
        "n",
        "ANN",
        "at T",
        "energy / ANN's",
        "spikes/neuron/step",
        "SOPs (M)",
    )
    body = []
    for name, r in sorted(rows.items(), key=lambda row: [int(n) for n in row[0].split("-")[2:]]):
        body.append(
            (
                f"`{name}`",
                str(r["params"]["levels"]),
                str(r["timesteps"]),
                str(r["samples"]),
                f"{r['ann_accuracy']:.2%}",
                f"{r['accuracy'][-1]:.2%}",
                f"{r['energy_total_ratio']:.2f}",
                f"{r['firing_rate_mean']:.4f}",
                f"{r['sops_per_sample'] / 1e6:.2f}",
            )
        )
    return table(heads, body)


def single(rows: dict[str, dict]) -> str:
    """Reparameterized LM-HT networks beside what they came from."""
    heads = ("row", "n", "T", "accuracy", "SOPs (M)", "counts that differ")
    body = []
    for name, r in rows.items():
        body.append(
            (
                f"`{name}`",
                str(r["samples"]),
                f"{r['timesteps_before']} to {r['timesteps_after']}",
                f"{r['accuracy_before']:.2%} to {r['accuracy_after']:.2%}",
                f"{r['sops_before'] / 1e6:.2f} to {r['sops_after'] / 1e6:.2f}",
                f"{r['window_mismatch_share']:.2%}",
            )
        )
    return table(heads, body)


def hybrid(rows: dict[str, dict], training: dict[str, dict]) -> str:
    """QCFS networks in neurons of some levels and steps, at the start and fine-tuned.

    No fine-tuned figure stands where no epoch was better on the held-out images than the start.
    """
    heads = ("row", "QCFS", "neurons", "T", "at the start", "fine-tuned", "energy / ANN's")
    body = []
    for name, r in rows.items():
        if name.endswith("-tuned"):
            continue
        _, quantized, *neuron = name.split("-")
        kind = {"if": "IF", "lm-ht": "LM-HT", "lm-h": "LM-H"}["-".join(neuron[:2])]
        if kind == "LM-HT":
            kind += f", L = {r['params']['levels']}"
        steps = [t for t in POWERS if t <= r["timesteps"]] if kind == "IF" else [r["timesteps"]]
        tuned = rows.get(f"{name}-tuned")
        kept = tuned and not training[f"{name}-tuned"]["epoch_best"]
        for t in steps:
            of = tuned or r
            row = f"`{name}`" + (f", `{name}-tuned`" if tuned else "")
            body.append(
                (
                    row if t == steps[0] else "",
                    f"{quantized[1:]} levels, {r['ann_accuracy']:.2%}",
                    kind,
                    str(t),
                    f"{r['accuracy'][t - 1]:.2%}",
                    "as it came" if kept else f"{tuned['accuracy'][-1]:.2%}" if tuned else "",
                    f"{of['energy_total_mj_steps'][t - 1] / of['energy_ann_mj']:.2f}",
                )
            )
    return table(heads, body)


def mixing(rows: dict[str, dict]) -> str:
    """Table 1's form: accuracy, and what it costs."""
    heads = ("row", "accuracy", "SOPs (M)", "energy (mJ)", "spikes/neuron/step")
    body = [
        (
            f"`{name}`",
            f"{r['accuracy'][-1]:.2%}",
            f"{r['sops_per_sample'] / 1e6:.2f}",
            f"{r['energy_total_mj']:.4f}",
            f"{r['firing_rate_mean']:.4f}",
        )
        for name, r in rows.items()
    ]
    return table(heads, body)


def slices(rows: dict[str, dict], training: dict[str, dict]) -> str:
    """Table 3's form: training in slices of time, and what the last epoch gave."""
    heads = ("row", "steps of a slice", "accuracy", "energy / ANN's", "last loss")
    body = []
    for name, r in rows.items():
        cells = [name.rpartition("-")[2], f"{r['accuracy'][-1]:.2%}"]
        cells += [f"{r['energy_total_ratio']:.2f}", f"{training[name]['epochs'][-1]['loss']:.2f}"]
        body.append((f"`{name}`", *cells))
    return table(heads, body)


def slices_memory(found: dict) -> str:
    """What one training step takes."""
    heads = ("T", "steps of a slice", *(f"{name}, MiB" for name in found))
    together = zip(*(of["rows"] for of in found.values()), strict=True)
    body = [
        (str(row["timesteps"]), str(row["slice"]), *(str(other["mib"]) for other in (row, *others)))
        for row, *others in together
    ]
    return table(heads, body)


def first_step(found: dict) -> str:
    """Rates and gradients of untrained networks, in the first, the middle and the last layer."""
    heads = ("method", "T", "firing rates", "gradients / weights of convolutions")
    body = []
    for row in found["rows"]:
        rates, gradients = row["firing_rates"], row["gradients"][:-1]
        three = [[each[0], each[len(each) // 2], each[-1]] for each in (rates, gradients)]
        cells = [", ".join(f"{x:.2f}" for x in three[0]), ", ".join(f"{x:.0e}" for x in three[1])]
        body.append((f"`{row['preset']}`", str(row["timesteps"]), *cells))
    return table(heads, body)


LEVELS, STEPS = ("16", "64", "256", "4096", "16384"), ("16", "64", "256", "1024")
METHODS = ("max", "percentile")


def foreign(rows: dict[str, dict], columns: dict[str, Callable[[dict], str]]) -> str:
    """Networks that nobody here wrote: why not, or what they are, and errors of L levels."""
    heads = ("network", "sites", *columns, *(f"L = {n}" for n in LEVELS))
    body = []
    for name, r in rows.items():
        if not r["converts"]:
            body.append((f"`{name}`", r["why"], *[""] * (len(heads) - 2)))
            continue
        cells = [str(r["sites"]), *(column(r) for column in columns.values())]
        body.append((f"`{name}`", *cells, *(f"{r['levels'][n]:.2g}" for n in LEVELS)))
    return table(heads, body)


def over_time(rows: dict[str, dict]) -> str:
    """Errors of the same networks as IF, by thresholds and steps."""
    heads = ("network", *(f"{method}, T = {t}" for method in METHODS for t in STEPS))
    body = []
    for name, r in rows.items():
        if r["converts"]:
            errors = (r["if"][method].get(t) for method in METHODS for t in STEPS)
            body.append((f"`{name}`", *("" if e is None else f"{e:.3f}" for e in errors)))
    return table(heads, body)


def scientific(key: str) -> Callable[[dict], str]:
    """A column of small numbers."""
    return lambda row: f"{row[key]:.0e}"


VISION = {
    "not spiking": lambda row: f"{row['non_spiking_share']:.0%}",
    "(a)": scientific("folded"),
    "(a) in float64": scientific("folded_float64"),
}
SHIPPED = {"import error": scientific("imported"), "(a)": scientific("folded")}


def transfer_vision(rows: dict[str, dict]) -> str:
    """torchvision's networks with transfer sites: errors, spikes, and what does not spike."""
    heads = ("network", "input", "sites", "of them transfer", "error, T = 16", "error, T = 64")
    heads += ("spikes/neuron/step", "not spiking", "not spiking, everything", "functions")
    body = []
    for name, r in rows.items():
        cells = [f"{r['size']}", f"{r['sites']}", f"{r['transfer_sites']}"]
        cells += [f"{r['error'][T]:.3f}" for T in ("16", "64")] + [f"{r['spikes']:.2f}"]
        shares = (r["non_spiking_share"], r["non_spiking_share_everything"], r["function_share"])
        body.append((f"`{name}`", *cells, *(f"{share:.1%}" for share in shares)))
    return table(heads, body)


def fine_vision(rows: dict[str, dict]) -> str:
    """torchvision's networks on fine thresholds: errors and spikes by way."""
    ways = list(dict.fromkeys(way for r in rows.values() for way in r["ways"]))
    heads = ("network", "sites", *ways)
    body = []
    for name, r in rows.items():
        cells = (
            f"{way['error']['64']:.3f} ({way['spikes']:.2f})" if way else ""
            for way in (r["ways"].get(each) for each in ways)
        )
        body.append((f"`{name}`", str(r["sites"]), *cells))
    return table(heads, body)


def front_ends(found: dict) -> str:
    """Networks of functions by front end: the share of spikes that differ."""
    names = {"module": "module", "pt2": "`.pt2`"}
    names |= {"torchscript": "ONNX, torchscript", "dynamo": "ONNX, dynamo"}

    def cell(value: float | str) -> str:
        return value if isinstance(value, str) else f"{value:.1%}" if value else "0"

    body = [
        (r["network"], str(r["transfer_sites"]), *(cell(r[name]) for name in names))
        for r in found["rows"]
    ]
    return table(("network", "transfer sites", *names.values()), body)


def published(rows: dict[str, dict]) -> str:
    """Other people's networks: the agreement with the ANN at each T that was tried."""
    steps = ("4", "8", "16", "32", "64")
    heads = ("network", "sites", "functions", "ANN", *(f"T = {t}" for t in steps))
    heads += ("spikes at the last", "energy / ANN's")
    body = []
    for name, r in rows.items():
        ann = "" if r["ann_accuracy"] is None else f"{r['ann_accuracy']:.1%}"
        tried = [f"{r['agreement'][t]:.1%}" if t in r["agreement"] else "" for t in steps]
        spikes, energy = r["spikes"][max(r["spikes"], key=int)], r["energy"]
        cells = (str(r["sites"]), f"{r['function_share']:.1%}", ann, *tried)
        body.append((f"`{name}`", *cells, f"{spikes:.2f}", f"{energy:.2f}"))
    return table(heads, body)


def max_pool(found: dict) -> str:
    """Two rules of max pooling on spikes: errors of the mean output."""
    heads = ("site", "kernel, stride, padding", "input's own", "cumulative", "largest spike")
    heads += ("cumulative, to the ANN", "largest spike, to the ANN")
    keys = ("input_error", "cumulative_against_pool_of_mean", "largest_spike_against_pool_of_mean")
    keys += ("cumulative_against_ann", "largest_spike_against_ann")
    body = [
        (f"`{r['site']}`", ", ".join(map(str, r["window"])), *(f"{r[key]:.2g}" for key in keys))
        for r in found["rows"]
    ]
    return table(heads, body)


def few_steps(rows: dict[str, dict]) -> str:
    """Accuracy at the steps of the paper's table, and what spikes cost there."""
    steps = (4, 8, 16, 64, 256)
    heads = ("row", "n", "ANN", *(f"T={t}" for t in steps), "SOPs at the last (M)")
    body = []
    for name, r in rows.items():
        known = [t for t in steps if t <= r["timesteps"]]
        accuracy = [f"{r['accuracy'][t - 1]:.2%}" for t in known]
        accuracy += [""] * (len(steps) - len(known))
        sops = f"{r['sops_per_sample_steps'][known[-1] - 1] / 1e6:.3f}"
        ann = f"{r['ann_accuracy']:.2%}"
        body.append((f"`{name}`", str(r["samples"]), ann, *accuracy, sops))
    return table(heads, body)


def below(cell: dict, n: int) -> str:
    """Points below the ANN on the same samples, and two standard errors of the difference."""
    pair = cell["against_ann"]
    lost, won = pair["only_other_right"], pair["only_this_right"]
    return f"{100 * (lost - won) / n:+.2f} ± {200 * (lost + won) ** 0.5 / n:.2f}"


def by_method(r: dict) -> str:
    """A comparison: accuracy in percent, and energy as a share of the ANN's, by method and T."""
    steps = sorted({cell["timesteps"] for row in r["methods"] for cell in row["cells"]})
    heads = ("method", *(f"T = {t}" for t in steps))
    body = []
    for row in r["methods"]:
        cells = {}
        for cell in row["cells"]:
            shown = f"{100 * cell['accuracy']:.1f} / {cell['energy_total_ratio']:.2f}"
            shown = f"**{shown}**" if cell["energy_worth_it"] else shown
            cells[cell["timesteps"]] = shown + " †" * cell["latency_worth_it"]
        body.append((f"`{row['method']}`", *(cells.get(t, "") for t in steps)))
    return table(heads, body)


def near_ann(r: dict) -> str:
    """What each method asks for, at its first T within one point of the ANN, else at its last."""
    heads = (
        "method",
        "within a point at",
        "points below the ANN",
        "for",
        "/ twin's",
        "its accuracy",
    )
    heads += ("with memory", "latency", "spikes", "passes", "seconds")
    body = []
    for row in r["methods"]:
        near = row.get("within_1_point")
        cell = next((c for c in row["cells"] if c["timesteps"] == near), row["cells"][-1])
        passes = row.get("forward_passes_to_1_point")
        twin = cell.get("energy_twin_ratio")
        body.append(
            (
                f"`{row['method']}`",
                f"T = {near}" if near else f"not at T = {cell['timesteps']}",
                below(cell, r["samples"]),
                f"{cell['energy_total_ratio']:.2f}",
                f"{twin:.2f}" if twin else "",
                f"{cell['twin_accuracy']:.1%}" if twin else "",
                f"{cell['energy_memory_ratio']:.1f}",
                str(cell["latency_steps"]),
                f"{cell['firing_rate']:.2f}",
                f"{passes:.0f}" if passes else "",
                f"{row['calibration_seconds']:.0f}",
            )
        )
    return table(heads, body)


def exits(rows: dict[str, dict]) -> str:
    """Networks with early exit, beside themselves without."""
    heads = ("row", "n", "ANN", "margin", "accuracy", "steps, the mean", "energy / ANN's")
    body = []
    for name, r in rows.items():
        both = {"steps_mean": r["timesteps"], "energy_total_ratio": r["energy_total_ratio"]}
        for found in ({"margin": "", "accuracy": r["accuracy"][-1], **both}, r["early_exit"]):
            body.append(
                (
                    f"`{name}`",
                    str(r["samples"]),
                    f"{r['ann_accuracy']:.2%}",
                    str(found["margin"]),
                    f"{found['accuracy']:.2%}",
                    f"{found['steps_mean']:.2f}",
                    f"{found['energy_total_ratio']:.2f}",
                )
            )
    return table(heads, body)


def searched() -> str:
    """What few_steps_search.py measured, by T and the error of the logits."""
    heads = ("T", "thresholds / mse's", "neuron and coding", "corrected by")
    heads += ("points below the ANN", "logits' error", "for")
    body = []
    for row in map(json.loads, (HERE / "few_steps.jsonl").read_text("utf-8").splitlines()):
        calibrate, convert = row.get("calibrate", {}), row["convert"]
        scale = f"{calibrate.get('param', {}).get('scale', 1):g}"
        scale += ", 4,096 samples" if "samples" in calibrate else ""
        options = ", ".join(f"`{name}={value}`" for name, value in convert["param"].items())
        coding = "differential, " if "coding" in convert else ""
        corrected = ", ".join(f"`{each['method']}`" for each in row.get("correct", ()))
        apart = f"{row['points_below']:+.2f} ± {row['two_standard_errors']:.2f}"
        error, energy = row["logits_relative_error"], row["energy_total_ratio"]
        neuron = f"{coding}`{convert['neuron']}`, {options}"
        body.append(
            (str(row["T"]), scale, neuron, corrected, apart, f"{error:.3f}", f"{energy:.2f}")
        )
    return table(heads, body)


def compared(folder: str, *parts: Callable[[dict], str]) -> dict[str, str]:
    """The tables of a folder's comparisons by name, each below the samples behind it."""
    found = {}
    for name, r in evaluations(folder).items():
        ann = f", ANN {r['ann_accuracy']:.2%}" if "ann_accuracy" in r else ""
        head = f"{r['samples']:,} test samples{ann}:"
        found[f"{folder}-{name}"] = "\n\n".join((head, *(part(r) for part in parts)))
    return found


def by_error(r: dict) -> str:
    """A comparison without labels: the logits' error, and spikes, by method and T."""
    steps = sorted({cell["timesteps"] for row in r["methods"] for cell in row["cells"]})
    body = []
    for row in r["methods"]:
        cells = {
            c["timesteps"]: f"{c['logits_relative_error']:.3f} / {c['firing_rate']:.2f}"
            for c in row["cells"]
            if "logits_relative_error" in c  # a run that goes on has it at its end only
        }
        body.append((f"`{row['method']}`", *(cells.get(t, "") for t in steps)))
    return table(("method", *(f"T = {t}" for t in steps)), body)


def corrected(r: dict) -> str:
    """A comparison of corrections: accuracy, energy, and the error of the logits."""
    steps = sorted({cell["timesteps"] for row in r["methods"] for cell in row["cells"]})
    heads = ("method", *(f"T = {t}{what}" for t in steps for what in ("", ", for", ", error")))
    body = []
    for row in r["methods"]:
        cells = {cell["timesteps"]: cell for cell in row["cells"]}
        shown = [f"`{row['method']}`"]
        for cell in (cells.get(t) for t in steps):
            error = cell and cell.get("logits_relative_error")
            shown += [
                f"{cell['accuracy']:.1%}" if cell else "",
                f"{cell['energy_total_ratio']:.2f}" if cell else "",
                f"{error:.3f}" if error else "",
            ]
        body.append((*shown, f"{row['calibration_seconds']:.0f}"))
    return table((*heads, "seconds"), body)


def within(rows: dict[str, dict]) -> str:
    """What each search chose, and what came next on the samples that it was chosen on."""
    heads = (
        "network",
        "method",
        "T",
        "latency",
        "points below the ANN",
        "samples",
        "for",
        "outcome",
    )
    body = []
    for name, r in rows.items():
        near = (t for t in r["trials"] if t["outcome"] != "below")
        for trial in sorted(near, key=lambda trial: trial["energy_total_ratio"])[:4]:
            shown = [f"`{name}`", f"`{trial['method']}`", str(trial["timesteps"])]
            shown += [str(trial["latency_steps"]), f"{trial['points_below']:.2f}"]
            shown += [str(trial["samples"]), f"{trial['energy_total_ratio']:.3f}"]
            body.append((*shown, trial["outcome"]))
    return table(heads, body)


def onnx_exported(rows: dict[str, dict]) -> str:
    """Spikes of networks that came through a file beside those of the module."""
    exporters = ("torchscript", "dynamo")
    heads = ("network", "sites", "neuron-steps (M)", "spikes (M)")
    heads += tuple(f"{name}: import error" for name in exporters)
    heads += tuple(f"{name}: neuron-steps that differ" for name in exporters)
    body = []
    for name, r in rows.items():
        cells = [str(r["sites"]), f"{r['dynamo']['neuron_steps'] / 1e6:.1f}"]
        cells += [f"{r['spikes'] / 1e6:.1f}"]
        cells += [f"{r[exporter]['imported']:.0e}" for exporter in exporters]
        cells += [str(r[exporter]["neuron_steps_that_differ"]) for exporter in exporters]
        body.append((f"`{name}`", *cells))
    return table(heads, body)


def trained(rows: dict[str, dict], training: dict[str, dict]) -> dict[str, str]:
    """The tables of networks that were trained with their neurons."""
    found: dict[str, str] = {}
    again = {k: r for k, r in rows.items() if k.endswith(("-single", "-vanilla"))}
    sliced = {k: r for k, r in rows.items() if "slice" in k}
    direct = {k: r for k, r in rows.items() if "direct" in k}
    other = ("identity", "frozen")
    longer = {k: r for k, r in rows.items() if k.endswith("-longer")}
    rest = {k: r for k, r in rows.items() if k not in {**again, **sliced, **direct, **longer}}
    plain = {k: r for k, r in rest.items() if not any(word in k for word in other)}
    for network in ("resnet20", "vgg11"):
        if own := {k: r for k, r in plain.items() if k.startswith(network)}:
            found[f"hybrid-{network}"] = hybrid(own, training)
    if frozen := {k: r for k, r in rest.items() if k not in plain}:
        learned = {k: r for k, r in plain.items() if k.endswith("q4-lm-ht-2-2-tuned")}
        found["hybrid-mixing"] = mixing({**frozen, **learned})
    if again:
        found["hybrid-single"] = single(again)
    if sliced:
        found["hybrid-slices"] = slices(sliced, training)
    if direct:
        found["hybrid-direct"] = mixing(direct)
    return found


PAPERS = {
    "stbp-tdbn": "92.92%, CIFAR-10, ResNet-19, T = 4",
    "dspike": "93.66%, CIFAR-10, ResNet-18, T = 4",
    "tet": "94.44%, CIFAR-10, ResNet-19, T = 4",
    "sltt": "94.44%, CIFAR-10, ResNet-18, T = 6",
    "glif": "94.15%, CIFAR-10, ResNet-18, T = 2",
    "lm-ht": "96.25%, CIFAR-10, ResNet-18, T = 2",
    "lm-h": "95.62%, CIFAR-10, ResNet-18, T = 4",
    "rmp-loss": "74.66%, CIFAR-100, ResNet-19, T = 2",
    "tebn": "78.71%, CIFAR-100, improved ResNet-19, T = 4",
    "asgl": "56.57%, ImageNet-200, VGG-13, T = 4",
    "ltl": "55.37%, ImageNet-200, VGG-13, T = 16",
    "mpbn": "64.71%, ImageNet, ResNet-34, T = 4",
    "sew": "67.04%, ImageNet, ResNet-34, T = 4",
    "recdis": "72.42%, CIFAR10-DVS, ResNet-19, T = 10",
}
"""What papers have, of their own training on their own data: LM-HT's Table 3, LM-H's Table 1."""
T_GIM = {
    "if": "76.22%, 1.60 G SOPs, 1.44 mJ",
    "lm-ht-no-t-gim": "80.52%, 1.08 G SOPs, 0.97 mJ",
    "lm-ht": "80.56%, 0.73 G SOPs, 0.66 mJ",
}
"""LM-HT's Table 1: a ResNet-18 on a part of ImageNet."""


def training_methods(rows: dict[str, dict]) -> dict[str, str]:
    """The comparisons of training methods, each a table: the best first."""
    return {
        f"training-{name}": trained_methods(r, T_GIM if "t-gim" in name else PAPERS)
        for name, r in rows.items()
    }


def trained_methods(report: dict, papers: dict[str, str]) -> str:
    """A method at one T a line; means over seeds, with their standard deviations."""
    heads = ("method", "T", "seeds", "accuracy", "best", "last", "SOPs (M)", "energy (mJ)")
    heads += ("spikes (k)", "step, CPU s", "step, MiB", "the paper's own")
    cells = [(row["method"], cell) for row in report["methods"] for cell in row["cells"]]

    def around(cell: dict, key: str, scale: float, digits: int, unit: str = "") -> str:
        if key not in cell:
            return ""
        std = cell[key]["std"]
        spread = "" if std is None else f" \u00b1 {scale * std:.{digits}f}"
        return f"{scale * cell[key]['mean']:.{digits}f}{spread}{unit}"

    body = [
        (
            f"`{method}`",
            str(cell["timesteps"]),
            str(len(cell["seeds"])),
            *(around(cell, key, 100, 2, "%") for key in ("score", "best", "last")),
            around(cell, "sops_per_sample", 1e-6, 2),
            around(cell, "energy_total_mj", 1, 4),
            around(cell, "spikes_per_sample", 1e-3, 1),
            around(cell, "step_cpu_seconds", 1, 3),
            around(cell, "step_memory_mib", 1, 0),
            papers.get(method, ""),
        )
        for method, cell in sorted(cells, key=lambda each: -each[1]["score"]["mean"])
    ]
    return table(heads, body)


def bars(rows: dict[str, dict]) -> str:
    """Cells of comparisons on all test images, one line each, by network and accuracy."""
    heads = ("network", "method", "T", "ANN", "accuracy", "points below the ANN", "for")
    heads += ("/ twin's", "twin's accuracy", "latency")
    cells = [
        (name.split("-")[0], r, row["method"], cell)
        for name, r in rows.items()
        for row in r["methods"]
        for cell in row["cells"]
    ]
    body = []
    for network, r, method, cell in sorted(cells, key=lambda c: (c[0], -c[3]["accuracy"])):
        body.append(
            (
                f"`{network}`",
                f"`{method}`",
                str(cell["timesteps"]),
                f"{r['ann_accuracy']:.2%}",
                f"{cell['accuracy']:.2%}",
                below(cell, r["samples"]),
                f"{cell['energy_total_ratio']:.2f}",
                f"{cell['energy_twin_ratio']:.2f}",
                f"{cell['twin_accuracy']:.2%}",
                str(cell["latency_steps"]),
            )
        )
    return table(heads, body)


EXPECTED = {
    ("resnet20", "qcfs-free"): "ResNet-20, IF neurons",
    (
        "resnet20",
        "signed-4",
    ): "ResNet-20, signed neurons with up to four spikes a step (`signed-4`)",
    (
        "resnet20",
        "signed-fine",
    ): "ResNet-20, the same neurons with half the thresholds (`signed-fine`)",
    (
        "vgg11",
        "lm-ht-uniform",
    ): "VGG-11 at half width, LM-HT neurons with two levels (`lm-ht-uniform`)",
    ("vgg11", "signed-fine"): "VGG-11 at half width, `signed-fine`",
}


def expected(rows: dict[str, dict]) -> str:
    """The README's table: accuracy, and energy as a share of the ANN's, of a few of the bars."""
    steps = (4, 8)
    found: dict[tuple[str, str], dict[int, str]] = {}
    anns = {}
    for name, r in rows.items():
        network = name.split("-")[0]
        anns[network] = f"{r['ann_accuracy']:.2%}"
        for row in r["methods"]:
            cells = found.setdefault((network, row["method"]), {})
            for cell in row["cells"]:
                shown = f"{cell['accuracy']:.2%}, {cell['energy_total_ratio']:.2f}"
                cells[cell["timesteps"]] = shown
    body = [
        (label, anns[key[0]], *(found[key].get(t, "") for t in steps))
        for key, label in EXPECTED.items()
    ]
    return table(("", "ANN", *(f"T = {t}" for t in steps)), body)


def exported(rows: dict[str, dict]) -> str:
    """Networks as files: sizes, what the referee found, and the accuracy of the files."""
    heads = ("row", "files, kB", "samples", "largest difference of a logit")
    heads += ("spikes that differ", "same class", "accuracy before", "of the files")
    body = []
    for name, r in rows.items():
        if "refused" in r:
            continue
        sizes = " + ".join(f"{size / 1000:,.0f}" for size in r["bytes"].values() if size > 1000)
        differing, compared = r.get("spikes_differing"), r.get("spikes_compared")
        figures = [sizes, str(r["samples"]), f"{r['difference']:.0e}" if r["difference"] else "0"]
        figures.append("" if differing is None else f"{differing:,} of {compared / 1e6:.1f} M")
        figures += [str(r["classes_equal"])]
        figures += [f"{r['accuracy_before']:.2%}", f"{r['accuracy']:.2%}"]
        body.append((f"`{name}`", *figures))
    return table(heads, body)


def not_exported(rows: dict[str, dict]) -> str:
    """What a format refuses, in its own words."""
    refusals: dict[str, list[str]] = {}
    for name, r in rows.items():
        if "refused" in r:
            refusals.setdefault(r["refused"], []).append(f"`{name}`")
    return table(("rows", "refused"), [(", ".join(of), words) for words, of in refusals.items()])


def tables() -> dict[str, str]:
    """Return every table by the name of its place in a page."""
    found = {"bars": bars(evaluations("bars")), "expected": expected(evaluations("bars"))}
    for network in ("vgg11", "resnet20"):
        rows = evaluations(network)
        sweep = {k: r for k, r in rows.items() if not k.startswith(("sc-", "lm-ht-"))}
        sc = {k: r for k, r in rows.items() if k.startswith("sc-")}
        if sweep:
            found[f"{network}-sweep"] = by_step(sweep, 64)
            found[f"{network}-spikes"] = spikes(sweep, (8, 32, 64))
        if many := {k: r for k, r in rows.items() if k.startswith("lm-ht-")}:
            found[f"{network}-levels"] = levels(many)
        if sc:
            found[f"{network}-confidence"] = confidence(sc)
    if rows := evaluations("events"):
        for T in (4, 32):
            same = {k: r for k, r in rows.items() if r["timesteps"] == T}
            found[f"events-{T}"] = by_step(same, T)
    if rows := evaluations("single"):
        found["single"] = single(rows)
    found |= trained(evaluations("hybrid"), evaluations("hybrid-training"))
    found |= training_methods(evaluations("training"))
    if rows := evaluations("vision"):
        found["vision"], found["vision-if"] = foreign(rows, VISION), over_time(rows)
    if rows := evaluations("transfer-vision"):
        found["transfer-vision"] = transfer_vision(rows)
    if rows := evaluations("fine-vision"):
        found["fine-vision"] = fine_vision(rows)
    if rows := evaluations("published"):
        found["published"] = published(rows)
    found["front-ends"] = front_ends(REPORTS["front_ends"])
    if rows := evaluations("onnx"):
        shipped = {name: r for name, r in rows.items() if name.startswith("light_")}
        found["onnx-shipped"] = foreign(shipped, SHIPPED)
        found["onnx-shipped-if"] = over_time(shipped)
        found["onnx-exported"] = onnx_exported({n: r for n, r in rows.items() if n not in shipped})
    found |= {"search": searched(), "exit": exits(evaluations("exit"))}
    found["within"] = within(evaluations("within"))
    found |= compared("compare", by_method, near_ann)
    found |= compared("methods", by_method)
    found |= compared("corrections", corrected)
    found |= compared("errors", by_error)
    if rows := evaluations("exports"):
        found["exports"], found["exports-refused"] = exported(rows), not_exported(rows)
    found["max-pool"] = max_pool(REPORTS["max_pool"])
    found["slices-memory"] = slices_memory(REPORTS["slices_memory"])
    found["first-step"] = first_step(REPORTS["first_step"])
    for name in ("text", "speech"):
        if rows := evaluations(name):
            found[name] = few_steps(rows)
    return found


def pages() -> list[Path]:
    """Return every page that may hold a table."""
    docs = HERE.parent
    return [docs.parent / "README.md", docs / "results.md", *sorted(HERE.glob("*.md"))]


def filled() -> dict[Path, str]:
    """Return every page with its tables in place: each between its two comment lines.

    Raises:
        SystemExit: a table has no place, or more than one.
    """
    texts = {page: page.read_text(encoding="utf-8") for page in pages()}
    for name, content in tables().items():
        start, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
        places = [page for page, text in texts.items() if start in text and end in text]
        if len(places) != 1:
            raise SystemExit(f"the table '{name}' has {len(places)} places in the pages, not one")
        before, rest = texts[places[0]].split(start, 1)
        texts[places[0]] = f"{before}{start}{content}\n{end}{rest.split(end, 1)[1]}"
    return texts


def main() -> None:
    """Write the pages whose tables have changed, or only name them."""
    stale = [
        (page, text) for page, text in filled().items() if text != page.read_text(encoding="utf-8")
    ]
    if "--check" in sys.argv:
        sys.exit("; ".join(f"{page} is stale" for page, _ in stale) or None)
    for page, text in stale:
        page.write_text(text, encoding="utf-8")
        print(f"wrote {page}")


if __name__ == "__main__":
    main()
