"""What the benchmarks share: rounds in which methods take turns, ratios of them, and the report.

A machine is never quiet, and never twice the same: what is compared is measured side by side, each
round gives a ratio of its own, and the median of those is the figure. Beside the clock stands the
processor's time, of all threads, which other processes disturb less.
"""

import argparse
import ctypes
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from snnconv.checkpoint import canonical_json
from snnconv.core.files import write_atomically
from snnconv.core.runtime import environment, free_memory, package_version
from snnconv.neurons.base import NEURONS

PEERS = ("spikingjelly", "snntorch", "sinabs")


@dataclass(frozen=True)
class Method:
    """One way to do what is measured.

    Attributes:
        name: as tables have it.
        run: does it once.
        facts: of it, for the report.
    """

    name: str
    run: Callable[[], object]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Seconds:
    """What one run took, by the clock and of the processor."""

    wall: float
    cpu: float


Times = dict[int, dict[str, list[Seconds]]]
"""By number of threads and method, one a round."""


def parser(program: str, description: str, rounds: int) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    made = argparse.ArgumentParser(f"python -m tests.benchmarks.{program}", description=description)
    made.add_argument("--network", default="resnet20", help="of the zoo (default: %(default)s)")
    made.add_argument("--checkpoint", type=Path, help="a trained one; see docs/benchmarks.md")
    made.add_argument("--data", help="fashion-mnist where it is installed, else digits, scaled up")
    made.add_argument("--neuron", default="if", choices=NEURONS.names())
    made.add_argument("--param", action="append", default=[], metavar="KEY=VALUE")
    made.add_argument("--timesteps", type=int, help="T")
    made.add_argument("--batch", type=int, help="samples at once")
    made.add_argument("--rounds", type=int, default=rounds, help="(default: %(default)s)")
    made.add_argument(
        "--threads", type=int, nargs="+", default=[1, 2], help="in turn (default: 1 2)"
    )
    made.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS, metavar="PEER")
    made.add_argument("--no-memory", action="store_true", help="leave out the fresh processes")
    made.add_argument("--out", type=Path, help="JSON goes there")
    made.add_argument("--fresh", metavar="METHOD", help=argparse.SUPPRESS)
    made.add_argument("--converted", type=Path, help=argparse.SUPPRESS)
    return made


def timed(run: Callable[[], object]) -> Seconds:
    """Run once."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu)


def in_turns(methods: Sequence[Method], threads: Sequence[int], rounds: int) -> Times:
    """Time all methods in every round, each round from another one on."""
    found: Times = {n: {method.name: [] for method in methods} for n in threads}
    for method in methods:
        method.run()  # compiles, and fills buffers
    before = torch.get_num_threads()
    for k in range(rounds):
        start = k % len(methods)
        for n in threads:
            torch.set_num_threads(n)
            for method in [*methods[start:], *methods[:start]]:
                found[n][method.name].append(timed(method.run))
    torch.set_num_threads(before)
    return found


def ratio(ours: Sequence[Seconds], theirs: Sequence[Seconds]) -> dict[str, float]:
    """Medians over rounds of ``ours / theirs``."""
    return {
        kind: statistics.median(
            getattr(a, kind) / getattr(b, kind) for a, b in zip(ours, theirs, strict=True)
        )
        for kind in ("wall", "cpu")
    }


def median(seconds: Sequence[Seconds]) -> dict[str, float]:
    """Of each kind."""
    return {
        kind: statistics.median(getattr(each, kind) for each in seconds) for kind in ("wall", "cpu")
    }


def described(times: Times, against: Sequence[str]) -> dict[str, Any]:
    """Times by threads and method, with the ratios to some of them, for the report."""
    return {
        str(n): {
            name: {
                "seconds": median(each),
                "rounds": [vars(one) for one in each],
                "against": {other: ratio(each, of[other]) for other in against if other in of},
                "against_one_thread": ratio(each, times[1][name]) if n > 1 and 1 in times else None,
            }
            for name, each in of.items()
        }
        for n, of in times.items()
    }


def machine() -> dict[str, Any]:
    """What this runs on."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        model = next((x.partition(":")[2].strip() for x in lines if "model name" in x), model)
    versions = {name: package_version(name) for name in PEERS}
    return {
        "processor_name": model,
        "free_memory_mib": free_memory(torch.device("cpu")) / 2**20,
        "load": os.getloadavg(),
        **environment(),
        **{name: found for name, found in versions.items() if found},
    }


