"""Weights for a live module, from a state dict in a file; nothing in it is executed."""

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from snnconv.errors import CheckpointError, said

_PREFIXES = ("module.", "_orig_mod.")
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_REMEDY = "save a plain state dict: torch.save(network.state_dict(), FILE)"


def read_weights(module: nn.Module, file: Path) -> None:
    """Load a state dict into a module.

    Args:
        module: changed in place.
        file: ``.safetensors``, or ``.pt``/``.pth`` (read with ``weights_only=True``), plain or
            wrapped as ``{"state_dict": ...}``, with or without ``module.`` before each key.

    Raises:
        CheckpointError: unreadable, or keys or shapes that do not fit, all of them listed.
    """
    wanted = module.state_dict()
    state = _unprefixed(_read(file), wanted)
    counters = {key for key in {*wanted, *state} if key.endswith("num_batches_tracked")}
    missing = sorted(set(wanted) - set(state) - counters)
    surplus = sorted(set(state) - set(wanted) - counters)
    shapes = [
        f"{key}: file {list(state[key].shape)}, network {list(wanted[key].shape)}"
        for key in sorted(set(state) & set(wanted))
        if state[key].shape != wanted[key].shape
    ]
    if missing or surplus or shapes:
        found = [f"missing: {', '.join(missing)}"] * bool(missing)
        found += [f"surplus: {', '.join(surplus)}"] * bool(surplus)
        found += [f"shapes: {'; '.join(shapes)}"] * bool(shapes)
        raise CheckpointError(
            f"the weights in {file} do not fit the network",
            "\n         ".join(found),
            "name the factory that made them, with its arguments: factory?key=value",
        )
    module.load_state_dict(state, strict=False)


def _read(file: Path) -> Mapping[str, Tensor]:
    problem = f"the weights in {file} can't be read"
    if not file.exists():
        raise CheckpointError(problem, "no such file", "check the path")
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own words are pages, with escape codes
        raise CheckpointError(
            problem,
            "UnpicklingError: more than tensors, which could run any code",
            _REMEDY,
        ) from error
    except Exception as error:  # whatever a foreign file makes the readers raise
        raise CheckpointError(problem, said(error), _REMEDY) from error
    for wrapper in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise CheckpointError(problem, "no state dict", _REMEDY)
    return state


def _unprefixed(state: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
    """Without what DataParallel and compile() put before every key, where the network lacks it."""
    for prefix in _PREFIXES:
        mine = all(key.startswith(prefix) for key in wanted)
        if state and not mine and all(key.startswith(prefix) for key in state):
            bare = {key.removeprefix(prefix): value for key, value in state.items()}
            return _unprefixed(bare, wanted)
    return dict(state)
