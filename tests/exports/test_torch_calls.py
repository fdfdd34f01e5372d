"""Every operation in a module file computes what its record says."""

import dataclasses
import importlib

import pytest
import torch
from helpers.operations import EXAMPLES, drawn, node
from torch import nn
from torch.nn import functional as F

from snnconv.exports.parts.torch_calls import CALLS, call
from snnconv.graph.operations.function import POINTWISE
from snnconv.graph.ops import OPS, Role

IN_TRAINING = {"dropout"}
"""Attributes that change nothing in inference."""

UNWRITTEN = (Role.SITE, Role.STEPWISE, Role.GATE)
WRITTEN = [name for name, op in OPS.items() if op.role not in UNWRITTEN]
OTHERS = {
    "conv": {"stride": [2], "padding": [0], "dilation": [2], "groups": 1},
    "conv_transpose": {"stride": [2], "padding": [1], "output_padding": [1]},
    "max_pool": {"kernel": [3], "stride": [1], "padding": [1], "dilation": [2], "ceil_mode": True},
    "avg_pool": {"kernel": [3], "padding": [1], "ceil_mode": True, "count_include_pad": False},
    "mean": {"dims": [1], "keepdim": True},
    "pad": {"pad": [1, 2], "mode": "reflect"},
    "interpolate": {"size": [9], "align_corners": True},
    "lstm": {"bidirectional": False, "hidden": 2},
}
"""Other attributes than those of the examples."""

CASES = [(name, EXAMPLES[name][0]) for name in WRITTEN]
CASES += [(name, EXAMPLES[name][0] | other) for name, other in OTHERS.items()]
CASES += [
    ("pointwise", {"function": name, "arguments": [2.0] if name in ("pow", "elu") else []})
    for name in POINTWISE
]


class Recorded(dict):
    """Attributes that remember which of them were read."""

    def __init__(self, values):
        super().__init__(values)
        self.read = set()

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key, default=None):
        self.read.add(key)
        return super().get(key, default)


def computed(name, written, tensors, inputs):
    """The value of the text that stands in a file."""
    known = {"torch": torch, "nn": nn, "F": F, **dict(zip(written.inputs, inputs, strict=True))}
    known |= {f"made_{role}": tensor for role, tensor in tensors.items()}
    if written.made:
        known["made"] = eval(written.made, known).eval()
        known["made"].load_state_dict(tensors)
    if written.taken:
        module, function = written.taken
        known[function] = getattr(importlib.import_module(module), function)
        known["Attributes"] = OPS[name].attributes
    return eval(written.value.replace("{self}", "made"), known)


@pytest.mark.parametrize(("name", "attrs"), CASES, ids=[name for name, _ in CASES])
def test_the_text_gives_what_the_record_gives(name, attrs):
    torch.manual_seed(0)
    inputs, tensors = drawn(name)
    # as in a network: torch computes a GRU in another order if its weights can't learn
    tensors = {role: nn.Parameter(tensor) for role, tensor in tensors.items()}
    given = dataclasses.replace(node(name), attrs=Recorded(attrs))
    written = call(given, tensors)
    if name in CALLS:
        assert given.attrs.read >= set(attrs) - IN_TRAINING, "an attribute that the row forgets"
    with torch.no_grad():
        expected = OPS[name].run(attrs, tensors, inputs)
        assert torch.equal(computed(name, written, tensors, inputs), expected)


def test_rows_are_of_operations():
    assert set(CALLS) < set(WRITTEN)
    assert set(WRITTEN) - set(CALLS), "what has no row is written, too"
