"""What small changes of weights do to a spiking network: its classes, and its channels' spikes.

python docs/results/rounded_weights.py CHECKPOINT LIMIT

The checkpoint is one of `snnconv convert` on Fashion-MNIST. Its weights are rounded to 10 and 8
bits, with a unit for each channel as in the format `integer`, or multiplied by 1 + noise. All else
stays as it is, so the figures have the effect of the weights alone. Each row also names the first
channel whose mean number of spikes, on the first 500 samples, changes by more than 0.05 in T steps.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from snnconv.checkpoint import load
from snnconv.core.kinds import SPIKING
from snnconv.data.dataset import batches, load_dataset
from snnconv.data.split import strata, subset
from snnconv.engine.layer_output import LayerOutput, ObserverNeeds
from snnconv.exports.parts.integer_quantize import fitted_unit
from snnconv.simulation.build import spiking_network
from snnconv.simulation.simulate import simulate

AT_ONCE = 100

MOVED = 0.05
"""Spikes of a neuron in T steps, on average over places and samples."""

COUNTED = 500
"""Samples whose spikes are counted."""


class Found(NamedTuple):
    """The classes, and the mean number of spikes of each channel by site."""

    classes: Tensor
    spikes: dict[str, Tensor]


def rounded(bits: int) -> Callable[[Tensor], Tensor]:
    """Weights of so many bits."""
    largest = 2 ** (bits - 1) - 1

    def change(weight: Tensor) -> Tensor:
        rows = weight.flatten(1).double()
        unit = fitted_unit(rows, bits)[:, None]
        found = (rows / unit).round().clamp(-largest, largest) * unit
        return found.reshape(weight.shape).to(weight.dtype)

    return change


def noisy(share: float, seed: int) -> Callable[[Tensor], Tensor]:
    """Weights times 1 + a normal number of this standard deviation."""
    random = torch.Generator().manual_seed(seed)
    return lambda weight: weight * (1 + share * torch.randn(weight.shape, generator=random))


CHANGES = {"10 bits": rounded(10), "8 bits": rounded(8)} | {
    f"noise of {share:g}, seed {seed}": noisy(share, seed)
    for share, seeds in ((1e-4, 2), (1e-3, 4), (1e-2, 2))
    for seed in range(seeds)
}


def first_moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> str:
    """Say which channel of the first site at which one has changed has changed the most."""
    for site, spikes in before.items():
        change = after[site] - spikes
        most = int(change.abs().argmax())
        if abs(change[most]) > MOVED:
            return f"{site} channel {most}: {spikes[most]:.2f} -> {after[site][most]:.2f} spikes"
    return "no channel"


def main(checkpoint: Path, limit: int) -> None:
    """As the module's docstring says."""
    torch.set_num_threads(1)
    stored, data = load(checkpoint, SPIKING), load_dataset("fashion-mnist")
    order = subset(strata(data.test), limit, 0)
    conversion, labels = stored.conversion, data.test.labels
    assert conversion is not None
    assert labels is not None
    T, y = conversion.timesteps, labels[order]

    @torch.no_grad()
    def simulated(change: Callable[[Tensor], Tensor]) -> Found:
        network = spiking_network(stored).eval()
        for each in network.network.parameters():
            if each.dim() > 1:
                each.copy_(change(each))
        classes, spikes = [], dict[str, Tensor]()

        def observe(name: str, start: int, output: LayerOutput) -> None:
            assert output.counts is not None
            counts = output.counts.double().sum((0, 1)).flatten(1)
            spikes[name] = spikes.get(name, 0) + counts.mean(1) / min(COUNTED, len(order))

        needs = ObserverNeeds(values=False)
        for number, (indices, x, _) in enumerate(
            batches(data.test, stored.data, order, AT_ONCE, frames_per_run=1)
        ):
            if number * AT_ONCE < COUNTED:
                logits = simulate(network, x, indices, T, T, observe, needs)
            else:
                logits = simulate(network, x, indices, T, T)
            classes.append(logits[-1].argmax(1))
        return Found(torch.cat(classes), spikes)

    before = simulated(lambda weight: weight)
    print(f"as it is: {(before.classes == y).float().mean():.2%}")
    for name, change in CHANGES.items():
        after = simulated(change)
        first, found = before.classes, after.classes
        lost = int(((first == y) & (found != y)).sum())
        won = int(((first != y) & (found == y)).sum())
        moved, right = int((first != found).sum()), (found == y).float().mean()
        print(f"{name}: {right:.2%}, {moved} of another class, {lost} lost, {won} won")
        print(f"  {first_moved(before.spikes, after.spikes)}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
