"""What a network says of every sample, as a table, and as arrays where outputs are maps.

Shape:
    Outputs ``[n, *out]``, labels ``[n, ...]``.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from snnconv.tasks.base import TASKS, Values

CLASSES = ("classification", "none")
"""Tasks whose table has the class of each sample."""


def table(
    task: str, names: Sequence[str], order: Tensor, labels: Tensor | None, outputs: Tensor
) -> str:
    """Return a row for each sample: number in the split, label, the network's answer, outputs.

    Of maps it has each sample's scores in place of them; see :func:`arrays`. Columns of labels are
    empty if there are none.

    Args:
        task: its name.
        names: of the outputs.
        order: numbers of the samples, ``[n]``.
        labels: theirs, if they have some.
        outputs: of the network.
    """
    if outputs.dim() > 2:
        head, rows = _of_maps(task, labels, outputs)
    elif task in CLASSES:
        head, rows = _of_classes(names, labels, outputs)
    else:
        head, rows = _of_rows(task, names, labels, outputs)
    text = io.StringIO()
    written = csv.writer(text, lineterminator="\n")
    written.writerow(["sample", *head])
    written.writerows([sample, *row] for sample, row in zip(order.tolist(), rows, strict=True))
    return text.getvalue()


def arrays(task: str, order: Tensor, outputs: Tensor) -> bytes:
    """Return an ``.npz`` of maps: ``samples [n]``, and ``answers``: classes, else outputs."""
    answers = TASKS.recall(task).answers(outputs).numpy()
    if answers.dtype.kind == "i" and answers.max() < 256:
        answers = answers.astype(np.uint8)
    file = io.BytesIO()
    np.savez_compressed(file, samples=order.numpy(), answers=answers)
    return file.getvalue()


def scores(task: str, labels: Tensor | None, outputs: Tensor) -> Values:
    """Return the scores of all samples; none without labels, or for a task that has none."""
    found = TASKS.recall(task)
    if labels is None or not found.supervised:
        return {}
    values = found.values(found.rows(outputs[None], labels)[0])
    return {kind.name: values[kind.name] for kind in found.scores(tuple(outputs.shape[1:]))}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"


def _of_classes(
    names: Sequence[str], labels: Tensor | None, outputs: Tensor
) -> tuple[list[str], Iterable[list[str]]]:
    known = [""] * len(outputs) if labels is None else [_label(names, k) for k in labels.tolist()]
    said = [names[k] for k in outputs.argmax(1).tolist()]
    rows = zip(known, said, outputs.tolist(), strict=True)
    head = ["label", "prediction", *(f"logit {name}" for name in names)]
    return head, ([one, other, *map(_number, row)] for one, other, row in rows)


def _label(names: Sequence[str], label: Any) -> str:
    """Return the name of a class; without labels for a task they may be anything."""
    whole = isinstance(label, int) and 0 <= label < len(names)
    return names[label] if whole else str(label)


def _of_rows(
    task: str, names: Sequence[str], labels: Tensor | None, outputs: Tensor
) -> tuple[list[str], Iterable[list[str]]]:
    outputs = outputs.reshape(len(outputs), -1)
    known = [[None] * len(names)] * len(outputs)
    if labels is not None:
        known = labels.double().reshape(outputs.shape).tolist()
    parts = {"label": known}
    answers = TASKS.recall(task).answers(outputs)
    if not answers.is_floating_point():
        parts["prediction"] = answers.double().tolist()
    parts["output"] = outputs.double().tolist()
    head = [f"{what} {name}" for what in parts for name in names]
    listed = zip(*parts.values(), strict=True)
    return head, ([_number(value) for row in rows for value in row] for rows in listed)


def _of_maps(
    task: str, labels: Tensor | None, outputs: Tensor
) -> tuple[list[str], Iterable[list[str]]]:
    if labels is None:
        return [], ([] for _ in outputs)
    pairs = zip(outputs.split(1), labels.split(1), strict=True)
    every = [scores(task, label, output) for output, label in pairs]
    return list(every[0]), ([_number(value) for value in each.values()] for each in every)
