"""Lookups, LSTM and GRU of ONNX files, and values whose batch is not their first axis."""

import numpy as np
import pytest
import torch
from helpers.onnx_models import exported, floats, imported, ints, node, proto, saved
from onnx import TensorProto, helper

from snnconv.errors import UnsupportedError
from snnconv.frontends.onnx.importer import import_onnx
from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network
from snnconv.graph.remedies import ANALOG
from snnconv.zoo import ZOO

LENGTH, WIDTH, HIDDEN = 4, 3, 5
SHAPE = (LENGTH, WIDTH)
GATES = {"LSTM": 4, "GRU": 3}
WAYS = {"forward": 1, "reverse": 1, "bidirectional": 2}
FIRST = node("Transpose", "x", "s", perm=[1, 0, 2])


def weights(op, ways):
    rows = GATES[op] * HIDDEN
    return {
        "W": floats(ways, rows, WIDTH),
        "R": floats(ways, rows, HIDDEN, seed=1),
        "B": floats(ways, 2 * rows, seed=2),
    }


def call(op, inputs="s W R B", outputs="Y h", **attrs):
    own = {"linear_before_reset": 1} if op == "GRU" else {}
    return helper.make_node(
        op, inputs.split(" "), outputs.split(" "), name="it", hidden_size=HIDDEN, **(own | attrs)
    )


def one(op="LSTM", tensors=None, inputs="s W R B", ways=1, **attrs):
    """A file's nodes and tensors: the whole sequence of outputs, samples first."""
    nodes = [FIRST, call(op, inputs, "Y", **attrs), node("Transpose", "Y", perm=[2, 0, 1, 3])]
    return nodes, weights(op, ways) | (tensors or {})


def refusal(nodes, tensors, folder, analog=True, shape=SHAPE, **how):
    with pytest.raises(UnsupportedError) as caught:
        import_onnx(saved(proto(nodes, tensors, shape), folder), shape, analog, **how)
    return caught.value


# Recurrences


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", WAYS)
@pytest.mark.parametrize("bias", [False, True])
def test_the_whole_sequence(op, direction, bias, tmp_path):
    inputs = "s W R B" if bias else "s W R"
    nodes, tensors = one(op, inputs=inputs, ways=WAYS[direction], direction=direction)
    found = imported(saved(proto(nodes, tensors, SHAPE), tmp_path), SHAPE, analog=True)
    ops = [n.op for n in found.graph.nodes]
    turn = ["slice"] if direction == "reverse" else []
    assert ops == [*turn, op.lower(), *turn, "reshape", "reshape"]
    assert ("bias_ih_l0" in found.graph["it@2" if turn else "it"].tensors) is bias


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", WAYS)
def test_the_last_states(op, direction, tmp_path):
    nodes = [
        FIRST,
        call(op, outputs=" h", direction=direction),
        node("Transpose", "h", perm=[1, 0, 2]),
    ]
    file = saved(proto(nodes, weights(op, WAYS[direction]), SHAPE), tmp_path)
    found = imported(file, SHAPE, analog=True)
    assert sum(n.op == op.lower() for n in found.graph.nodes) == 1


@pytest.mark.parametrize("op", GATES)
def test_sequences_whose_samples_come_first(op, tmp_path):
    """onnxruntime does not know them: the reference evaluator is asked."""
    nodes = [call(op, "x W R B", "Y", layout=1), node("Identity", "Y")]
    file = saved(proto(nodes, weights(op, 1), SHAPE), tmp_path)
    found = import_onnx(file, SHAPE, True)
    assert found.verdict.referee == "onnx.reference"
    assert found.verdict.difference < 1e-5


@pytest.mark.parametrize("op", GATES)
def test_first_states_lengths_and_activations_that_say_nothing_new(op, tmp_path):
    tensors = {"z": np.zeros((1, 1, HIDDEN), np.float32)}
    tensors["n"] = np.full(1, LENGTH, np.int32)
    inputs = "s W R B n z z" if op == "LSTM" else "s W R B n z"
    functions = ["Sigmoid", "Tanh", "Tanh"][: GATES[op] - 1]
    nodes, tensors = one(op, tensors, inputs, activations=functions)
    imported(saved(proto(nodes, tensors, SHAPE, batch=1), tmp_path), SHAPE, (1,), analog=True)


