"""One record an operation: what the package asks about each is there, and is right."""

import dataclasses
import math

import pytest
import torch
from helpers.operations import EXAMPLES, GATES, drawn, node

from snnconv.graph.operations.base import Attributes, Silence
from snnconv.graph.ops import OPS, Op


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
    op = OPS[name]
    assert op.misfit(given.attrs, given.inputs, given.tensors) is None
    assert op.rule(op.typed(given.attrs), EXAMPLES[name][1], tensors) is None
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
        assert "an attribute that can't be" in OPS[name].misfit(one, given.inputs, given.tensors)
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
