"""Weights for a live module, from a state dict in a file; nothing in it is executed."""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from snnconv.checkpoint import KEY
from snnconv.errors import CheckpointError, one_line
from snnconv.frontends.archives import refuse_packed
from snnconv.frontends.foreign import PLAIN_STATE_DICT, recognised, whole_network
from snnconv.frontends.statedict import fit

_WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "network", "net", "module", "weights", "params"),
    *("model_ema", "ema_state_dict", "state_dict_ema", "ema", "params_ema"),
)
"""Keys under which training checkpoints keep weights; the first one found counts."""


def read_weights(module: nn.Module, file: Path) -> None:
    """Load a state dict into a module.

    Args:
        module: changed in place.
        file: ``.safetensors``, or one of ``torch.save`` (read with ``weights_only=True``), plain or
            inside a checkpoint of a training run; keys with one prefix or with wrappers, and
            weights in parts are as :mod:`snnconv.frontends.statedict` has them.

    Raises:
        CheckpointError: unreadable, or keys, shapes or types that do not fit, all of them listed.
    """
    found = fit(_read(file), module)
    lines = (
        ("missing", ", ".join(found.missing)),
        ("surplus", ", ".join(found.surplus)),
        ("shapes", "; ".join(found.shapes)),
        ("types", "; ".join(found.kinds)),
    )
    if wrong := [f"{name}: {what}" for name, what in lines if what]:
        raise CheckpointError(
            f"the weights in {file} do not fit the network",
            "\n         ".join(wrong),
            "name the factory that made them, with its arguments: factory?key=value",
        )
    own = module.state_dict()  # with the versions of its parts, which safetensors does not keep
    own.update(found.state)
    module.load_state_dict(own, strict=False)


class _Inert:
    """Stands for an object that only code could make: accepts every call, and does nothing."""

    what = ""

    def __init__(self, *given: Any) -> None:
        pass

    def __new__(cls, *given: Any) -> "_Inert":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


def _read(file: Path) -> Mapping[str, Tensor]:
    problem = f"the weights in {file} can't be read"
    if not file.exists():
        raise CheckpointError(problem, "no such file", "check the path")
    try:
        if file.suffix == ".safetensors":
            return _safetensors(file)
        return _state_dict(_unpickled(file))
    except _NoStateDict as none:
        raise CheckpointError(problem, str(none), none.remedy or whole_network(file)) from None
    except pickle.UnpicklingError as error:  # torch's own words are pages, with escape codes
        found, remedy = "more than tensors, which could run any code", whole_network(file)
        if kind := _other_kind(file):
            found, remedy = kind
        raise CheckpointError(problem, found, remedy) from error
    except Exception as error:  # whatever a foreign file makes the readers raise
        found, remedy = _other_kind(file) or (one_line(error), PLAIN_STATE_DICT)
        raise CheckpointError(problem, found, remedy) from error


def _safetensors(file: Path) -> Mapping[str, Tensor]:
    with safetensors.safe_open(file, "pt") as handle:
        if KEY in (handle.metadata() or {}):
            raise _NoStateDict(
                "a checkpoint of snnconv, which holds the network too",
                f"name it instead of the network: snnconv calibrate {file}",
            )
    return safetensors.torch.load_file(file)


def _other_kind(file: Path) -> tuple[str, str] | None:
    """Say what a file is that torch.save did not write, and how to bring it."""
    kind = recognised(file)
    if kind is None or (kind.as_weights == PLAIN_STATE_DICT and file.suffix != ".safetensors"):
        return None
    return kind.name, kind.as_weights


def _unpickled(file: Path) -> Any:
    """Return the tensors of a file, and what they lie in; other objects of code are inert."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            refuse_packed(archive, file.stat().st_size)
    try:
        others = get_unsafe_globals_in_checkpoint(str(file))
    except ValueError:  # not in a zip archive, as of old
        others = []
    inert: list[Any] = [(type(name, (_Inert,), {"what": name}), name) for name in others]
    with warnings.catch_warnings(action="ignore"), safe_globals(inert):
        return torch.load(file, map_location="cpu", weights_only=True)


class _NoStateDict(Exception):  # noqa: N818 - becomes an error with the file's name
    """What a file holds instead of a state dict; without a remedy it is a whole network."""

    def __init__(self, found: str, remedy: str = PLAIN_STATE_DICT) -> None:
        super().__init__(found)
        self.remedy = remedy


def _state_dict(content: Any) -> Mapping[str, Tensor]:
    """Return the one state dict in what a file holds.

    Raises:
        _NoStateDict: there is none, or which one is meant can't be told.
    """
    if isinstance(content, _Inert):
        raise _NoStateDict(f"a whole object of code, pickled: {content.what}", "")
    if not isinstance(content, Mapping):
        raise _NoStateDict(f"no state dict, but a {type(content).__name__}")
    if _is_state_dict(content):
        return {key: value for key, value in content.items() if isinstance(value, Tensor)}
    for name in _WRAPPERS:
        if isinstance(content.get(name), Mapping | _Inert):
            return _state_dict(content[name])
    inside = [key for key, value in content.items() if value and _is_state_dict(value)]
    if len(inside) == 1:
        return _state_dict(content[inside[0]])
    if inside:
        names = ", ".join(map(repr, inside))
        raise _NoStateDict(
            f"{len(inside)} state dicts: {names}",
            f"save the one you mean: torch.save(checkpoint[{inside[0]!r}], 'weights.pt')",
        )
    if arrays := [k for k, v in content.items() if isinstance(v, _Inert) and "numpy" in v.what]:
        raise _NoStateDict(
            f"NumPy arrays, no tensors: {', '.join(map(str, arrays[:5]))}",
            "make tensors of them: torch.save({k: torch.as_tensor(v) for k, v in state.items()}, "
            "'weights.pt')",
        )
    kinds = ", ".join(
        f"{key!r}: {getattr(value, 'what', type(value).__name__)}"
        for key, value in list(content.items())[:10]
    )
    raise _NoStateDict(f"no state dict, but a dict of {kinds or 'nothing'}")


def _is_state_dict(content: Any) -> bool:
    """Whether every value is a tensor, except for entries that modules keep besides tensors."""
    return isinstance(content, Mapping) and all(
        isinstance(key, str) and (isinstance(value, Tensor) or key.endswith("_extra_state"))
        for key, value in content.items()
    )
