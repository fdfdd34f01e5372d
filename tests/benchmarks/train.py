"""How long a training step of a spiking network takes, against its ANN's and against peers'.

Run from the repository's root: ``python -m tests.benchmarks.train --out FILE.json``.
A step is forward, loss, backward and SGD on one batch, with BatchNorm not folded; the ANN's is one
on the merged batch, ``T*B`` samples. The learning rate is 0, so that rates stay what they are.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

import snnconv.simulation.network
from snnconv.core import runtime
from snnconv.engine.dispatch import compiled
from snnconv.engine.layer_output import LayerOutput
from snnconv.graph.network import Network
from snnconv.simulation.build import spiking_network
from snnconv.tasks.base import TASKS
from snnconv.training.losses.base import Given
from tests.benchmarks import _common as common
from tests.benchmarks._peers import MODES, Peer
from tests.benchmarks._subject import Subject, subject

FUSED_NAME, PLAIN, BFLOAT16 = "snnconv fused", "snnconv autograd", "snnconv bfloat16"
ANN = "ANN of T*B"
Observer = Callable[[str, Tensor], Any]


@dataclass(frozen=True)
class Trained:
    """A module that is trained.

    Attributes:
        module: with parameters.
        forward: ``(x, observe) -> logits [T, B, classes]``.
        around: what a step runs in.
    """

    module: nn.Module
    forward: Callable[[Tensor, Observer | None], Tensor]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext


def ours(subject: Subject, name: str) -> Trained:
    """Our own network, as ``snnconv finetune`` has it."""
    snn, T = spiking_network(subject.checkpoint, folded=False).train(), subject.timesteps

    def forward(x: Tensor, observe: Observer | None) -> Tensor:
        def seen(site: str, start: int, output: LayerOutput) -> None:
            assert observe is not None
            assert output.counts is not None
            observe(site, output.counts.detach())

        samples = torch.arange(len(x))
        currents, _ = snn(x[None], T, samples, None, None if observe is None else seen)
        return currents

    return Trained(snn, forward, {PLAIN: _unfused, BFLOAT16: _bfloat16}.get(name, nullcontext))


def _unfused() -> AbstractContextManager[Any]:
    def run(neuron: Any, currents: Tensor, state: Any, keep: Any, *_: Any) -> Any:
        spikes, after = neuron(currents, state, keep)
        return LayerOutput(spikes.values, spikes.counts), after

    return patch.object(snnconv.simulation.network, "fire", run)


def _bfloat16() -> AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16)


def peer(subject: Subject, mode: str) -> Trained:
    """IF neurons of a peer, with the surrogate gradient that is its default."""
    checkpoint = subject.checkpoint
    thetas = {site: float(theta) for site, theta in checkpoint.thresholds().items()}
    network = Peer(checkpoint.graph, checkpoint.network, thetas, 0.5, mode).train()

    def forward(x: Tensor, observe: Observer | None) -> Tensor:
        return network(x, subject.timesteps, observe)  # type: ignore[no-any-return]

    return Trained(network.to(memory_format=torch.channels_last), forward)


def ann(subject: Subject) -> Trained:
    """The ANN on as many samples as there are neuron steps to a neuron."""
    T = subject.timesteps
    network = Network(subject.checkpoint.graph, subject.checkpoint.network).train()
    network = network.to(memory_format=torch.channels_last)

    def forward(x: Tensor, observe: Observer | None) -> Tensor:
        merged: Tensor = network(torch.cat([x] * T))
        return merged.unflatten(0, (T, -1))

    return Trained(network, forward)


def made(subject: Subject, name: str) -> Trained:
    """A method by its name."""
    if name == ANN:
        return ann(subject)
    return ours(subject, name) if name.startswith("snnconv ") else peer(subject, name)


def step(trained: Trained, x: Tensor, labels: Tensor) -> Callable[[], None]:
    """One training step, to be called again and again."""
    descent = torch.optim.SGD(trained.module.parameters(), lr=0.0, momentum=0.9)
    if x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)

    def go() -> None:
        with trained.around():
            loss = Given(TASKS.load("classification"), trained.forward(x, None), labels).of_mean()
        descent.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        descent.step()

    return go


def counted(trained: Trained, x: Tensor) -> dict[str, Tensor]:
    """Every site's counts ``[T, B, *N]``, as bytes."""
    parts: dict[str, list[Tensor]] = {}

    def observe(name: str, counts: Tensor) -> None:
        parts.setdefault(name, []).append(counts.to(torch.uint8))

    with trained.around():
        trained.forward(x, observe)
    return {name: torch.cat(part) for name, part in parts.items()}