STATE = {"z": floats(1, 1, HIDDEN), "n": np.full(1, LENGTH - 1, np.int32)}
STATE["P"] = floats(1, 3 * HIDDEN)
STATE["V"] = floats(1, 8, WIDTH)


@pytest.mark.parametrize(
    ("op", "how", "found"),
    [
        ("LSTM", {"inputs": "s W R B  z z"}, "gets its first state"),
        ("LSTM", {"inputs": "s W R B   z"}, "gets its first state"),
        ("LSTM", {"inputs": "s W R B    P"}, "peepholes"),
        ("LSTM", {"inputs": "s W R B n"}, "sequence_lens"),
        ("LSTM", {"inputs": "s V R B"}, "weights of shape [1, 8, 3], [1, 20, 5], [1, 40]"),
        ("LSTM", {"inputs": "s s R B"}, "a W that is not a tensor"),
        ("LSTM", {"clip": 2.0}, "a clip of the gates' inputs at 2.0"),
        ("LSTM", {"input_forget": 1}, "input_forget"),
        ("LSTM", {"direction": "up"}, "the direction 'up'"),
        ("GRU", {"linear_before_reset": 0}, "linear_before_reset=0"),
        ("GRU", {"activations": ["Sigmoid", "Relu"]}, "the activations sigmoid, relu"),
        ("GRU", {"inputs": "x W R B"}, "whose batch is not the axis behind"),
    ],
)
def test_variants_that_are_refused(op, how, found, tmp_path):
    error = refusal(*one(op, STATE, **how), tmp_path)
    assert found in error.found
    assert "it (" in error.found


def test_an_lstm_s_cells_are_refused(tmp_path):
    nodes = [FIRST, call("LSTM", outputs="Y h c"), node("Transpose", "c", perm=[1, 0, 2])]
    assert "an LSTM's cells" in refusal(nodes, weights("LSTM", 1), tmp_path).found


@pytest.mark.parametrize("op", GATES)
def test_by_default_they_are_refused(op, tmp_path):
    error = refusal(*one(op), tmp_path, analog=False)
    assert "no neuron stands for" in error.found
    assert ANALOG in str(error.remedy)


# Values whose batch is elsewhere


def turned(*nodes, shape=(4, 6), tensors=None, back="1 0 2"):
    """The input with its batch second, some nodes from ``s`` to ``t``, and back."""
    last = node("Transpose", "t", perm=[int(n) for n in back.split(" ")])
    return proto([FIRST, *nodes, last], tensors, shape)


@pytest.mark.parametrize(
    ("nodes", "tensors", "back"),
    [
        ([node("Reshape", "s n", "t")], {"n": ints(0, 0, 2, 3)}, "1 0 2 3"),
        ([node("Reshape", "s n", "t")], {"n": ints(2, 2, -1, 6)}, "2 0 1 3"),
        ([node("Reshape", "s n", "t")], {"n": ints(4, -1, 1, 6)}, "1 0 2 3"),
        ([node("Unsqueeze", "s n", "t")], {"n": ints(0, 3)}, "2 0 1 3 4"),
        (
            [node("Unsqueeze", "s n", "u"), node("Squeeze", "u n", "t")],
            {"n": ints(1, -1)},
            "1 0 2",
        ),
        ([node("Slice", "s n m n", "t")], {"n": ints(0), "m": ints(3)}, "1 0 2"),
        ([node("Slice", "s a b", "t")], {"a": ints(1), "b": ints(3)}, "1 0 2"),
        ([node("Gather", "s n", "t")], {"n": np.array(-1)}, "0 1"),
        ([node("Split", "s n", "t u", axis=0)], {"n": ints(1, 3)}, "1 0 2"),
        ([node("Split", "s n", "u t", axis=-1)], {"n": ints(2, 4)}, "1 0 2"),
        ([node("Concat", "s s", "t", axis=0)], {}, "1 0 2"),
        ([node("ReduceMean", "s", "t", axes=[0], keepdims=0)], {}, "0 1"),
        ([node("ReduceMean", "s", "t", axes=[2])], {}, "1 0 2"),
        ([node("Dropout", "s", "u"), node("Identity", "u", "t")], {}, "1 0 2"),
        ([node("Transpose", "s", "t", perm=[2, 1, 0])], {}, "1 0 2"),
        ([node("Shape", "s", "n"), node("Reshape", "s n", "t")], {}, "1 0 2"),
    ],
)
def test_operators_on_values_whose_batch_is_second(nodes, tensors, back, tmp_path):
    imported(saved(turned(*nodes, tensors=tensors, back=back), tmp_path), (4, 6))


