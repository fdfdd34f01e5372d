"""One record an operation for all front ends: nothing is forgotten, and each record is true."""

import ast
import dataclasses
from functools import partial
from pathlib import Path

import onnx
import pytest
import torch
import torch.nn.functional as F
from helpers.nets import Calls

from snnconv.frontends import lowering as room
from snnconv.frontends.lowering import choices, sequences
from snnconv.frontends.lowering import table as tables
from snnconv.frontends.lowering.contract import BatchAxis, Lowering, in_place
from snnconv.frontends.lowering.table import ATEN, FUNCTIONS, LOWERINGS, METHODS, OPERATORS
from snnconv.frontends.torch.capture import capture
from snnconv.graph.ops import OPS

FILES = sorted(Path(next(iter(room.__path__))).glob("*.py"))
TREES = {file.stem: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


def shown(lowering):
    """A lowering's name in a test."""
    make = lowering.make
    while isinstance(make, partial):
        make = make.func
    # an object's text may hold its address, which no two processes share
    given = [getattr(one, "__name__", str(one)) for one in getattr(lowering.make, "args", ())]
    return " ".join([make.__name__, *given])


def named(lowering):
    """All names that front ends have for it."""
    return [
        *(*lowering.modules, *lowering.functions, *lowering.methods, *lowering.named),
        *(*lowering.aten, *lowering.onnx),
    ]


@pytest.mark.parametrize("lowering", LOWERINGS, ids=shown)
def test_a_front_end_names_every_lowering(lowering):
    assert named(lowering)


def test_what_happens_to_the_batch_has_to_be_said():
    fields = dataclasses.fields(Lowering)
    needed = {
        field.name
        for field in fields
        if field.default is field.default_factory is dataclasses.MISSING
    }
    assert needed == {"make", "batch_axis"}


def test_every_file_of_lowerings_is_in_the_table():
    listed = {one.__name__.rpartition(".")[2] for one in tables.FILES}
    having = {
        name
        for name, tree in TREES.items()
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "LOWERINGS"
    }
    assert having == listed


def test_a_lowering_makes_every_operation():
    """But for QCFS, which is recognised in what makes it up, and what stages add."""
    words = {
        node.value
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(OPS) - words == {"qcfs", "transfer", "step_scale", "spike_and", "spike_iand"}


def test_a_name_stands_once():
    with pytest.raises(ValueError, match="two lowerings name relu"):
        tables._table([("relu", 1), ("abs", 2), ("relu", 3)])


@pytest.mark.parametrize("name", ATEN)
def test_aten_has_the_operator(name):
    _, packet, overload = name.split(".")
    assert str(getattr(getattr(torch.ops.aten, packet), overload)) == name


def test_onnx_has_the_operators():
    assert {schema.name for schema in onnx.defs.get_all_schemas()} >= set(OPERATORS)


def test_in_place():
    assert in_place("relu", "add.Tensor") == ("relu", "add.Tensor", "relu_", "add_.Tensor")


def called(function, x, *arguments):
    """A function, or a method by its name."""
    if isinstance(function, str):
        return getattr(x, function)(*arguments)
    return function(x, *arguments)


ARGUMENTS = {
    "clamp": (-0.5, 0.5),
    "clip": (-0.5, 0.5),
    "clamp_min": (0.25,),
    "clamp_max": (0.25,),
    "threshold": (0.25, 0.25),
    "pow": (2,),
    "alpha_dropout": (0.5, False),
    "dropout": (0.5, False),
    "feature_alpha_dropout": (0.5, False),
    **{f"dropout{n}d": (0.5, False) for n in (1, 2, 3)},
}
"""What functions take after their value."""

TOKENS = {id(one) for one in sequences.LOWERINGS}
TOKENS |= {id(one) for one in choices.LOWERINGS if one.make is choices.equal}  # always refused
EACH = {
    getattr(function, "__name__", function): function
    for table in (FUNCTIONS, METHODS)
    for function, lowering in table.items()
    if lowering.batch_axis is BatchAxis.EACH and id(lowering) not in TOKENS
}


@pytest.mark.filterwarnings("ignore:dropout")
@pytest.mark.parametrize("name", sorted(EACH))
def test_it_changes_each_number_by_itself(name):
    """Whatever axis the batch is; capture compares the graph with the network."""
    arguments = ARGUMENTS.get(name.strip("_"), ())

    def forward(n, x):
        turned = x.abs().transpose(0, 1) + 0.1  # logarithms and roots want it above 0
        if name in ("invert", "logical_not", "bitwise_not"):
            turned = turned > 1
        function = EACH[name]
        called = (
            getattr(turned, function) if isinstance(function, str) else partial(function, turned)
        )
        return called(*arguments).transpose(0, 1).float().flatten(1)

    graph, *_ = capture(Calls(forward), (4, 3), analog=True)
    assert "permute" not in [node.op for node in graph.nodes]


PAIRS = {
    getattr(function, "__name__", function): function
    for table in (FUNCTIONS, METHODS)
    for function, lowering in table.items()
    if lowering.batch_axis is BatchAxis.BROADCASTS
}


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("name", sorted(PAIRS))
def test_it_broadcasts(name, constant):
    def forward(n, x):
        turned = x.transpose(0, 1)
        other = n.row if constant else turned.abs() + 1
        function = PAIRS[name]
        called = (
            getattr(turned, function) if isinstance(function, str) else partial(function, turned)
        )
        return called(other).transpose(0, 1).float().flatten(1)

    row = torch.nn.Buffer(torch.tensor([0.5, -0.5, 2.0]))
    capture(Calls(forward, row=row), (4, 3), analog=True)


def test_a_slope_a_channel_needs_the_batch_first():
    def forward(n, x):
        return F.prelu(x.transpose(0, 1), n.slope).transpose(0, 1).flatten(1)

    slope = torch.nn.Buffer(torch.tensor([0.1, 0.2, 0.3]))  # of 3 samples, no channels
    with pytest.raises(Exception, match="moves the batch"):
        capture(Calls(forward, slope=slope), (4, 3))