def available(subject: Subject, wanted: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The methods, and why others are left out."""
    snn = spiking_network(subject.checkpoint)
    found, skipped = [PLAIN], {}
    if all(compiled(type(neuron), True) for neuron in snn.neurons.values()):
        found = [FUSED_NAME, BFLOAT16, PLAIN]
    for mode, facts in MODES.items():
        if facts.package not in wanted:
            continue
        if find_spec(facts.package) is None:
            skipped[mode] = f"{facts.package} is not installed: pip install '.[benchmark]'"
        else:
            found.append(mode)
    return [*found, ANN], skipped


def compared(trained: Mapping[str, Trained], subject: Subject) -> dict[str, Any]:
    """Spikes of a forward pass by method, and how many differ from plain automatic gradients'."""
    reference, found = counted(trained[PLAIN], subject.x), {}
    for name, each in trained.items():
        if name != ANN:
            counts = counted(each, subject.x)
            differing = sum(int((counts[site] != of).sum()) for site, of in reference.items())
            total = sum(of.numel() for of in reference.values())
            spikes = sum(int(of.sum(dtype=torch.int64)) for of in counts.values())
            found[name] = {
                "spikes": spikes,
                "neuron_steps": total,
                "differing_share": differing / total,
            }
    return found


def memories(subject: Subject, names: Sequence[str], arguments: Sequence[str]) -> dict[str, Any]:
    """MiB at most by method, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "converted.safetensors"
        subject.save(file)
        given = [*arguments, "--converted", str(file)]
        return {name: common.fresh("train", name, given) for name in names}


def fresh(subject: Subject, name: str) -> None:
    """In a process of its own: print what a method takes."""
    trained = made(subject, name)
    step(trained, subject.x[:2], subject.labels[:2])()
    common.trim()
    print(common.peak_of(step(trained, subject.x, subject.labels)))


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = common.parser("train", (__doc__ or "").splitlines()[0], rounds=7)
    found = parser.parse_args(arguments)
    found.timesteps, found.batch = found.timesteps or 4, found.batch or 32
    return found


def main(arguments: Sequence[str]) -> dict[str, Any]:
    """Measure, print and write."""
    given = options(arguments)
    runtime.prepare(0, given.threads[0])
    runtime.keep_freed_memory()
    what = subject(given)
    if given.fresh is not None:
        fresh(what, given.fresh)
        return {}
    before = common.machine()
    names, skipped = available(what, given.peers)
    for mode, why in skipped.items():
        common.say(f"skipped: {mode}: {why}")
    trained = {name: made(what, name) for name in names}
    counts = compared(trained, what)
    methods = [
        common.Method(name, step(each, what.x, what.labels)) for name, each in trained.items()
    ]
    times = common.in_turns(methods, given.threads, given.rounds)
    against = common.fastest(times, ["spikingjelly", ANN, PLAIN])
    report = {
        "program": "train",
        "arguments": list(arguments),
        "machine": before,
        "load_after": common.machine()["load"],
        "network": given.network,
        "weights": what.weights,
        "data": what.checkpoint.data.spec,
        "neuron": given.neuron,
        "peers_neuron": "if",
        "params": what.checkpoint.spiking.params if what.checkpoint.spiking else {},
        "timesteps": what.timesteps,
        "batch": len(what.x),
        "rate": counts[PLAIN]["spikes"] / counts[PLAIN]["neuron_steps"],
        "skipped": skipped,
        "counts": counts,
        "times": common.described(times, against),
        "against": against,
        "memory_mib": {} if given.no_memory else memories(what, names, arguments),
    }
    common.show(report)
    common.write(report, given.out)
    return report


if __name__ == "__main__":
    main(sys.argv[1:])
