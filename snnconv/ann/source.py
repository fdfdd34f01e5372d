"""The MODEL grammar: from what a user names to a network with its tensors.

A checkpoint, a zoo name, ``torchvision:NAME``, ``package.module:factory`` or ``file.py:factory``,
each but the first with ``?key=value&...`` as keyword arguments.
"""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from snnconv.ann.weights import read_weights
from snnconv.ann.zoo import ZOO
from snnconv.checkpoint import Checkpoint, load
from snnconv.errors import SnnconvError, UnsupportedError, UsageError
from snnconv.facts import DataFacts
from snnconv.graph.build import shapes
from snnconv.graph.capture import capture
from snnconv.plugins import did_you_mean
from snnconv.values import parse_pairs

EMBEDDED = Path(__file__).parent / "digits_cnn.safetensors"
"""A small CNN trained on the embedded digits: ``snnconv train cnn --data digits``."""


def is_checkpoint(spec: str) -> bool:
    """Whether a MODEL names a checkpoint."""
    return spec.endswith(".safetensors")


def open_model(
    spec: str, weights: Path | None, facts: DataFacts, must_be_trained: bool = True
) -> Checkpoint:
    """A network from what the user names.

    Args:
        spec: MODEL.
        weights: a state dict for it, where it is no checkpoint.
        facts: the data it is for: input shape and number of classes.
        must_be_trained: refuse a zoo network without weights.

    Raises:
        UsageError: no such file, module, factory or zoo network.
        UnsupportedError: a network that can't be captured, or does not fit the data.
        CheckpointError: a checkpoint or weights file that can't be used.
    """
    if is_checkpoint(spec):
        if weights is not None:
            raise UsageError(
                "--weights goes with a network that has none", f"the checkpoint {spec}", "drop it"
            )
        return load(Path(spec), ["ann"])
    name, _, query = spec.partition("?")
    options = parse_pairs(query.split("&")) if query else {}
    if name.endswith(".onnx"):
        raise UnsupportedError(
            f"{name} can't be imported",
            "an ONNX file: this version has no ONNX importer",
            "name the PyTorch network instead: file.py:factory --weights FILE",
        )
    if name in ZOO:
        if weights is None and must_be_trained:
            raise UsageError(
                f"the zoo's {name} has no trained weights",
                "no --weights",
                f"train it first: snnconv train {name} --data {facts.spec}",
            )
        channels, size = facts.shape[0], facts.shape[-1]
        defaults = {"channels": channels, "size": size, "classes": len(facts.classes)}
        module = _call(ZOO[name], defaults | options, spec)
    elif ":" in name:
        module = _call(_factory(name), options, spec)
    else:
        raise UsageError(
            "there is no network of that name",
            f"'{spec}'",
            f"{did_you_mean(name, ZOO)}, or FILE.safetensors, torchvision:NAME, file.py:factory",
        )
    if weights is not None:
        read_weights(module, weights)
    return from_module(module, facts)


def from_module(module: nn.Module, facts: DataFacts) -> Checkpoint:
    """A live module as a checkpoint of kind ``ann``.

    Raises:
        UnsupportedError: it can't be captured, has NaN or Inf, or gives no logits for the classes.
        CheckFailedError: the captured graph computes something else.
    """
    graph, tensors = capture(module, tuple(facts.shape))
    _check_finite(tensors)
    (classes,) = shapes(graph, tensors)[graph.output] or (0,)
    if classes != len(facts.classes):
        raise UnsupportedError(
            f"the network does not fit the data set '{facts.spec}'",
            f"{classes} outputs for {len(facts.classes)} classes",
            "give the network as many outputs, or the data set it was trained on (--data)",
        )
    return Checkpoint("ann", graph, facts, tensors, ())


def _check_finite(tensors: dict[str, Tensor]) -> None:
    bad = [n for n, t in tensors.items() if t.is_floating_point() and not torch.isfinite(t).all()]
    if bad:
        raise UnsupportedError(
            "the network's weights can't be used", f"NaN or Inf in {', '.join(bad)}", "train it again"
        )


def _factory(name: str) -> Callable[..., Any]:
    where, _, attribute = name.rpartition(":")
    if where == "torchvision":
        import torchvision.models

        known = torchvision.models.list_models(module=torchvision.models)
        if attribute not in known:
            raise UsageError(
                "torchvision has no network of that name", f"'{attribute}'", did_you_mean(attribute, known)
            )
        return lambda **options: torchvision.models.get_model(attribute, weights=None, **options)
    module = _python_file(Path(where)) if where.endswith(".py") else _python_module(where)
    factory = getattr(module, attribute, None)
    if not callable(factory):
        known = [key for key, value in vars(module).items() if callable(value)]
        raise UsageError(
            f"{where} has no factory '{attribute}'", "nothing to call", did_you_mean(attribute, known)
        )
    return factory  # type: ignore[no-any-return]


def _python_module(where: str) -> ModuleType:
    try:
        return importlib.import_module(where)
    except ImportError as error:
        raise UsageError(
            f"module '{where}' can't be imported", str(error), "install it, or name file.py:factory"
        ) from error


def _python_file(file: Path) -> ModuleType:
    if not file.exists():
        raise UsageError(f"{file} can't be read", "no such file", "check the path")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # as an import does, so that its classes know their module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's file raises
        raise UsageError(
            f"{file} can't be run", f"{type(error).__name__}: {error}", "run it with python first"
        ) from error
    return module


def _call(factory: Callable[..., Any], options: dict[str, Any], spec: str) -> nn.Module:
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        raise UsageError(
            f"the options of '{spec}' can't be taken", str(error), f"see {factory.__name__}'s arguments"
        ) from error
    try:
        module = factory(**options)
    except SnnconvError:
        raise
    except Exception as error:  # whatever the user's factory raises
        raise UnsupportedError(
            f"'{spec}' gives no network", f"{type(error).__name__}: {error}", "call it in python first"
        ) from error
    if not isinstance(module, nn.Module):
        raise UnsupportedError(
            f"'{spec}' gives no network", f"a {type(module).__name__}", "return a torch.nn.Module"
        )
    return module
