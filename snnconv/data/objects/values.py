"""Values of samples and of labels as tensors, whatever a program keeps them in."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snnconv.errors import UnsupportedError

SAMPLES = (
    *("pixel_values", "image", "img", "images", "input_values", "input_ids"),
    *("x", "input", "inputs", "features", "data", "audio"),
)
"""Names under which a sample's values are known, in the order in which they are looked for."""
LABELS = ("labels", "label", "y", "target", "targets", "class", "mask", "annotation", "fine_label")
"""Names under which its label is known."""


class Pair(NamedTuple):
    """A sample, or a batch of them, as an object gives it: its values, and its label."""

    x: Any
    y: Any


def refusal(found: str, remedy: str) -> UnsupportedError:
    """Return the error for data that can't be used."""
    return UnsupportedError("data can't be used", found, remedy)


def pair(item: Any) -> Pair:
    """Return an item's values and its label; None if there is no label.

    Args:
        item: values alone; a tuple or list of values, label and anything else; or a mapping with
            names of :data:`SAMPLES` and :data:`LABELS`.

    Raises:
        UnsupportedError: names of which none is known, or an empty tuple.
    """
    if isinstance(item, Mapping):
        y = next((name for name in LABELS if name in item), None)
        others = [name for name in item if name != y]
        x = next((name for name in SAMPLES if name in item), None)
        if x is None and len(others) == 1:
            x = others[0]
        if x is None:
            raise refusal(
                f"samples of {', '.join(map(repr, item)) or 'nothing'}, none of which is known to "
                "hold the values",
                f"name it as one of {', '.join(SAMPLES)}, and the label as one of "
                f"{', '.join(LABELS)}",
            )
        return Pair(item[x], item[y] if y is not None else None)
    if isinstance(item, tuple | list) and not is_numbers(item):
        if not item:
            raise refusal("a sample that is an empty tuple", "give (x, y), or x alone")
        return Pair(item[0], item[1] if len(item) > 1 else None)
    return Pair(item, None)


def is_numbers(item: object) -> bool:
    """Whether a list holds numbers, in lists of any depth, as files of text give arrays."""
    return (
        isinstance(item, list)
        and bool(item)
        and all(
            isinstance(each, bool | int | float) or (isinstance(each, list) and is_numbers(each))
            for each in item
        )
    )


def tensor(value: Any, what: str) -> Tensor:
    """Return a value as a tensor on the CPU: a tensor, array, number, list, or image of Pillow.

    Args:
        value: to be read.
        what: it is, for errors.

    Raises:
        UnsupportedError: it is none of these, or holds objects.
    """
    if isinstance(value, Mapping) and "array" in value:  # a recording of Hugging Face's
        value = value["array"]
    if isinstance(value, Tensor):
        if value.is_complex():
            raise _no_numbers(value, what, value.detach().cpu().numpy())
        return value.detach().cpu()
    if hasattr(value, "getbands") and hasattr(value, "mode"):
        return _image(value, what)
    if value is None or isinstance(value, str | bytes | Mapping):
        raise _no_numbers(value, what)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise refusal(
            f"{what} that is not an array ({error})", "give arrays of numbers of one shape"
        ) from error
    if array.dtype.kind in "OUSMmVc":
        raise _no_numbers(value, what, array)
    kind = array.dtype.newbyteorder("=")
    if array.dtype.kind == "u" and array.dtype != np.uint8:
        kind = np.dtype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(array, dtype=kind).copy().reshape(array.shape))


def _no_numbers(value: Any, what: str, array: Any = None) -> UnsupportedError:
    if array is not None and array.dtype.kind == "O":
        return refusal(
            f"{what} of Python objects (an array of type object), which lists of different "
            "lengths become",
            "bring all samples to one shape, and stack them: numpy.stack",
        )
    found = f"a {type(value).__name__}" if array is None else f"type {array.dtype}"
    remedy = "give numbers: arrays, tensors or images"
    if isinstance(value, str) or (array is not None and array.dtype.kind in "US"):
        remedy = "give numbers: texts as token numbers, classes as whole numbers from 0"
    return refusal(f"{what} of {found}", remedy)


def _image(image: Any, what: str) -> Tensor:
    """Return an image of Pillow as ``[C, H, W]`` uint8, in grey or in red, green and blue."""
    if image.mode in ("I", "F", "I;16"):
        raise refusal(
            f"{what} of Pillow's mode '{image.mode}', more than 8 bit a channel",
            "convert it: image.convert('L') or image.convert('RGB')",
        )
    array = np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    return torch.from_numpy(array.reshape(*array.shape[:2], -1).transpose(2, 0, 1).copy())


def labels(values: Any) -> Tensor | None:
    """Return labels of all samples as one tensor ``[n, ...]``: int64, float32 or bool.

    Raises:
        UnsupportedError: they are no numbers, or differ in shape.
    """
    if values is None:
        return None
    if isinstance(values, list) and values and not isinstance(values[0], int | float):
        each = [tensor(value, "labels") for value in values]
        shapes = [tuple(value.shape) for value in each]
        odd = next((k for k, shape in enumerate(shapes) if shape != shapes[0]), None)
        if odd is not None:
            raise refusal(
                f"labels of shape {list(shapes[0])} and, at index {odd}, {list(shapes[odd])}",
                "give labels of one shape",
            )
        found = torch.stack(each)
    else:
        found = tensor(values, "labels")
    if found.dim() == 0:
        raise refusal("one number as labels", "give one label for each sample")
    if found.is_floating_point():
        return found.float()
    return found if found.dtype == torch.bool else found.long()


def nameless(most: int) -> tuple[str, ...]:
    """Return the vocabulary of token numbers 0..most whose words nobody knows."""
    return tuple(str(token) for token in range(2, most + 1))
