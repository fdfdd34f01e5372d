"""How fast a spiking network is simulated, against T forward passes of its ANN and against peers.

Run from the repository's root: ``python -m tests.benchmarks.simulate --out FILE.json``.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnconv.core import runtime
from snnconv.graph.fold import fold
from snnconv.graph.network import Network
from snnconv.metrics.base import Batch, Figures, Watch
from snnconv.metrics.synops import Synops
from snnconv.simulation.build import metric_context, spiking_network
from snnconv.simulation.memory import BatchPlan, plan_batch
from snnconv.simulation.simulate import simulate
from tests.benchmarks import _common as common
from tests.benchmarks._peers import MODES, Peer
from tests.benchmarks._subject import Subject, subject

ENGINES = ("auto", "event", "dense")
REFERENCE = "snnconv dense"
LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
ANN = "T x ANN"


@dataclass(frozen=True)
class Run:
    """One way to simulate a batch.

    Attributes:
        go: ``(x, observe)``; observe, if any, sees ``(site, counts [t, B, *N])``.
        facts: of it, for the report.
    """

    go: Callable[[Tensor, Callable[[str, Tensor], Any] | None], object]
    facts: Mapping[str, Any]


def ours(subject: Subject, engine: Any, memory: int | None) -> Run:
    """Our own engine."""
    snn, T = spiking_network(subject.checkpoint, engine=engine).eval(), subject.timesteps

    def go(x: Tensor, observe: Callable[[str, Tensor], Any] | None) -> None:
        fits = BatchPlan(len(x), T)
        if memory is not None and observe is None:  # whoever compares counts wants all at once
            fits = plan_batch(snn.analysis, fits, memory, snn.causal)
        for indices in torch.arange(len(x)).split(fits.samples):
            seen = None if observe is None else lambda name, _, spikes: observe(name, spikes.counts)
            simulate(snn, x[None, indices], indices, T, fits.steps, seen)

    return Run(go, {"paths": snn.paths()})


def peer(subject: Subject, mode: str, layout: str) -> Run:
    """A peer's neurons."""
    checkpoint = subject.checkpoint
    assert checkpoint.spiking is not None
    thetas = {site: float(theta) for site, theta in checkpoint.thresholds().items()}
    graph, tensors = fold(checkpoint.graph, checkpoint.network)
    network = Peer(graph, tensors, thetas, checkpoint.spiking.params["v0"], mode).eval()
    network = network.to(memory_format=LAYOUTS[layout])

    @torch.no_grad()
    def go(x: Tensor, observe: Callable[[str, Tensor], Any] | None) -> None:
        network(x.contiguous(memory_format=_layout(x, layout)), subject.timesteps, observe)

    return Run(go, {"multiplied_by_theta": sorted(network.amplitudes)})


def ann(subject: Subject, layout: str) -> Run:
    """The ANN, T times."""
    graph, tensors = fold(subject.checkpoint.graph, subject.checkpoint.network)
    network: nn.Module = Network(graph, tensors).eval().to(memory_format=LAYOUTS[layout])

    @torch.no_grad()
    def go(x: Tensor, observe: Callable[[str, Tensor], Any] | None) -> None:
        x = x.contiguous(memory_format=_layout(x, layout))
        for _ in range(subject.timesteps):
            network(x)

    return Run(go, {})


def _layout(x: Tensor, layout: str) -> torch.memory_format:
    return LAYOUTS[layout] if x.dim() == 4 else torch.contiguous_format


def made(subject: Subject, name: str, memory: int | None) -> Run:
    """A method by its name."""
    if name.startswith("snnconv "):
        return ours(subject, name.removeprefix("snnconv "), memory)
    mode, _, layout = name.rpartition(" ")
    return ann(subject, layout) if mode == ANN else peer(subject, mode, layout)


