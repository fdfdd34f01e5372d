"""What calibration costs beyond the ANN's own forward pass.

Run from the repository's root: ``python -m tests.benchmarks.calibrate --out FILE.json``.
"""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from snnconv.calibration.calibrate import calibrating
from snnconv.calibration.collector import Collector
from snnconv.core import runtime
from snnconv.graph.analysis import Analysis
from snnconv.graph.network import Network
from tests.benchmarks import _common as common
from tests.benchmarks._subject import subject

FORWARD = "forward pass"
GRANULARITIES = ("layer", "channel")


@torch.no_grad()
def forward(network: Network, x: Tensor) -> None:
    """Nothing else."""
    network(x)


def main(arguments: Sequence[str]) -> dict[str, Any]:
    """Measure, print and write."""
    parser = common.parser("calibrate", (__doc__ or "").splitlines()[0], rounds=9)
    given = parser.parse_args(arguments)
    given.timesteps, given.batch = given.timesteps or 1, given.batch or 100
    runtime.prepare(0, given.threads[0])
    runtime.keep_freed_memory()
    what, before = subject(given), common.machine()
    network = calibrating(what.checkpoint, torch.device("cpu"))
    analysis = Analysis.of(network.graph, network.views())
    methods = [common.Method(FORWARD, partial(forward, network, what.x))]
    for name in GRANULARITIES:
        collector = Collector(analysis, name)
        methods.append(common.Method(f"one a {name}", partial(collector.collect, network, what.x)))
    times = common.described(common.in_turns(methods, given.threads, given.rounds), [FORWARD])
    report = {
        "program": "calibrate",
        "arguments": list(arguments),
        "machine": before,
        "load_after": common.machine()["load"],
        "network": given.network,
        "weights": what.weights,
        "data": what.checkpoint.data.spec,
        "batch": len(what.x),
        "times": times,
        "against": [FORWARD],
    }
    for n, of in times.items():
        for name, row in of.items():
            ratio, seconds = row["against"][FORWARD], row["seconds"]["cpu"]
            common.say(
                f"{n} thread(s)  {name:16} {1000 * seconds:8.1f} ms of the processor, "
                f"{ratio['cpu']:.3f} x the forward pass ({ratio['wall']:.3f} by the clock)"
            )
    common.write(report, given.out)
    return report


if __name__ == "__main__":
    main(sys.argv[1:])
