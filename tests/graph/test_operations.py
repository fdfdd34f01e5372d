"""One record an operation: what the package asks about each is there, and is right."""

import dataclasses
import math

import pytest
import torch

from snnconv.graph.ir import Node
from snnconv.graph.operations.base import Attributes, Silence
from snnconv.graph.ops import OPS, Op, misfit, misplaced

WINDOW = {"kernel": [2], "stride": [2], "padding": [0], "ceil_mode": False}
CONV = {"stride": [1], "padding": [1], "dilation": [1], "groups": 1}
RECURRENT = {"hidden": 2, "layers": 1, "bias": False, "bidirectional": False, "dropout": 0.0}
IMAGE = (4, 6)
GATES = {"lstm": 4, "gru": 3}

EXAMPLES = {
    "conv": (CONV, [IMAGE], {"weight": (3, 4, 3)}),
    "conv_transpose": ({**CONV, "output_padding": [0]}, [IMAGE], {"weight": (4, 3, 3)}),
    "linear": ({}, [(4,)], {"weight": (3, 4)}),
    "batch_norm": ({"eps": 1e-5}, [IMAGE], {"mean": (4,), "var": (4,)}),
    "affine": ({}, [IMAGE], {"scale": (4,), "shift": (4,)}),
    "layer_norm": ({"shape": [6], "eps": 1e-5}, [IMAGE], {}),
    "rms_norm": ({"shape": [6], "eps": 1e-5}, [IMAGE], {"weight": (6,)}),
    "group_norm": ({"groups": 2, "eps": 1e-5}, [IMAGE], {}),
    "local_response_norm": ({"size": 3, "alpha": 0.1, "beta": 0.7, "k": 1.0}, [IMAGE], {}),
    "relu": ({"ceiling": None}, [IMAGE], {}),
    "qcfs": ({"levels": 4}, [IMAGE], {"threshold": (1,)}),
    "max_pool": ({**WINDOW, "dilation": [1]}, [IMAGE], {}),
    "adaptive_max_pool": ({"output": [2]}, [IMAGE], {}),
    "avg_pool": ({**WINDOW, "count_include_pad": True}, [IMAGE], {}),
    "adaptive_avg_pool": ({"output": [2]}, [IMAGE], {}),
    "mean": ({"dims": [2], "keepdim": False}, [IMAGE], {}),
    "add": ({}, [IMAGE, IMAGE], {}),
    "concat": ({"dim": 1}, [IMAGE, IMAGE], {}),
    "reshape": ({"shape": [24]}, [IMAGE], {}),
    "permute": ({"dims": [2, 1]}, [IMAGE], {}),
    "slice": ({"dim": 2, "start": 1, "stop": 5, "step": 2}, [IMAGE], {}),
    "take": ({"dim": 2, "places": [3, 0]}, [IMAGE], {}),
    "pad": ({"pad": [1, 2], "mode": "constant"}, [IMAGE], {}),
    "expand": ({"shape": [4, 6]}, [IMAGE], {}),
    "dropout": ({"p": 0.5}, [IMAGE], {}),
    "identity": ({}, [IMAGE], {}),
    "upsample": ({"size": [12]}, [IMAGE], {}),
    "interpolate": ({"size": [12], "mode": "linear", "align_corners": False}, [IMAGE], {}),
    "pointwise": ({"function": "tanh", "arguments": []}, [IMAGE], {}),
    "multiply": ({}, [IMAGE, IMAGE], {}),
    "matmul": ({}, [(3, 4), (4, 6)], {}),
    "softmax": ({"dim": 1}, [IMAGE], {}),
    "log_softmax": ({"dim": 1}, [IMAGE], {}),
    "embedding": ({}, [(5,)], {"weight": (7, 4)}),
    **{
        name: (RECURRENT, [IMAGE], {"weight_ih_l0": (2 * n, 6), "weight_hh_l0": (2 * n, 2)})
        for name, n in GATES.items()
    },
}
"""Of each operation its attributes, shapes of its inputs, and of its tensors."""


def node(name):
    attrs, shapes, tensors = EXAMPLES[name]
    inputs = tuple(f"x{k}" for k in range(len(shapes)))
    return Node("n", name, inputs, attrs, {role: role for role in tensors})


def drawn(name, batch=3, spikes=False):
    """Inputs ``[B, *N]`` and tensors of an example."""
    _, shapes, roles = EXAMPLES[name]
    whole = spikes or name == "embedding"  # tokens are whole numbers
    make = (lambda *s: (torch.rand(*s) < 0.2).float()) if whole else torch.rand
    return [make(batch, *shape) for shape in shapes], {r: torch.rand(s) for r, s in roles.items()}


def test_every_operation_has_an_example():
    assert set(EXAMPLES) == set(OPS)


