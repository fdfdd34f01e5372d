"""How many images change their class if the weights of a spiking network change a little.

python docs/results/rounded_weights.py CHECKPOINT LIMIT

The checkpoint is one of `snnconv convert` on Fashion-MNIST. Its weights are rounded to 10 and 8
bits, with a unit for each channel as in the format `integer`, or multiplied by 1 + noise. All else
stays as it is, so the figures have the effect of the weights alone.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from snnconv.checkpoint import load
from snnconv.core.kinds import SPIKING
from snnconv.data.dataset import batches, load_dataset
from snnconv.data.split import strata, subset
from snnconv.exports.parts.integer_quantize import fitted_unit
from snnconv.simulation.build import spiking_network
from snnconv.simulation.simulate import simulate


def rounded(bits: int) -> Callable[[Tensor], Tensor]:
    """Weights of so many bits."""
    largest = 2 ** (bits - 1) - 1

    def change(weight: Tensor) -> Tensor:
        rows = weight.flatten(1).double()
        unit = fitted_unit(rows, bits)[:, None]
        found = (rows / unit).round().clamp(-largest, largest) * unit
        return found.reshape(weight.shape).to(weight.dtype)

    return change


def noisy(share: float) -> Callable[[Tensor], Tensor]:
    """Weights times 1 + a normal number of this standard deviation."""
    random = torch.Generator().manual_seed(0)
    return lambda weight: weight * (1 + share * torch.randn(weight.shape, generator=random))


CHANGES = {"10 bits": rounded(10), "8 bits": rounded(8), "noise of 0.001": noisy(0.001)}


def main(checkpoint: Path, limit: int) -> None:
    """As the module's docstring says."""
    torch.set_num_threads(1)
    stored, data = load(checkpoint, SPIKING), load_dataset("fashion-mnist")
    order = subset(strata(data.test), limit, 0)
    conversion = stored.conversion
    assert conversion is not None
    T = conversion.timesteps

    @torch.no_grad()
    def classes(change: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        network = spiking_network(stored).eval()
        for each in network.network.parameters():
            if each.dim() > 1:
                each.copy_(change(each))
        found, labels = [], []
        for indices, x, y in batches(data.test, stored.data, order, 100, frames_per_run=1):
            assert y is not None
            found.append(simulate(network, x, indices, T, T)[-1].argmax(1))
            labels.append(y)
        return torch.cat(found), torch.cat(labels)

    first, labels = classes(lambda weight: weight)
    print(f"as it is: {(first == labels).float().mean():.2%}")
    for name, change in CHANGES.items():
        found, _ = classes(change)
        lost = int(((first == labels) & (found != labels)).sum())
        won = int(((first != labels) & (found == labels)).sum())
        moved = int((first != found).sum())
        right = (found == labels).float().mean()
        print(f"{name}: {right:.2%}, {moved} of another class, {lost} lost, {won} won", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