def test_a_squeeze_of_whatever_has_size_1(tmp_path):
    nodes = [node("Unsqueeze", "s n", "u"), node("Squeeze", "u", "t")]
    imported(saved(turned(*nodes, tensors={"n": ints(1)}), tmp_path), (4, 6), (2, 5))


def test_a_permutation_of_the_batch_alone_makes_no_node(tmp_path):
    found = imported(saved(turned(node("Identity", "s", "t")), tmp_path), (4, 6))
    assert [n.op for n in found.graph.nodes] == ["identity", "reshape"]


@pytest.mark.parametrize(
    ("last", "tensors"),
    [
        (node("Flatten", "s", "t"), {}),
        (node("MatMul", "s w", "t"), {"w": floats(6, 2)}),
        (node("Relu", "s", "t"), {}),
        (node("Reshape", "s n", "t"), {"n": ints(0, 12, -1)}),
        (node("Gather", "s n", "t", axis=1), {"n": np.array(0)}),
        (node("Slice", "s a b a", "t"), {"a": ints(1), "b": ints(2)}),
        (node("ReduceMean", "s", "t", axes=[1]), {}),
    ],
)
def test_what_would_mix_samples_is_refused(last, tensors, tmp_path):
    nodes = [FIRST, last, node("Identity", "t")]
    error = refusal(nodes, tensors, tmp_path, shape=(4, 6))
    assert any(text in error.found for text in ("batch", "samples"))


# Lookups


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32])
@pytest.mark.parametrize("to", [TensorProto.INT64, TensorProto.INT32])
def test_a_lookup(kind, to, tmp_path):
    nodes = [node("Cast", "x", "i", to=to), node("Gather", "w i", "g"), node("Identity", "g")]
    model = proto(nodes, {"w": floats(9, 4)}, (6,), kind=kind)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    found = imported(saved(model, tmp_path), (6,), tokens=9)
    assert [n.op for n in found.graph.nodes][:2] == ["identity", "embedding"]


def test_lookups_that_are_refused(tmp_path):
    whole = node("Cast", "x", "i", to=TensorProto.INT64)
    nodes = [whole, node("Gather", "w i", "g", axis=1), node("Identity", "g")]
    error = refusal(nodes, {"w": floats(4, 9)}, tmp_path, shape=(6,), tokens=4)
    assert "a lookup in a constant of shape [4, 9]" in error.found
    nodes = [node("Relu", "x", "r"), node("Cast", "r", "i", to=7), node("Gather", "w i")]
    error = refusal(nodes, {"w": floats(9, 4)}, tmp_path, shape=(6,), tokens=9)
    assert "whole numbers of something other than tokens" in error.found


def test_more_tokens_than_the_table_has_rows(tmp_path):
    nodes = [node("Cast", "x", "i", to=7), node("Gather", "w i")]
    file = saved(proto(nodes, {"w": floats(9, 4)}, (6,)), tmp_path)
    with pytest.raises(UnsupportedError, match=r"do not fit the network's embedding"):
        import_onnx(file, (6,), tokens=50)


# The zoo by PyTorch's exporters


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize(
    "dynamo", [False, pytest.param(True, marks=pytest.mark.long)], ids=["old", "new"]
)
@pytest.mark.parametrize("whole", [False, True], ids=["floats", "whole"])
def test_the_zoo(kind, dynamo, whole, tmp_path):
    module = ZOO[kind](tokens=9, classes=3, embedding=4, hidden=5, layers=2).eval()
    tokens = torch.randint(9, (2, 3))
    x = tokens if whole else tokens.float()
    file = exported(module, (3,), tmp_path, dynamo, 18 if dynamo else 17, x=x)
    found = imported(file, (3,), analog=True, tokens=9)
    graph, tensors, _ = capture(module, (3,), True, 9)
    x = torch.randint(9, (7, 3)).float()
    with torch.no_grad():
        theirs = Network(found.graph, found.tensors).eval()(x)
        torch.testing.assert_close(theirs, Network(graph, tensors).eval()(x))
    assert [s.attrs for s in found.graph.sites] == [s.attrs for s in graph.sites]
