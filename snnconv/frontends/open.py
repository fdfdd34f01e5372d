"""Open the network that a user names as MODEL.

It is a checkpoint, an ONNX file, an exported program (``.pt2``), a zoo name, ``torchvision:NAME``,
``package.module:factory`` or ``file.py:factory``. Zoo names and factories take ``?key=value&...``
as keyword arguments, and the option ``output`` chooses one of several outputs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from snnconv.checkpoint import Checkpoint, load
from snnconv.core.metadata import DataInfo
from snnconv.core.user_code import call, factories, factory
from snnconv.core.validation import parse_pairs
from snnconv.errors import UnsupportedError, UsageError, did_you_mean
from snnconv.frontends import pretrained
from snnconv.frontends.foreign import EXPORTED, FileKind, recognised
from snnconv.frontends.onnx.file import read_model
from snnconv.frontends.onnx.importer import import_onnx
from snnconv.frontends.pt2.importer import import_exported
from snnconv.frontends.torch.capture import Captured, Verdict, capture
from snnconv.frontends.weights import read_weights
from snnconv.graph.analysis import Analysis
from snnconv.zoo import SIGNALS, TEXTS, ZOO

EMBEDDED = Path(__file__).parent / "digits_cnn.safetensors"
"""A small CNN trained on the embedded digits: ``snnconv train cnn --data digits``."""

FILES = (".onnx", ".pt2")
"""Suffixes of files that hold a network of another tool."""


_OTHER_SUFFIXES = (".py", ".pt", ".pth", ".bin", ".ckpt", ".h5", ".keras", ".tflite", ".pb", ".npz")
"""Suffixes of files that users try, though no network can be read from them."""


NO_DATA = "none"
"""Stands for a data set's name if a network is inspected without data."""

OPEN_SIZE = 224
"""Used for a size that an ONNX file leaves open, if no data settle it."""


WITH_CLASSES = ("classification", "segmentation")
"""Tasks whose data name the classes that outputs stand for."""


class ImportedModel(NamedTuple):
    """An opened network.

    Attributes:
        network: a checkpoint of kind ``ann``.
        verdict: how far the graph is from its origin; None for a checkpoint.
    """

    network: Checkpoint
    verdict: Verdict | None


def is_checkpoint(spec: str) -> bool:
    """Whether a MODEL names a checkpoint."""
    return spec.endswith(".safetensors")


def open_model(
    spec: str,
    weights: Path | None,
    info: DataInfo,
    must_be_trained: bool = True,
    analog: bool = False,
    download: bool = False,
    chosen: str | None = None,
) -> ImportedModel:
    """Open the network that the user names.

    Args:
        spec: MODEL.
        weights: the file of a state dict, unless MODEL is a checkpoint.
        info: the data, with its input shape and number of classes.
        must_be_trained: whether to refuse a zoo network without weights.
        analog: whether to accept operations that no neuron computes.
        download: whether to allow a download of torchvision's weights.
        chosen: which of several outputs to use, by name or number.

    Raises:
        UsageError: there is no such file, module, factory or zoo network.
        UnsupportedError: the network can't be captured, or does not fit the data.
        CheckpointError: the checkpoint or the weights can't be used.
    """
    if is_checkpoint(spec):
        if weights is not None:
            raise UsageError(
                "--weights goes with a network that has none", f"the checkpoint {spec}", "drop it"
            )
        refuse_output(spec, chosen)
        return ImportedModel(load(Path(spec), ["ann"]), None)
    name, _, query = spec.partition("?")
    options = parse_pairs(query.split("&")) if query else {}
    if name.endswith(FILES):
        onnx = name.endswith(".onnx")
        output = options.pop("output", chosen)
        if weights is not None or options:
            found = f"'{spec}'" if options else f"the file {name}"
            kind = "an ONNX file" if onnx else "an exported program"
            raise UsageError(
                f"{kind} takes only ?output=NAME, and no --weights", found, "drop them"
            )
        other = recognised(Path(name))
        if other and not (other.name == EXPORTED and name.endswith(".pt2")):
            raise _other_kind(Path(name), other)
        wanted = None if output is None else str(output)
        given = (Path(name), info.shape, analog, info.tokens, wanted)
        return _fitting(import_onnx(*given) if onnx else import_exported(*given), info)
    if name.lower() in ZOO:
        name = name.lower()
        if weights is None and must_be_trained:
            raise UsageError(
                f"the zoo's {name} has no trained weights",
                "no --weights",
                f"train it first: snnconv train {name} --data {info.spec}",
            )
        defaults = _of_data(name, info)
        module = _call(ZOO[name], defaults | options, spec)
    elif ":" in name:
        where, _, attribute = name.rpartition(":")
        torchvision = where.lower() == "torchvision"
        if torchvision and weights is not None and options.get("weights") is not None:
            raise UsageError(
                "a network has one set of weights", f"--weights and '{spec}'", "drop one of them"
            )
        maker = pretrained.maker(attribute, download) if torchvision else factory(name)
        module = _call(maker, options, spec)
    else:
        raise _no_network(name, spec)
    if weights is not None:
        read_weights(module, weights)
    return from_module(module, info, analog, chosen)


def refuse_output(spec: str, chosen: str | None) -> None:
    """Refuse to choose an output of a checkpoint, which has one."""
    if chosen is not None:
        raise UsageError(
            "--output goes with a network that has several outputs",
            f"the checkpoint {spec}, which has one",
            "drop it",
        )


def _other_kind(file: Path, kind: FileKind) -> UsageError:
    return UsageError(f"{file} can't be read as a network", kind.name, kind.as_model)