def test_no_fact_of_an_operation_has_a_default():
    """What is not written down for a new operation is an error, never a guess."""
    needed = {"name", "role", "attributes", "value", "wiring", "rule", "macs", "silence"}
    fields = {field.name: field for field in dataclasses.fields(Op)}
    assert {n for n, f in fields.items() if f.default is dataclasses.MISSING} == needed
    with pytest.raises(TypeError, match="'macs'"):
        known = {n: getattr(OPS["relu"], n) for n in needed - {"macs"}}
        Op(**known)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_fits_and_keeps_samples_apart(name):
    inputs, tensors = drawn(name)
    given = node(name)
    assert misfit(given) is None
    assert misplaced(given, EXAMPLES[name][1], tensors) is None
    value = OPS[name].run(given.attrs, tensors, inputs)
    alone = torch.cat(
        [OPS[name].run(given.attrs, tensors, [x[k : k + 1] for x in inputs]) for k in range(3)]
    )
    torch.testing.assert_close(value, alone)
    on_meta = {role: tensor.to("meta") for role, tensor in tensors.items()}
    assert OPS[name].run(given.attrs, on_meta, [x.to("meta") for x in inputs]).shape == value.shape


@pytest.mark.parametrize("name", EXAMPLES)
def test_attributes_are_named_and_checked(name):
    attrs = EXAMPLES[name][0]
    kind = OPS[name].attributes
    assert issubclass(kind, Attributes)
    assert all(field.description for field in kind.model_fields.values())
    wrong = [attrs | {"unheard_of": 1}]
    wrong += [{k: v for k, v in attrs.items() if k != key} for key in attrs]
    wrong += [attrs | {key: object()} for key in attrs]
    for one in wrong:
        required = {key for key, field in kind.model_fields.items() if field.is_required()}
        if required <= one.keys() <= kind.model_fields.keys() and object not in map(
            type, one.values()
        ):
            continue  # it left out one that has a default
        given = node(name)
        assert "an attribute that can't be" in misfit(dataclasses.replace(given, attrs=one))
        with pytest.raises(ValueError, match=": "):
            OPS[name].typed(one)


@pytest.mark.parametrize(
    "name", [name for name, op in OPS.items() if op.silence is not Silence.NOWHERE]
)
def test_silence(name):
    """Where the record says that the output is zero, it is."""
    inputs, tensors = drawn(name, spikes=True)
    if OPS[name].silence is Silence.UNSHIFTED:
        tensors["shift"] = torch.zeros_like(tensors["shift"])
    silent = [torch.zeros_like(x) for x in inputs]
    assert not OPS[name].run(node(name).attrs, tensors, silent).any()
    if OPS[name].silence is Silence.EITHER:
        both = OPS[name].run(node(name).attrs, tensors, inputs)
        assert torch.equal(both > 0, torch.stack(inputs).sum(0) > 0)
    if OPS[name].silence is Silence.WINDOW:
        kernel = math.prod(node(name).attrs["kernel"])
        active = OPS[name].run(node(name).attrs, tensors, inputs) > 0
        windows = inputs[0].unfold(-1, kernel, kernel).sum(-1)
        assert torch.equal(active, windows > 0)


def counted(name):
    attrs, shapes, roles = EXAMPLES[name]
    inputs, tensors = drawn(name)
    output = OPS[name].run(attrs, tensors, inputs)[0].shape
    return OPS[name].macs(OPS[name].typed(attrs), shapes, tuple(output), roles)


def test_macs_by_hand():
    some = {name: counted(name) for name in OPS if counted(name)}
    one_each = dict.fromkeys(
        ("layer_norm", "rms_norm", "group_norm", "local_response_norm", "pointwise", "multiply"), 24
    )
    assert some == {
        "conv": 3 * 6 * 4 * 3,
        "conv_transpose": 4 * 6 * 3 * 3,
        "linear": 3 * 4,
        "matmul": 3 * 6 * 4,
        "softmax": 24,
        "log_softmax": 24,
        # four places; gates of weights, then functions and products of each hidden unit
        "lstm": 4 * (4 * 2 * (6 + 2) + 2 * 8),
        "gru": 4 * (3 * 2 * (6 + 2) + 2 * 6),
        **one_each,
    }


@pytest.mark.parametrize("name", ["dropout", "lstm", "gru"])
def test_what_differs_in_training(name):
    inputs, tensors = drawn(name)
    attrs = node(name).attrs
    if name in GATES:  # dropout acts between layers
        attrs = attrs | {"layers": 2, "dropout": 1.0}
        tensors |= {"weight_ih_l1": torch.rand(2 * GATES[name], 2)}
        tensors |= {"weight_hh_l1": torch.rand(2 * GATES[name], 2)}
    torch.manual_seed(0)
    trained, run = (f(attrs, tensors, inputs) for f in (OPS[name].train, OPS[name].run))
    assert not torch.equal(trained, run)
