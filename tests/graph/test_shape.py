"""Shapes by formula are those that PyTorch computes, or none."""

import copy
import subprocess
import sys

import pytest
import torch
from helpers.operations import EXAMPLES, drawn, node
from hypothesis import given, settings
from hypothesis import strategies as st

from snnconv.graph.network import compute
from snnconv.graph.operations.base import of_pytorch
from snnconv.graph.ops import OPS

FREE = {"reshape", "permute", "take", "pad", "expand"}
"""PyTorch knows their shapes without its compiler."""
SLOW = {"lstm", "gru"}


def formula(name, attrs, shapes, tensors):
    """As a check of a network asks: the shape rule first; None where PyTorch is to say it."""
    op = OPS[name]
    typed = op.typed(attrs)
    roles = {role: torch.empty(shape) for role, shape in tensors.items()}
    if op.rule(typed, shapes, roles) is not None:
        return None
    return op.shape(typed, shapes, tensors)


def test_which_have_a_formula():
    assert {name for name, op in OPS.items() if op.shape is of_pytorch} == FREE | SLOW


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - FREE - SLOW))
def test_examples_fit(name):
    attrs, shapes, tensors = EXAMPLES[name]
    value = compute(node(name), drawn(name)[1], drawn(name)[0])
    assert formula(name, attrs, shapes, tensors) == value.shape[1:]


def moved(data, value):
    """A whole number a little larger or smaller, in any place of attributes or of shapes."""
    if isinstance(value, bool) or not isinstance(value, int | list | tuple | dict):
        return value
    if isinstance(value, int):
        return value + data.draw(st.sampled_from([0, 0, 0, 0, 1, 1, 2, -1, 5]))
    if isinstance(value, dict):
        return {key: moved(data, each) for key, each in value.items()}
    found = [moved(data, each) for each in value]
    if found and data.draw(st.integers(0, 15)) == 0:
        found = found[1:] if data.draw(st.booleans()) else [*found, found[-1]]
    return type(value)(found)


WINDOWED = ("conv", "conv_transpose", "max_pool", "avg_pool", "adaptive_avg_pool")


def of_rank(data, name, attrs, shapes, tensors):
    """An example with windows over two or three axes."""
    rank = data.draw(st.integers(1, 3)) if name in WINDOWED else 1
    attrs = {k: v * rank if isinstance(v, list) else v for k, v in attrs.items()}
    shapes = [(*shape, *shape[1:] * (rank - 1)) if name in WINDOWED else shape for shape in shapes]
    if name.startswith("conv"):
        tensors = {role: (*shape, *shape[2:] * (rank - 1)) for role, shape in tensors.items()}
    return attrs, shapes, tensors


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - FREE - SLOW))
@settings(max_examples=100)
@given(data=st.data())
def test_what_a_formula_says_pytorch_computes(name, data):
    """Near an example: where PyTorch finds a misfit, no formula says a shape."""
    attrs, shapes, tensors = of_rank(data, name, *copy.deepcopy(EXAMPLES[name]))
    if "ceil_mode" in attrs:
        attrs["ceil_mode"] = data.draw(st.booleans())
    if "output_padding" in attrs:
        attrs["output_padding"] = [data.draw(st.integers(0, 2)) for _ in attrs["stride"]]
    attrs, tensors = moved(data, attrs), moved(data, tensors)
    shapes = [moved(data, shape) for shape in shapes]
    try:
        OPS[name].typed(attrs)
        values = [torch.zeros(2, *shape) for shape in shapes]
        roles = {role: torch.zeros(shape) for role, shape in tensors.items()}
    except (ValueError, RuntimeError):
        return  # refused before anything asks for a shape
    try:
        found = formula(name, attrs, shapes, tensors)
    except (IndexError, ValueError):  # PyTorch is not asked then, and the node is refused
        found = None
    if found is not None:
        assert OPS[name].run(attrs, roles, values).shape == (2, *found)


NET = """
from torch import nn

def net():
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(36, 10)),
    )
"""
STAGES = """
import sys
from snnconv.cli import main
for line in ("calibrate net.py:net --samples 64", "convert", "evaluate --limit 20", "report"):
    sys.argv = ["snnconv", *line.split()]
    try:
        main()
    except SystemExit as end:
        assert not end.code, line
assert not {"sympy", "torch._dynamo"} & set(sys.modules)
"""


def test_stages_that_train_nothing_import_no_compiler(tmp_path):
    """Which takes seconds."""
    (tmp_path / "net.py").write_text(NET)
    command = [sys.executable, "-c", STAGES]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "snnconv-run" / "report.html").is_file()
