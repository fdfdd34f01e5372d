"""Import ``network.onnx``: read it, translate it to a graph, and compare both."""

import math
from pathlib import Path

from snnconv.data.layout import OTHER_SAMPLES
from snnconv.errors import UnsupportedError
from snnconv.frontends.onnx.crosscheck import judge
from snnconv.frontends.onnx.file import Model, read_model
from snnconv.frontends.onnx.tensors import LARGEST
from snnconv.frontends.onnx.translate import translate
from snnconv.frontends.torch.capture import Captured, check_finite


def import_onnx(
    file: Path,
    input_shape: tuple[int, ...],
    analog: bool = False,
    tokens: int | None = None,
    output: str | None = None,
) -> Captured:
    """Return a file's graph and tensors, in float32, and how far they are from the file.

    Args:
        file: opset 7 to the newest that the installed ``onnx`` knows.
        input_shape: the shape of one sample of the data, which settles sizes that the file leaves
            open.
        analog: whether to accept operations that no neuron computes.
        tokens: how many token numbers there are, for a network on texts.
        output: which of several outputs to use, by name or number.

    Raises:
        UsageError: there is no such file.
        UnsupportedError: the file is not valid, can't be converted, has an input of another shape,
            or NaN or Inf.
        CheckFailedError: the graph computes something else than the file.
    """
    model = read_model(file, tokens is not None, output)
    _check_input(model, input_shape)
    graph, tensors, ending = translate(model, input_shape, analog, tokens is not None)
    check_finite(tensors)
    return Captured(graph, tensors, judge(model, graph, tensors, ending, tokens))


def _check_input(model: Model, input_shape: tuple[int, ...]) -> None:
    batch, *sample = model.sizes
    fits = len(sample) == len(input_shape) and all(
        size in (None, wanted) for size, wanted in zip(sample, input_shape, strict=True)
    )
    if not fits:
        shown = ["?" if size is None else size for size in sample]
        raise UnsupportedError(
            f"{model.file} does not fit the data",
            f"an input '{model.input}' of shape {shown} for samples of {list(input_shape)}",
            OTHER_SAMPLES,
        )
    if (batch or 1) * math.prod(input_shape) > LARGEST:
        raise UnsupportedError(
            f"{model.file} can't be imported",
            f"an input for {batch} samples at once",
            "export it with a batch of 1",
        )
