"""How the cost of a simulation grows: with T, and with what fires.

Run from the repository's root: ``python -m tests.benchmarks.sweep --out FILE.json``.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from snnconv.checkpoint import Checkpoint
from snnconv.core import runtime
from snnconv.core.jit import compiled
from snnconv.engine.rows import LANES
from tests.benchmarks import _common as common
from tests.benchmarks._subject import Subject, subject
from tests.benchmarks.simulate import counted, faster, operations, ours

STEPS = (8, 16, 32, 64)
SCALES = (4.0, 2.0, 1.0, 0.5)
"""Of all thresholds: the larger, the less fires."""

_SUMS, _ADDITIONS = 12, 1 << 20  # independent sums hide the latency of an addition


def _spin(typing: Any, times: Any) -> Any:
    """So many additions of a vector to each of :data:`_SUMS` sums that stay in registers."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.VectorType(ir.FloatType(), LANES // 2)
        sums = [cgutils.alloca_once_value(builder, kind([float(k)] * 8)) for k in range(_SUMS)]
        with cgutils.for_range(builder, args[0]):
            for total in sums:
                builder.store(builder.fadd(builder.load(total), kind([1.5] * 8)), total)
        total = builder.load(sums[0])
        for one in sums[1:]:
            total = builder.fadd(total, builder.load(one))
        return builder.extract_element(total, ir.IntType(32)(0))

    return types.float32(types.int64), generate


spin: Any = intrinsic(_spin)


@compiled
def _adding(times: int, out: np.ndarray) -> None:
    out[0] = spin(times)


def peak() -> float:
    """Additions of float32 a second that one core can do, in registers, with 256-bit vectors."""
    out = np.empty(1, np.float32)
    _adding(1, out)
    taken = min(common.timed(partial(_adding, _ADDITIONS, out)).cpu for _ in range(9))
    return _ADDITIONS * _SUMS * 8 / taken


def scaled(what: Subject, factor: float) -> Subject:
    """With all thresholds multiplied."""
    found: Checkpoint = what.checkpoint
    tensors = {
        name: tensor * factor if name.endswith("/threshold") else tensor
        for name, tensor in found.calibration.items()
    }
    return replace(what, checkpoint=replace(found, calibration=tensors))


def lasting(what: Subject, steps: int) -> Subject:
    """With another T."""
    spiking = what.checkpoint.spiking
    assert spiking is not None
    shown = spiking.model_copy(update={"timesteps": steps})
    return replace(what, checkpoint=replace(what.checkpoint, spiking=shown))


def rows(
    subjects: Mapping[str, Subject], engine: str, rounds: int, baseline: common.Method
) -> dict[str, Any]:
    """Time, operations and rate of each, in turns with T times the ANN."""
    runs = {name: ours(what, engine, None) for name, what in subjects.items()}
    methods = [
        common.Method(name, partial(run.go, subjects[name].x, None)) for name, run in runs.items()
    ]
    times = common.in_turns([*methods, baseline], [1], rounds)[1]
    found = {}
    for name, what in subjects.items():
        seconds, sops = common.median(times[name]), operations(what)
        counts = counted(what, runs[name])
        steps = sum(part.numel() for part in counts.values())
        against = common.ratio(times[name], times[baseline.name])
        found[name] = {
            "timesteps": what.timesteps,
            "rate": sum(int(part.sum(dtype=torch.int64)) for part in counts.values()) / steps,
            "synaptic_operations": sops,
            "seconds": seconds,
            "against_t_x_ann": {
                kind: ratio * baseline.facts["timesteps"] / what.timesteps
                for kind, ratio in against.items()
            },
            "operations_per_second": sops / seconds["cpu"],
        }
    return found


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = common.parser("sweep", (__doc__ or "").splitlines()[0], rounds=5)
    parser.add_argument("--engine", default="event", choices=["auto", "event", "dense"])
    found = parser.parse_args(arguments)
    found.timesteps = found.timesteps or max(STEPS[:-1])
    found.batch = found.batch or 16
    return found


def main(arguments: Sequence[str]) -> dict[str, Any]:
    """Measure, print and write."""
    given = options(arguments)
    runtime.prepare(0, 1)
    runtime.keep_freed_memory()
    what = subject(given)
    before = common.machine()
    name, run = faster(what, [f"T x ANN {layout}" for layout in ("NCHW", "NHWC")], None)
    baseline = common.Method(name, partial(run.go, what.x, None), {"timesteps": what.timesteps})
    by_steps = {f"T = {steps}": lasting(what, steps) for steps in STEPS}
    by_rate = {f"theta x {factor:g}": scaled(what, factor) for factor in SCALES}
    most = peak()
    report = {
        "program": "sweep",
        "arguments": list(arguments),
        "machine": before,
        "network": given.network,
        "weights": what.weights,
        "data": what.checkpoint.data.spec,
        "neuron": given.neuron,
        "engine": given.engine,
        "batch": len(what.x),
        "peak_additions_per_second": most,
        "by_timesteps": rows(by_steps, given.engine, given.rounds, baseline),
        "by_rate": rows(by_rate, given.engine, given.rounds, baseline),
        "load_after": common.machine()["load"],
    }
    for kind in ("by_timesteps", "by_rate"):
        for label, row in report[kind].items():
            common.say(
                f"{label:12} rate {row['rate']:.4f}  {row['seconds']['cpu']:8.3f} s  "
                f"{row['against_t_x_ann']['cpu']:.3f} x T x ANN  "
                f"{row['operations_per_second'] / 1e9:.2f} G operations/s, "
                f"{row['operations_per_second'] / most:.1%} of the core's additions"
            )
    common.write(report, given.out)
    return report


if __name__ == "__main__":
    main(sys.argv[1:])