def available(subject: Subject, wanted: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Peers' modes that can be run, and why the others can't."""
    assert subject.checkpoint.spiking is not None
    neuron, found, skipped = subject.checkpoint.spiking.neuron, [], {}
    for mode, facts in MODES.items():
        if facts.package not in wanted:
            continue
        if neuron != "if":
            skipped[mode] = f"it has no {neuron} neuron"
        elif find_spec(facts.package) is None:
            skipped[mode] = f"{facts.package} is not installed: pip install '.[benchmark]'"
        else:
            found.append(mode)
    return found, skipped


def counted(subject: Subject, run: Run) -> dict[str, Tensor]:
    """Every site's counts ``[T, B, *N]``, as bytes."""
    parts: dict[str, list[Tensor]] = {}

    def observe(name: str, counts: Tensor) -> None:
        parts.setdefault(name, []).append(counts.to(torch.uint8))

    run.go(subject.x, observe)
    sites = {site.name for site in subject.checkpoint.graph.sites}
    return {name: torch.cat(part) for name, part in parts.items() if name in sites}


def compared(found: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> dict[str, Any]:
    """How far counts are from those of the reference."""
    differing = {name: int((found[name] != counts).sum()) for name, counts in reference.items()}
    total = sum(counts.numel() for counts in reference.values())
    return {
        "spikes": sum(int(counts.sum(dtype=torch.int64)) for counts in found.values()),
        "neuron_steps": total,
        "differing_share": sum(differing.values()) / total,
        "first_differing_site": next((name for name, n in differing.items() if n), None),
    }


def operations(subject: Subject) -> float:
    """Synaptic operations of the whole batch."""
    snn = spiking_network(subject.checkpoint).eval()
    T = subject.timesteps
    metric = Synops(metric_context(subject.checkpoint, snn, T))
    metric.begin(Batch(subject.labels, torch.empty(0), {}))
    watch = Watch([metric])
    simulate(snn, subject.x[None], torch.arange(len(subject.x)), T, T, watch, watch.needs)
    return float(metric.figures(Figures()).totals["sops_per_sample"]) * len(subject.x)


def faster(subject: Subject, names: Sequence[str], memory: int | None) -> tuple[str, Run]:
    """The faster of two layouts, by the processor's time of a second run each."""
    runs = {name: made(subject, name, memory) for name in names}
    times = {}
    for name, run in runs.items():
        run.go(subject.x, None)
        times[name] = common.timed(partial(run.go, subject.x, None)).cpu
    best = min(times, key=lambda name: times[name])
    return best, runs[best]


def chosen(subject: Subject, modes: Sequence[str], memory: int | None) -> dict[str, Run]:
    """Every method that is measured."""
    runs = {f"snnconv {engine}": made(subject, f"snnconv {engine}", memory) for engine in ENGINES}
    for mode in [*modes, ANN]:
        name, run = faster(subject, [f"{mode} {layout}" for layout in LAYOUTS], memory)
        runs[name] = run
    return runs


def memories(subject: Subject, names: Sequence[str], arguments: Sequence[str]) -> dict[str, Any]:
    """MiB at most by method, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "converted.safetensors"
        subject.save(file)
        given = [*arguments, "--converted", str(file)]
        return {name: common.fresh("simulate", name, given) for name in names}


def fresh(subject: Subject, name: str, memory: int | None) -> None:
    """In a process of its own: print what a method takes."""
    run = made(subject, name, memory)
    run.go(subject.x[:1], None)  # compiles, imports
    common.trim()
    print(common.peak_of(lambda: run.go(subject.x, None)))


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = common.parser("simulate", (__doc__ or "").splitlines()[0], rounds=5)
    parser.add_argument("--memory", type=int, metavar="MIB", help="as snnconv evaluate --memory")
    found = parser.parse_args(arguments)
    if found.neuron == "lm-ht" and not found.param:
        found.param = ["levels=4"]
    found.timesteps = found.timesteps or (8 if found.neuron == "lm-ht" else 32)
    found.batch = found.batch or 16
    found.memory = found.memory and found.memory * 2**20
    return found


def main(arguments: Sequence[str]) -> dict[str, Any]:
    """Measure, print and write."""
    given = options(arguments)
    runtime.prepare(0, given.threads[0])
    runtime.keep_freed_memory()
    what = subject(given)
    if given.fresh is not None:
        fresh(what, given.fresh, given.memory)
        return {}
    before = common.machine()
    modes, skipped = available(what, given.peers)
    for mode, why in skipped.items():
        common.say(f"skipped: {mode}: {why}")
    runs = chosen(what, modes, given.memory)
    reference = counted(what, runs[REFERENCE])
    counts = {name: compared(counted(what, run), reference) for name, run in runs.items()
              if not name.startswith(ANN)}  # fmt: skip
    del reference
    sops = operations(what)
    methods = [common.Method(name, partial(run.go, what.x, None)) for name, run in runs.items()]
    times = common.in_turns(methods, given.threads, given.rounds)
    against = common.fastest(times, ["spikingjelly", ANN])
    report = {
        "program": "simulate",
        "arguments": list(arguments),
        "machine": before,
        "load_after": common.machine()["load"],
        "network": given.network,
        "weights": what.weights,
        "data": what.checkpoint.data.spec,
        "neuron": given.neuron,
        "params": what.checkpoint.spiking.params if what.checkpoint.spiking else {},
        "timesteps": what.timesteps,
        "batch": len(what.x),
        "rate": counts[REFERENCE]["spikes"] / counts[REFERENCE]["neuron_steps"],
        "synaptic_operations": sops,
        "skipped": skipped,
        "facts": {name: dict(run.facts) for name, run in runs.items()},
        "counts": counts,
        "times": common.described(times, against),
        "against": against,
        "operations_per_second": {
            str(n): sops / common.median(of["snnconv auto"])["wall"] for n, of in times.items()
        },
        "memory_mib": {} if given.no_memory else memories(what, list(runs), arguments),
    }
    common.show(report)
    for n, rate in report["operations_per_second"].items():
        common.say(f"snnconv auto, {n} thread(s): {rate / 1e9:.2f} G synaptic operations a second")
    common.write(report, given.out)
    return report


if __name__ == "__main__":
    main(sys.argv[1:])
