"""One record an operation: what the package asks about each is there, and is right."""

import dataclasses
import math

import pytest
import torch
from helpers.operations import EXAMPLES, GATES, drawn, node

from snnconv.graph.operations.base import Attributes, Silence
from snnconv.graph.operations.work import Work
from snnconv.graph.ops import OPS, Op


def test_every_operation_has_an_example():
    assert set(EXAMPLES) == set(OPS)


def test_no_fact_of_an_operation_has_a_default():
    """What is not written down for a new operation is an error, never a guess."""
    needed = {"name", "role", "attributes", "value", "wiring", "rule", "work", "silence"}
    fields = {field.name: field for field in dataclasses.fields(Op)}
    assert {n for n, f in fields.items() if f.default is dataclasses.MISSING} == needed
    with pytest.raises(TypeError, match="'work'"):
        known = {n: getattr(OPS["relu"], n) for n in needed - {"work"}}
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
        assert "an attribute that is not valid" in OPS[name].misfit(
            one, given.inputs, given.tensors
        )
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
    return OPS[name].work(OPS[name].typed(attrs), shapes, tuple(output), roles)


def test_work_by_hand():
    """Images have 4 channels of 6 places."""
    some = {name: counted(name) for name in OPS if any(counted(name).numbers)}
    assert some == {
        "conv": Work(3 * 6 * 4 * 3),
        "conv_transpose": Work(4 * 6 * 3 * 3),
        "linear": Work(3 * 4),
        # four places; gates of weights, then what two hidden units compute of them
        "lstm": Work(4 * (4 * 2 * (6 + 2)), macs=4 * 2 * 3, lookups=4 * 2 * 5),
        "gru": Work(4 * (3 * 2 * (6 + 2)), macs=4 * 2 * 3, lookups=4 * 2 * 3, additions=4 * 2),
        # a matrix of 3 x 4 and one of 4 x 6
        "matmul": Work(macs=3 * 6 * 4),
        "multiply": Work(macs=24),
        "affine": Work(macs=24),
        "step_scale": Work(macs=24),
        "spike_and": Work(macs=24),
        "spike_iand": Work(macs=24),
        "batch_norm": Work(macs=24),
        "add": Work(additions=24),
        "pointwise": Work(lookups=24),
        # 6 columns of 4: the maximum and the sum of 3 additions each, 4 differences, 1/sum
        "softmax": Work(macs=24, lookups=24 + 6, additions=6 * (3 + 4 + 3)),
        "log_softmax": Work(lookups=24 + 6, additions=6 * (3 + 4 + 3 + 4)),
        # a row of 6: a mean of 5 additions and a product, 6 differences, squares and products
        "layer_norm": Work(macs=4 * (1 + 6 + 1 + 6), lookups=4, additions=4 * (5 + 6)),
        "rms_norm": Work(macs=4 * (6 + 1 + 6 + 6), lookups=4),  # with weights
        "group_norm": Work(macs=2 * (1 + 12 + 1 + 12), lookups=2, additions=2 * (11 + 12)),
        # the square, the line of the mean, the product; a window of 3
        "local_response_norm": Work(macs=3 * 24, lookups=24, additions=2 * 24),
        # windows of 2
        "max_pool": Work(additions=4 * 3),
        "avg_pool": Work(macs=4 * 3, additions=4 * 3),
        # two bins of 3
        "adaptive_max_pool": Work(additions=4 * 2 * 2),
        "adaptive_avg_pool": Work(macs=4 * 2, additions=4 * 2 * 2),
        "mean": Work(macs=4, additions=4 * 5),
        "cumsum": Work(additions=4 * 5),
        "interpolate": Work(macs=4 * 12 * 2),
    }


@pytest.mark.parametrize(
    ("function", "arguments", "work"),
    [("pow", [2], Work(macs=24)), ("pow", [3], Work(lookups=24)), ("gt0", [], Work(additions=24))],
)
def test_functions_of_one_number_that_need_no_table(function, arguments, work):
    typed = OPS["pointwise"].typed({"function": function, "arguments": arguments})
    assert OPS["pointwise"].work(typed, [(4, 6)], (4, 6), {}) == work


@pytest.mark.parametrize("name", [n for n in OPS if n not in GATES and any(counted(n).numbers)])
def test_what_is_done_again_is_what_changes_reach(name):
    """All if all has changed, nothing if nothing has; else at least what comes out different."""
    inputs, tensors = drawn(name)
    op, attrs = OPS[name], OPS[name].typed(node(name).attrs)
    ones, zeros = [torch.ones_like(x) for x in inputs], [torch.zeros_like(x) for x in inputs]
    everything = op.recomputed(attrs, tensors, ones)
    assert everything.min() > 0
    assert not op.recomputed(attrs, tensors, zeros).any()
    torch.manual_seed(0)
    masks = [(torch.rand_like(x) < 0.05).float() for x in inputs]
    found = op.recomputed(attrs, tensors, masks)
    assert found.shape == everything.shape
    assert (found <= everything).all()
    before = op.run(attrs, tensors, inputs)
    after = op.run(attrs, tensors, [x + m for x, m in zip(inputs, masks, strict=True)])
    differs = (before != after).flatten(1).any(1)
    assert (found.flatten(1).sum(1) > 0)[differs].all()


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
