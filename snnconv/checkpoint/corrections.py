"""The tensors that corrections add to a network: their names, and their checks.

A correction never changes a tensor of the ANN. It has tensors of its own, which a simulation adds
up. So several corrections can follow each other, and each can be removed. Their parts are:

- ``current``: a current ``[C]`` at every step, or ``[T, C]`` step by step, for a site's neurons.
- ``potential``: an initial potential ``[*N]`` for a site's neurons, in units of the ANN's
  activation, as currents are.
- ``amplitude``: the relative increase ``[C]`` of what a spike of a site carries.
- ``weight``: a change of a tensor with weights, of its shape.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

from torch import Tensor

from snnconv.core.metadata import CorrectionInfo

Part = Literal["current", "potential", "amplitude", "weight"]
PARTS: tuple[Part, ...] = get_args(Part)


class Place(NamedTuple):
    """The place to which a tensor of a correction belongs.

    Attributes:
        number: the number of the correction, from 1 on.
        part: what the tensor adds to.
        name: the name of the site, or of the network's tensor.
    """

    number: int
    part: str
    name: str

    @property
    def key(self) -> str:
        """``<number>/<part>/<name>``."""
        return f"{self.number}/{self.part}/{self.name}"


def place(key: str) -> Place:
    """Return the place of the tensor with this key; its number is 0 if the key has none."""
    number, _, rest = key.partition("/")
    part, _, name = rest.partition("/")
    sound = number.isascii() and number.isdigit() and len(number) < 10
    return Place(int(number) if sound else 0, part, name)


def without(corrections: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    """Return the tensors of all corrections but one; the numbers of later ones decrease by one."""
    found = {}
    for key, tensor in corrections.items():
        at = place(key)
        if at.number != number:
            found[at._replace(number=at.number - (at.number > number)).key] = tensor
    return found


def keeping(
    corrected: Sequence[CorrectionInfo], corrections: Mapping[str, Tensor], keys: Iterable[str]
) -> tuple[tuple[CorrectionInfo, ...], dict[str, Tensor]]:
    """Return the corrections with these tensors alone; those that lose all theirs are left out."""
    kept = {key: corrections[key] for key in keys}
    made, numbers = tuple(corrected), range(len(corrected), 0, -1)
    for number in numbers:
        own = [key for key in corrections if place(key).number == number]
        if own and not any(key in kept for key in own):
            made = (*made[: number - 1], *made[number:])
            kept = without(kept, number)
    return made, kept


def misfit(
    key: str,
    tensor: Tensor,
    made: Sequence[CorrectionInfo],
    sites: Mapping[str, tuple[int, ...]],
    weights: Mapping[str, tuple[int, ...]],
) -> str:
    """Return what is wrong with a tensor of a correction; empty if nothing is.

    Args:
        key: the key of the tensor.
        tensor: the tensor.
        made: the corrections that the checkpoint lists.
        sites: the shape of a sample at each site.
        weights: the shape of each tensor of the network's synapses.
    """
    at, shape = place(key), tuple(tensor.shape)
    if not 1 <= at.number <= len(made):
        return f"of no correction among the {len(made)} that are listed"
    if at.part not in PARTS:
        return f"'{at.part}', where there are {', '.join(PARTS)}"
    if at.part == "weight":
        if at.name not in weights:
            return f"no synapse has a tensor '{at.name}'"
        wanted = [weights[at.name]]
    elif at.name not in sites:
        return f"'{at.name}' is no site"
    else:
        channels, steps = sites[at.name][:1], made[at.number - 1].timesteps
        wanted = [sites[at.name] if at.part == "potential" else channels]
        if at.part == "current" and steps is not None:
            wanted.append((steps, *channels))
    if shape not in wanted:
        return f"shape {list(shape)}, where it has {' or '.join(str(list(s)) for s in wanted)}"
    if at.part == "amplitude" and not (tensor > -1).all():
        return "spikes that carry nothing, or less"
    return ""