def peak_of(run: Callable[[], object]) -> float | None:
    """MiB that a run takes at most beyond what the process held before; none where not told."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not (status.exists() and os.access(reset, os.W_OK)):
        return None

    def held(which: str) -> int:
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(which))

    reset.write_text("5")  # the peak from now on
    before = held("VmRSS")
    run()
    return (held("VmHWM") - before) / 2**10


def fresh(program: str, method: str, arguments: Sequence[str]) -> float | None:
    """What :func:`peak_of` says of a method in a process of its own."""
    command = [sys.executable, "-m", f"tests.benchmarks.{program}", *arguments, "--fresh", method]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = done.stdout.split()[-1]
    return None if said == "None" else float(said)


def trim() -> None:
    """Give freed memory back to the system, where its library can."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)


def fastest(times: Times, kinds: Sequence[str]) -> list[str]:
    """Of each kind, which names begin with, the method with the least time on the first threads."""
    first = next(iter(times.values()))
    medians = {name: median(each)["cpu"] for name, each in first.items()}
    of_kinds = [[name for name in medians if name.startswith(kind)] for kind in kinds]
    return [min(names, key=lambda name: medians[name]) for names in of_kinds if names]


def say(line: str = "") -> None:
    """To the terminal, at once."""
    print(line, flush=True)


def show(report: Mapping[str, Any]) -> None:
    """Print a report."""
    _heading(report)
    say(f"spikes per neuron and step {report['rate']:.4f}")
    for name, found in report["counts"].items():
        share = found["differing_share"]
        say(f"  {name:<32} {found['spikes']:>12,} spikes, {share:.2e} of neuron-steps differ")
    _table(report["times"], report["against"])
    for name, mib in report["memory_mib"].items():
        say(f"  {name:<32} {'not told here' if mib is None else f'{mib:8.0f} MiB at most'}")


def _heading(report: Mapping[str, Any]) -> None:
    """Print what was measured, and on what."""
    m = report["machine"]
    load = ", ".join(f"{one:.1f}" for one in (*m["load"][:1], *report["load_after"][:1]))
    versions = {name: m[name] for name in ("torch", "numba", *PEERS) if name in m}
    say(f"{report['network']} ({report['weights']}), {report['data']}")
    say(f"{report['neuron']}, T = {report['timesteps']}, batch {report['batch']}")
    say(f"{m['processor_name']}, {m['processor']}, {m['cores']} cores; load before, after: {load}")
    say(", ".join(f"{name} {found}" for name, found in versions.items()))


def _table(times: Mapping[str, Any], against: Sequence[str]) -> None:
    """Print what :func:`described` gave."""
    for n, of in times.items():
        say(f"\n{n} thread(s): ms, and ratios, by the clock (of the processor)")
        heads = "".join(f"  / {name:<30}" for name in against)
        say(f"  {'':<32}{'wall':>8}{'cpu':>8}{heads}")
        for name, row in of.items():
            seconds = row["seconds"]
            line = f"  {name:<32}{1000 * seconds['wall']:8.0f}{1000 * seconds['cpu']:8.0f}"
            for other in against:
                kinds = row["against"][other]
                line += f"  {kinds['wall']:9.3f} ({kinds['cpu']:.3f}){'':<15}"
            if row["against_one_thread"]:
                line += f"   1 thread: {1 / row['against_one_thread']['wall']:.2f}x faster"
            say(line)


def write(report: Mapping[str, Any], out: Path | None) -> None:
    """The report's JSON, where a file is named."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, canonical_json(report).encode())
        say(f"\nwritten: {out}")