def _no_network(name: str, spec: str) -> UsageError:
    """Return the error for a MODEL that names no network; it says what it names instead."""
    file = Path(name)
    if file.suffix == ".py" and file.is_file():
        makers = factories(file)
        return UsageError(
            f"{file} is a Python file, and no network in it is named",
            f"'{spec}', in it: {', '.join(makers) or 'no class and no function'}",
            f"name one: {file}:{makers[0]}" if makers else "define a function that returns it",
        )
    if kind := recognised(file):
        return _other_kind(file, kind)
    if file.exists():
        return UsageError(
            f"{file} can't be read as a network",
            "a folder" if file.is_dir() else f"a file of a kind that is not known ({file.name})",
            "export the network to ONNX (torch.onnx.export), or name its factory: file.py:factory",
        )
    if file.suffix in _OTHER_SUFFIXES:
        return UsageError(f"{file} can't be read", "no such file", "check the path")
    return UsageError(
        "there is no network of that name",
        f"'{spec}'",
        f"{did_you_mean(name, ZOO)}, or FILE.safetensors, FILE.onnx, FILE.pt2, "
        "torchvision:NAME, file.py:factory",
    )


def _of_data(name: str, info: DataInfo) -> dict[str, Any]:
    """Return the arguments that a zoo network takes from the data set.

    Raises:
        UnsupportedError: the network is for another kind of data.
    """
    wanted, rank = "images [channels, size, size]", 3
    if name in SIGNALS:
        wanted, rank = "signals [channels, size]", 2
    if name in TEXTS:
        wanted, rank = "texts [length], with a vocabulary", 1
    if len(info.shape) != rank or (info.tokens is None) is (name in TEXTS):
        texts = "texts, " if info.tokens else ""
        raise UnsupportedError(
            f"the zoo's {name} does not fit the data set '{info.spec}'",
            f"{texts}samples of shape {list(info.shape)}, where it takes {wanted}",
            "give other data (--data), or a network of your own: file.py:factory",
        )
    classes = {"classes": len(info.classes)}
    if info.tokens is not None:
        return classes | {"tokens": info.tokens}
    return classes | {"channels": info.shape[0], "size": info.shape[-1]}


def own_input(spec: str, chosen: str | None = None) -> DataInfo | None:
    """Return the input that an ONNX file declares, to inspect it without data.

    Sizes that it leaves open are :data:`OPEN_SIZE`, open channels 3.

    Returns:
        None for token numbers, whose vocabulary only data have.

    Raises:
        UsageError: there is no such file.
        UnsupportedError: no ONNX that can be read.
    """
    name, _, query = spec.partition("?")
    output = (parse_pairs(query.split("&")) if query else {}).get("output", chosen)
    model = read_model(Path(name), True, None if output is None else str(output))
    if not model.dtype.startswith("float"):
        return None
    channels, *sizes = model.sizes[1:] or (None,)
    shape = (channels or 3, *(size or OPEN_SIZE for size in sizes))
    return DataInfo(spec=NO_DATA, shape=shape, classes=(), mean=(0.0,), std=(1.0,), task="none")


def from_module(
    module: nn.Module, info: DataInfo, analog: bool = False, output: str | None = None
) -> ImportedModel:
    """Return a live module as a checkpoint of kind ``ann``.

    Raises:
        UnsupportedError: the module can't be captured, has NaN or Inf, or gives no logits for the
            classes.
        CheckFailedError: the captured graph computes something else.
    """
    return _fitting(capture(module, tuple(info.shape), analog, info.tokens, output), info)


def _fitting(found: Captured, info: DataInfo) -> ImportedModel:
    graph, tensors, verdict = found
    outputs = Analysis.of(graph, tensors).outputs
    classes = (*outputs, 1)[0]
    info = _named(info, classes)
    if info.task == "classification" and len(outputs) != 1:
        raise UnsupportedError(
            "the network gives no logits [B, classes]",
            f"an output of shape {['B', *outputs]} for the task 'classification'",
            "say what the outputs are for: --task segmentation, --task none (snnconv ls tasks)",
        )
    named = info.task in WITH_CLASSES
    if not info.classes or not named:
        names = info.classes if len(info.classes) == classes else map(str, range(classes))
        info = info.model_copy(update={"classes": tuple(names)})
    if named and classes != len(info.classes) and (info.task, classes) != ("segmentation", 1):
        raise UnsupportedError(
            f"the network does not fit the data set '{info.spec}'",
            f"{classes} output{'s' * (classes > 1)} for {len(info.classes)} classes",
            _as_many(classes, info),
        )
    return ImportedModel(Checkpoint("ann", graph, info, tensors, ()), verdict)


def _named(info: DataInfo, outputs: int) -> DataInfo:
    """Return data of a Python program with a class for each output; labels may lack some."""
    numbers = tuple(map(str, range(outputs)))
    known = info.classes
    if info.spec.startswith("python:") and known and known == numbers[: len(known)]:
        return info.model_copy(update={"classes": numbers})
    return info


def _as_many(classes: int, info: DataInfo) -> str:
    """Return the remedy by which data and network get the same number of classes."""
    if (classes, len(info.classes), info.task) == (1, 2, "classification"):
        return "if the output says yes or no, a positive number for class 1: --task multi-label"
    if classes > len(info.classes) and info.spec.startswith("npz:"):
        names = f"classes=[str(k) for k in range({classes})]"
        return (
            f"if classes have no samples, name all {classes}: numpy.savez(..., {names}); "
            "else give the data set that it was trained on (--data)"
        )
    return "give the network as many outputs, or the data set it was trained on (--data)"


def _call(maker: Callable[..., Any], options: dict[str, Any], spec: str) -> nn.Module:
    return call(
        maker, options, spec=spec, kind=nn.Module, what="network", returned="torch.nn.Module"
    )
