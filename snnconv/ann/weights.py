"""Weights for a live module, from a state dict in a file; nothing in it is executed."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from snnconv.errors import CheckpointError

_PREFIXES = ("module.", "_orig_mod.")
_WRAPPERS = ("state_dict", "model_state_dict", "model")


def read_weights(module: nn.Module, file: Path) -> None:
    """Load a state dict into a module.

    Args:
        module: changed in place.
        file: ``.safetensors``, or ``.pt``/``.pth`` (read with ``weights_only=True``), plain or
            wrapped as ``{"state_dict": ...}``, with or without ``module.`` before each key.

    Raises:
        CheckpointError: unreadable, or keys or shapes that do not fit, all of them listed.
    """
    state = _unprefixed(_read(file))
    wanted = module.state_dict()
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    missing = sorted(set(wanted) - set(state) - counters)
    surplus = sorted(set(state) - set(wanted))
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
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointError(
            problem,
            str(error).splitlines()[0],
            "save a plain state dict: torch.save(network.state_dict(), FILE)",
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(
            problem, "no state dict", "save one: torch.save(network.state_dict(), FILE)"
        )
    return state


def _unprefixed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            return _unprefixed({key.removeprefix(prefix): value for key, value in state.items()})
    return dict(state)
