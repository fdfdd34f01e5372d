"""Match a state dict's keys to a network's: strip a prefix and wrappers, join weights in parts.

In the end every key and shape has to fit.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_WRAPPERS = frozenset(("module", "_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"))
"""Names that DataParallel, an average of weights, compile() and FSDP put into keys."""

_COUNTERS = ("num_batches_tracked", "n_averaged", "total_ops", "total_params")
"""Ends of keys that count something, and are no weights."""


@dataclass(frozen=True)
class Fit:
    """A state dict under a network's own keys, and what does not fit.

    Attributes:
        state: the state dictionary to load.
        missing: keys that only the network has.
        surplus: keys that only the file has, as the file names them where that is known.
        shapes: keys whose shapes differ.
        kinds: keys whose numbers can't be used, and why.
    """

    state: Mapping[str, Tensor]
    missing: tuple[str, ...]
    surplus: tuple[str, ...]
    shapes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


def fit(state: Mapping[str, Tensor], module: nn.Module) -> Fit:
    """Return the reading of a state dict that fits a network best; of equals, the simplest."""
    own = module.state_dict()
    bare = _bare(own)
    best = min(
        (_keys(candidate, bare) for candidate in _candidates(_bare(state), state, bare, module)),
        key=lambda found: len(found.missing) + len(found.surplus),
    )
    both = [(bare[key], key, best.state[key]) for key in sorted(set(bare) & set(best.state))]
    shapes = tuple(
        f"{name}: file {list(value.shape)}, network {list(own[name].shape)}"
        for name, _, value in both
        if value.shape != own[name].shape
    )
    kinds = tuple(
        f"{name}: {kind}" for name, _, value in both if (kind := _unfit(value, own[name]))
    )
    taken = {} if shapes or kinds else {name: _dense(value) for name, _, value in both}
    missing = tuple(bare[key] for key in best.missing)
    return Fit(taken, missing, best.surplus, shapes, kinds)


def _keys(state: Mapping[str, Tensor], bare: Mapping[str, str]) -> Fit:
    def no_counter(key: str) -> bool:
        return key.rpartition(".")[2] not in _COUNTERS

    missing = filter(no_counter, sorted(set(bare) - set(state)))
    surplus = filter(no_counter, sorted(set(state) - set(bare)))
    return Fit(state, tuple(missing), tuple(surplus))


def _bare(keys: Iterable[str]) -> dict[str, str]:
    """Map keys without wrappers to the original keys; keep wrappers if two keys would collide."""
    keys = list(keys)
    bare = {".".join(p for p in key.split(".") if p not in _WRAPPERS): key for key in keys}
    return bare if len(bare) == len(keys) and "" not in bare else {key: key for key in keys}


def _candidates(
    names: Mapping[str, str],
    state: Mapping[str, Tensor],
    wanted: Iterable[str],
    module: nn.Module,
) -> Iterator[dict[str, Tensor]]:
    """Yield readings of a state dict, the simplest first."""
    weights = [name for name in names if name.rpartition(".")[2] not in _COUNTERS]
    for taken in _prefixes(weights):
        for given in _prefixes(wanted):
            renamed = {
                given + name.removeprefix(taken): state[key]
                for name, key in names.items()
                if name in weights or name.startswith(taken)
            }
            yield renamed
            if (whole := _whole(renamed, module)) is not None:
                yield whole


def _prefixes(keys: Iterable[str]) -> list[str]:
    """Return the prefixes that all keys share, from the empty one on: "", "a.", "a.b."."""
    parts = [key.split(".")[:-1] for key in keys]
    shared: list[str] = []
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return ["".join(f"{part}." for part in shared[:n]) for n in range(len(shared) + 1)]


def _whole(state: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor] | None:
    """Join weights that are kept in parts; None if there are none."""
    found, parts = dict(state), False
    for ends, rule in _PARTS:
        for key in [key for key in found if key.endswith(ends[0])]:
            stem = key.removesuffix(ends[0])
            if any(stem + end not in found for end in ends):
                continue
            name = stem.replace("parametrizations.", "")
            try:
                whole = rule([_dense(found[stem + end]).float() for end in ends], name, module)
            except (RuntimeError, IndexError):  # parts whose shapes do not fit stay surplus
                continue
            found = {k: v for k, v in found.items() if k not in {stem + end for end in ends}}
            found[name], parts = whole, True
    return found if parts else None


def _pruned(parts: Sequence[Tensor], name: str, module: nn.Module) -> Tensor:
    """Join the parts of torch.nn.utils.prune."""
    weight, mask = parts
    return weight * mask


def _directed(parts: Sequence[Tensor], name: str, module: nn.Module) -> Tensor:
    """Undo weight_norm: a length times a direction, whose norm is over the axes of length 1."""
    length, direction = parts
    over = [axis for axis in range(length.dim()) if length.shape[axis] == 1]
    norm: Tensor = torch.linalg.vector_norm(direction, dim=over or None, keepdim=bool(over))
    return direction * (length / norm)


def _spectral(parts: Sequence[Tensor], name: str, module: nn.Module) -> Tensor:
    """Undo spectral_norm: divide a weight by its largest singular value, by the stored vectors."""
    weight, left, right = parts
    owner = dict(module.named_modules()).get(name.rpartition(".")[0])
    rows = int(isinstance(owner, nn.modules.conv._ConvTransposeNd))
    sigma = left @ (weight.movedim(rows, 0).flatten(1) @ right)
    return weight / sigma


_Rule = Callable[[Sequence[Tensor], str, nn.Module], Tensor]
_PARTS: tuple[tuple[tuple[str, ...], _Rule], ...] = (
    (("_orig", "_mask"), _pruned),
    (("_orig", "_u", "_v"), _spectral),
    (("_g", "_v"), _directed),
    ((".original0", ".original1"), _directed),
    ((".original", ".0._u", ".0._v"), _spectral),
)
"""Ends of keys that are parts of one weight, and the function that joins them."""


def _unfit(value: Tensor, own: Tensor) -> str:
    """Say why numbers of one type can't replace those of another; empty if they can."""
    if value.is_quantized:
        return "quantized numbers: give the float weights that they were made from"
    if value.is_meta:
        return "no numbers, only a shape (the meta device)"
    if own.is_floating_point() and not value.is_floating_point():
        return f"numbers of type {value.dtype}, where the network has {own.dtype}"
    return ""


def _dense(value: Tensor) -> Tensor:
    return value if value.layout is torch.strided else value.to_dense()
