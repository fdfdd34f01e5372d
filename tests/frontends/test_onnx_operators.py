"""Every operator of the importer by itself, against onnxruntime."""

import numpy as np
import pytest
import torch
from helpers.onnx_models import IMAGE, NEWEST, floats, imported, ints, node, ops, proto, saved
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import numpy_helper

from snnconv.errors import ObstaclesError, UnsupportedError
from snnconv.frontends.onnx.importer import import_onnx
from snnconv.graph.remedies import ANALOG


@pytest.fixture
def converted(tmp_path):
    """``nodes -> the import``, after the comparison for batches of 1 and 5."""

    def convert(nodes, tensors=None, shape=IMAGE, opset=17, batches=(1, 5), **options):
        nodes = nodes if isinstance(nodes, list) else [nodes]
        file = saved(proto(nodes, tensors, shape, opset, **options), tmp_path)
        return imported(file, shape, batches)

    return convert


@pytest.fixture
def refused(tmp_path):
    """``nodes -> what was found``."""

    def refuse(nodes, tensors=None, shape=IMAGE, opset=17, **options):
        nodes = nodes if isinstance(nodes, list) else [nodes]
        with pytest.raises(UnsupportedError) as caught:
            import_onnx(saved(proto(nodes, tensors, shape, opset, **options), tmp_path), shape)
        return caught.value.found

    return refuse


# Windows

SHAPES = {1: (2, 9), 2: (2, 9, 8), 3: (2, 5, 6, 4)}


@pytest.mark.parametrize("opset", [9, 11, 17, NEWEST])
@pytest.mark.parametrize("rank", SHAPES)
def test_convolutions(converted, rank, opset):
    tensors = {"w": floats(4, 1, *[3] * rank), "b": floats(4)}
    attrs = {"group": 2, "dilations": [2] * rank, "strides": [2] * rank, "pads": [1, 2] * rank}
    assert "conv" in ops(converted(node("Conv", "x w b", **attrs), tensors, SHAPES[rank], opset))
    even = node("Conv", "x w", group=2, pads=[1] * 2 * rank)
    found = converted(even, {"w": tensors["w"]}, SHAPES[rank], opset)
    assert ops(found) == ["conv"]
    assert found.graph["the Conv"].tensors == {"weight": "w"}


@pytest.mark.parametrize("opset", [9, 11, NEWEST])
@pytest.mark.parametrize("rank", SHAPES)
def test_transposed_convolutions(converted, rank, opset):
    tensors = {"w": floats(2, 3, *[3] * rank), "b": floats(6)}
    attrs = {"group": 2, "strides": [2] * rank, "pads": [1] * 2 * rank}
    attrs |= {"output_padding": [1] * rank}
    call = node("ConvTranspose", "x w b", **attrs)
    assert ops(converted(call, tensors, SHAPES[rank], opset)) == ["conv_transpose"]
    uneven = node("ConvTranspose", "x w b", group=2, pads=[0] * rank + [1] * rank)
    assert ops(converted(uneven, tensors, SHAPES[rank], opset)) == ["conv_transpose", "pad"]


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_pooling(converted, op, rank):
    attrs = {"kernel_shape": [3] * rank, "strides": [2] * rank}
    name = {"MaxPool": "max_pool", "AveragePool": "avg_pool"}[op]
    even = node(op, "x", pads=[1] * 2 * rank, **attrs)
    assert ops(converted(even, shape=SHAPES[rank], opset=9)) == [name]
    uneven = node(op, "x", pads=[1] * rank + [0] * rank, **attrs)
    assert name in ops(converted(uneven, shape=SHAPES[rank]))
    assert name in ops(converted(node(op, "x", ceil_mode=1, **attrs), shape=SHAPES[rank]))


@pytest.mark.parametrize("rank", SHAPES)
def test_global_pooling(converted, rank):
    average, largest = node("GlobalAveragePool", "x"), node("GlobalMaxPool", "x")
    assert ops(converted(average, shape=SHAPES[rank])) == ["adaptive_avg_pool"]
    assert ops(converted(largest, shape=SHAPES[rank])) == ["max_pool"]


def sizes(low, high, count):
    return st.lists(st.integers(low, high), min_size=count, max_size=count)


@st.composite
def windows(draw):
    """Attributes of a window on two axes whose span is not below its stride."""
    kernel = draw(sizes(1, 4, 2))
    attrs = {"kernel_shape": kernel, "strides": [draw(st.integers(1, k)) for k in kernel]}
    auto = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if auto == "NOTSET":
        return attrs | {"pads": [draw(st.integers(0, k // 2)) for k in kernel * 2]}
    return attrs | {"auto_pad": auto}


@given(windows(), sizes(6, 9, 2), st.sampled_from(["MaxPool", "AveragePool"]), st.data())
def test_pooling_is_that_of_onnxruntime(tmp_path_factory, attrs, extent, op, data):
    """ONNX pads two sides by different amounts, and has a rule of its own for the last window."""
    if "auto_pad" not in attrs:
        attrs = attrs | {"ceil_mode": data.draw(st.integers(0, 1))}
    if op == "AveragePool":
        attrs = attrs | {"count_include_pad": data.draw(st.integers(0, 1))}
    file = saved(proto([node(op, "x", **attrs)], shape=(2, *extent)), tmp_path_factory.mktemp("p"))
    try:
        found = import_onnx(file, (2, *extent))
    except UnsupportedError as error:
        # the one thing PyTorch's pooling can't express: a window that hangs over by far
        assert "padding by" in error.found
        assume(False)
    assert found.verdict.difference <= 1e-5


@given(windows(), sizes(6, 9, 2), st.integers(1, 2), st.booleans())
def test_convolutions_are_those_of_onnxruntime(tmp_path_factory, attrs, extent, groups, backwards):
    shape = (2, 4 // groups) if backwards else (4, 2 // groups)
    tensors = {"w": floats(*shape, *attrs["kernel_shape"]), "b": floats(4)}
    call = node("ConvTranspose" if backwards else "Conv", "x w b", group=groups, **attrs)
    file = saved(proto([call], tensors, (2, *extent)), tmp_path_factory.mktemp("c"))
    assert import_onnx(file, (2, *extent)).verdict.difference <= 1e-5


@pytest.mark.parametrize("opset", [9, 11])
def test_output_shape(converted, opset):
    tensors = {"w": floats(2, 3, 3, 3)}
    call = node("ConvTranspose", "x w", strides=[2, 2], output_shape=[12, 11])
    assert "conv_transpose" in ops(converted(call, tensors, opset=opset))


def test_pooling_that_is_refused(refused, tmp_path):
    window = {"kernel_shape": [2, 2]}
    assert "dilation" in refused(node("AveragePool", "x", dilations=[2, 2], **window), opset=19)
    far = refused(node("MaxPool", "x", pads=[2, 2, 2, 2], kernel_shape=[3, 3]))
    assert "padding by [2, 2]" in far
    indices = [node("MaxPool", "x", "z i", **window), node("Cast", "i", "f", to=1)]
    assert "indices" in refused([*indices, node("Add", "z f")])
    assert "window of 1 axes" not in refused(node("MaxPool", "x", kernel_shape=[2]))
    assert "pooling over 4 axes" in refused(node("GlobalAveragePool", "x"), shape=(2, 2, 2, 2, 2))


# Matrices


@pytest.mark.parametrize("opset", [9, 13, NEWEST])
@pytest.mark.parametrize("bias", [(5,), (1, 5), (1,), ()])
def test_gemm(converted, opset, bias):
    tensors = {"w": floats(6, 5), "b": np.array(floats(*bias))}
    found = converted(node("Gemm", "x w b", alpha=0.5, beta=2.0), tensors, (6,), opset)
    assert ops(found) == ["linear"]


def test_gemm_of_a_linear_layer_keeps_its_tensors(converted):
    tensors = {"fc.weight": floats(5, 6), "fc.bias": floats(5)}
    found = converted(node("Gemm", "x fc.weight fc.bias", transB=1), tensors, (6,))
    assert set(found.tensors) == {"fc.weight", "fc.bias"}


@pytest.mark.parametrize("shape", [(6,), (3, 6), (2, 3, 6)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_product_and_a_sum_are_one_layer(converted, shape, turned):
    tensors = {"w": floats(6, 5), "b": floats(5)}
    nodes = [node("MatMul", "x w", "z"), node("Add", "b z" if turned else "z b")]
    found = converted(nodes, tensors, shape)
    assert ops(found) == ["linear"]
    assert found.graph["MatMul z"].tensors["bias"] == "b"


def test_a_product_that_others_read_keeps_its_value(converted):
    tensors = {"w": floats(6, 6), "b": floats(6)}
    nodes = [node("MatMul", "x w", "z"), node("Add", "z b", "s"), node("Add", "z s")]
    assert ops(converted(nodes, tensors, (6,))) == ["linear", "affine", "add"]


def test_two_layers_share_a_tensor(converted):
    nodes = [node("Gemm", "x w b", "z", transB=1), node("Relu", "z", "r")]
    nodes.append(node("Gemm", "r w b", transB=1))
    found = converted(nodes, {"w": floats(6, 6), "b": floats(6)}, (6,))
    assert ops(found) == ["linear", "relu", "linear"]
    assert set(found.tensors) == {"w", "b"}
    assert [n.name for n in found.graph.nodes][:3] == ["Gemm z", "Relu r", "the Gemm"]


@pytest.mark.parametrize("name", ["graph", "training", "forward", "a.b", "a/b"])
def test_tensors_may_have_any_name(converted, name):
    """A module has attributes of these names itself."""
    tensors = {name: floats(5, 6), "a.b!": floats(5)}
    assert name in converted(node("Gemm", f"x {name} a.b!", transB=1), tensors, (6,)).tensors


def test_derived_tensors_do_not_take_names_of_others(converted):
    """The transposed weight of the product would be called as the bias of the other layer is."""
    tensors = {"a": floats(6, 6), "MatMul_z.weight": floats(5), "b": floats(5, 6)}
    first = node("MatMul", "x a", "z")
    first.name = "MatMul_z"
    found = converted([first, node("Gemm", "z b MatMul_z.weight", transB=1)], tensors, (6,))
    assert found.graph["MatMul_z"].tensors == {"weight": "MatMul_z.weight"}
    assert found.graph["the Gemm"].tensors == {"weight": "b", "bias": "MatMul_z.weight@2"}


def test_products_that_are_refused(refused):
    square, shape = {"w": floats(6, 6), "b": floats(3, 6)}, (6,)
    assert "over the batch" in refused(node("Gemm", "x w", transA=1), square, shape)
    assert "sample to sample" in refused(node("Gemm", "x w b"), square, shape)
    assert "shape [6]" in refused(node("MatMul", "x w"), {"w": floats(6)}, shape)
    assert "no neuron stands for" in refused(node("MatMul", "x x"), None, (6, 6))
    assert "not an activation" in refused(node("MatMul", "w x"), square, (6, 2))
    assert "do not fit" in refused(node("MatMul", "x w"), {"w": floats(5, 6)}, shape)


# Normalisation, activations, arithmetic


@pytest.mark.parametrize("opset", [9, 14, NEWEST])
@pytest.mark.parametrize("shape", [(2,), (2, 5), IMAGE, (2, 3, 4, 5)])
def test_batch_normalisation(converted, opset, shape):
    tensors = {name: floats(2, seed=k) for k, name in enumerate("sbmv")}
    tensors["v"] = np.abs(tensors["v"]) + 0.5
    found = converted(node("BatchNormalization", "x s b m v", epsilon=1e-3), tensors, shape, opset)
    assert ops(found) == ["batch_norm"]
    assert found.graph["the BatchNormalization"].attrs["momentum"] == 0.1  # ONNX says 0.9
    assert found.graph["the BatchNormalization"].attrs["eps"] == pytest.approx(1e-3)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize(
    "shape", [(), (1,), (2, 1, 1), (1, 2, 1, 1), (6,), (6, 1), (1, 2, 6, 6), (2, 6, 1)]
)
def test_arithmetic_with_constants(converted, op, shape):
    tensors = {"c": np.array(floats(*shape) + 2)}
    assert ops(converted(node(op, "x c"), tensors)) == ["affine"]


def test_arithmetic(converted, refused):
    c = {"c": floats(2, 1, 1), "w": floats(6)}
    assert ops(converted(node("Sub", "c x"), c)) == ["affine"]
    assert ops(converted(node("Neg", "x"))) == ["affine"]
    assert ops(converted([node("Relu", "x", "r"), node("Add", "x r")])) == ["relu", "add"]
    halves = [node("Relu", "x", "r"), node("Sub", "x r")]
    assert ops(converted(halves)) == ["relu", "affine", "add"]
    mean = [node("GlobalAveragePool", "x", "g"), node("Add", "x g")]
    assert ops(converted(mean)) == ["adaptive_avg_pool", "add"]
    assert ops(converted([node("Relu", "x", "r"), node("Sum", "x r x")]))[-2:] == ["add", "add"]
    assert ops(converted(node("Sum", "x"))) == ["identity"]
    assert "no neuron stands for" in refused(node("Mul", "x x"))
    assert "no neuron stands for" in refused(node("Div", "c x"), c)
    assert "operands of shape" in refused(node("Add", "x w"), {"w": floats(5)})


@pytest.mark.parametrize(
    ("op", "opset", "attrs"),
    [
        *(("Elu", 9, {}), ("Elu", 22, {"alpha": 0.5}), ("Gelu", 20, {})),
        *(("Gelu", 20, {"approximate": "tanh"}), ("HardSwish", 14, {}), ("Mish", 18, {})),
        *(("Sigmoid", 9, {}), ("Softplus", 9, {}), ("Tanh", 13, {})),
    ],
)
def test_functions_are_taken_on_request(tmp_path, refused, op, opset, attrs):
    call = node(op, "x", **attrs)
    found = imported(saved(proto([call], opset=opset), tmp_path), analog=True)
    assert ops(found) == ["pointwise"]
    assert f"the {op} ({op}): a function that no neuron" in refused(call, opset=opset)


def test_products_and_layer_norms_are_taken_on_request(tmp_path, refused):
    gated = [node("Sigmoid", "x", "s"), node("Mul", "x s")]
    found = imported(saved(proto(gated), tmp_path), analog=True)
    assert ops(found) == ["pointwise", "multiply"]
    tensors = {"w": floats(6, 6), "b": floats(6, 6, seed=1)}
    norm = node("LayerNormalization", "x w b", axis=-2, epsilon=1e-3)
    assert ops(imported(saved(proto([norm], tensors), tmp_path), analog=True)) == ["layer_norm"]
    assert "no neuron" in refused(norm, tensors)


def test_root_mean_square_norms(tmp_path):
    norm = node("RMSNormalization", "x w", axis=-2, epsilon=1e-2)
    model = proto([norm], {"w": floats(6, 6)}, opset=23)
    assert ops(imported(saved(model, tmp_path), analog=True)) == ["rms_norm"]


@pytest.mark.parametrize("op", ["GroupNormalization", "InstanceNormalization"])
def test_group_and_instance_norms(tmp_path, op):
    tensors, attrs = {"w": floats(6), "b": floats(6, seed=1)}, {"epsilon": 1e-3}
    attrs |= {"num_groups": 2} if op == "GroupNormalization" else {}
    model = proto([node(op, "x w b", **attrs)], tensors, (6, 4, 3), 21)
    found = imported(saved(model, tmp_path), (6, 4, 3), analog=True)
    assert ops(found) == ["group_norm"]


@pytest.mark.parametrize("opset", [9, 13, NEWEST])
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_a_softmax_at_the_end_is_dropped(tmp_path, op, opset):
    function = {"Softmax": torch.softmax, "LogSoftmax": torch.log_softmax}[op]
    model = proto([node(op, "x", axis=1)], shape=(6,), opset=opset, flat=False)
    found = imported(saved(model, tmp_path), (6,), ending=function)
    assert [n.op for n in found.graph.nodes] == ["identity"]
    assert found.graph["the " + op].attrs == {"dropped": function.__name__}
    nodes = [node("GlobalAveragePool", "x", "g"), node(op, "g", axis=1)]
    found = imported(saved(proto(nodes, opset=opset), tmp_path), ending=function)
    assert [n.op for n in found.graph.nodes] == ["adaptive_avg_pool", "identity", "reshape"]


@pytest.mark.parametrize("opset", [9, 13, NEWEST])
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_a_softmax_elsewhere_is_taken_on_request(tmp_path, refused, op, opset, axis):
    nodes = [node(op, "x", "s", axis=axis), node("Relu", "s")]
    found = imported(saved(proto(nodes, opset=opset), tmp_path), analog=True)
    assert {"Softmax": "softmax", "LogSoftmax": "log_softmax"}[op] in ops(found)
    assert "no neuron stands for" in refused(nodes, opset=opset)


def test_a_softmax_over_the_batch_is_refused(refused):
    assert "over the batch" in refused(node("Softmax", "x", axis=0), shape=(6,))


@pytest.mark.parametrize("size", [1, 3, 7])
def test_local_response_norms_are_taken_on_request(tmp_path, refused, size):
    call = node("LRN", "x", size=size, alpha=0.5, beta=0.6, bias=1.5)
    shape = (6, 3, 3)
    found = imported(saved(proto([call], shape=shape), tmp_path), shape, analog=True)
    assert ops(found) == ["local_response_norm"]
    assert "the LRN (LRN): a function that no neuron" in refused(call, shape=shape)


def test_a_local_response_norm_that_nobody_can_compare(tmp_path):
    file = saved(proto([node("LRN", "x", size=2)]), tmp_path)
    with pytest.raises(ObstaclesError, match="odd ones only"):
        import_onnx(file, IMAGE, analog=True)


@pytest.mark.parametrize(
    ("nodes", "tensors"),
    [
        ([node("HardSigmoid", "x")], {}),
        ([node("HardSigmoid", "x", alpha=1 / 6, beta=0.5)], {}),
        ([node("HardSigmoid", "x", alpha=0.3, beta=0.4)], {}),
        ([node("Erf", "x")], {}),
        ([node("Pow", "x two")], {"two": np.array(np.float32(2))}),
        ([node("Pow", "x two")], {"two": floats(1) * 0 + 3}),
        ([node("Mul", "x x", "s"), node("Sqrt", "s")], {}),
        (
            [
                node("Mul", "x x", "s"),
                node("Add", "s one", "p"),
                node("Reciprocal", "p", "r"),
                node("Div", "r p"),
            ],
            {"one": np.array(np.float32(1))},
        ),
        ([node("MatMul", "x x")], {}),
    ],
)
def test_functions_of_exporters_of_old(tmp_path, nodes, tensors):
    imported(saved(proto(nodes, tensors), tmp_path), analog=True)


def test_a_root_of_a_constant_is_a_constant(converted):
    nodes = [node("Mul", "c c", "s"), node("Sqrt", "s", "r"), node("Mul", "x r")]
    assert ops(converted(nodes, {"c": floats(2, 1, 1)})) == ["affine"]


def test_expansions(converted, refused):
    pooled = node("GlobalAveragePool", "x", "g")
    found = converted([pooled, node("Expand", "g s")], {"s": ints(1, 2, 3, 4)})
    assert ops(found) == ["adaptive_avg_pool", "expand"]
    assert found.graph["the Expand"].attrs == {"shape": [2, 3, 4]}
    assert "on axis 1" in refused(node("Expand", "x s"), {"s": ints(2, 1, 2, 6, 6)})
    assert "mixes samples" in refused(node("Expand", "x s"), {"s": ints(7, 2, 6, 6)})


# What moves values


@pytest.mark.parametrize("opset", [9, 13, 14, NEWEST])
@pytest.mark.parametrize(
    "target", [(0, -1), (-1, 72), (1, -1), (1, 72), (0, 4, -1), (-1, 2, 36), (0, 2, 6, 6)]
)
def test_reshapes(converted, opset, target):
    """A literal batch of 1, in a file that takes any, is the batch."""
    found = converted(node("Reshape", "x s"), {"s": ints(*target)}, opset=opset, batches=(1,))
    assert ops(found) == ["reshape"]


def test_a_literal_batch_takes_others(tmp_path):
    model = proto([node("Reshape", "x s")], {"s": ints(4, 72)}, batch=4)
    found = imported(saved(model, tmp_path), batches=(4,))
    assert found.graph["the Reshape"].attrs == {"shape": [72]}


@pytest.mark.parametrize("target", [(-1,), (2, -1, 3), (-1, 36), (2, -1), (0, 5), (-1, 7, 0)])
def test_reshapes_that_mix_samples_are_refused(refused, target):
    assert "mixes samples" in refused(node("Reshape", "x s"), {"s": ints(*target)})


@given(st.permutations([2, 3, 4]), st.sampled_from([0, 1, -1]), st.integers(0, 3))
def test_reshapes_are_those_of_onnxruntime(tmp_path_factory, axes, batch, free):
    """With a batch of one, any target that starts with it."""
    target = [batch, *axes]
    if free and batch != -1:
        target[free] = -1
    model = proto([node("Reshape", "x s")], {"s": ints(*target)}, (4, 6), batch=1)
    found = imported(saved(model, tmp_path_factory.mktemp("r")), (4, 6), (1,))
    assert found.graph["the Reshape"].attrs == {"shape": list(axes)}


@pytest.mark.parametrize("opset", [9, 13, NEWEST])
def test_flatten(converted, refused, opset):
    assert ops(converted(node("Flatten", "x"), opset=opset)) == ["reshape"]
    nodes = [node("GlobalAveragePool", "x", "g"), node("Transpose", "g", "t", perm=[0, 2, 3, 1])]
    assert "reshape" in ops(converted([*nodes, node("Flatten", "t", axis=2)], opset=opset))
    assert "mixes samples" in refused(node("Flatten", "x", axis=2), opset=opset)
    assert "mixes samples" in refused(node("Flatten", "x", axis=0), opset=opset)


@pytest.mark.parametrize("opset", [9, 11])
def test_axes_by_attribute(converted, opset):
    nodes = [node("Unsqueeze", "x", "u", axes=[1, 4]), node("Squeeze", "u", axes=[4])]
    assert ops(converted(nodes, opset=opset)) == ["reshape", "reshape"]
    mean = node("ReduceMean", "x", axes=[-1, 2], keepdims=0)
    assert converted(mean, opset=opset).graph["the ReduceMean"].attrs["dims"] == [2, 3]


@pytest.mark.parametrize("opset", [18, NEWEST])
def test_axes_by_operand(converted, refused, opset):
    axes = {
        "two": ints(1, 4),
        "one": ints(4),
        "space": ints(2, 3),
        "none": ints(),
        "first": ints(0),
    }
    nodes = [node("Unsqueeze", "x two", "u"), node("Squeeze", "u one")]
    assert ops(converted(nodes, axes, opset=opset)) == ["reshape", "reshape"]
    found = converted(node("ReduceMean", "x space"), axes, opset=opset)
    assert found.graph["the ReduceMean"].attrs == {"dims": [2, 3], "keepdim": True}
    nothing = node("ReduceMean", "x none", noop_with_empty_axes=1)
    assert ops(converted(nothing, axes, opset=opset)) == ["identity"]
    for op in ("Squeeze", "ReduceMean"):
        assert "batch" in refused(node(op, "x first"), axes, opset=opset)
    assert "on axis 1" in refused(node("Unsqueeze", "x first"), axes, opset=opset)
    assert "over the batch" in refused(node("ReduceMean", "x"), opset=opset)
    assert "mixes samples" in refused(node("Squeeze", "x space"), axes, opset=opset)


def test_running_sums(converted, refused):
    places = {"n": ints(-1), "batch": ints(0)}
    found = converted(node("CumSum", "x n"), places)
    assert found.graph["the CumSum"].attrs == {"dim": 3}
    turned = [node("Transpose", "x", "t", perm=[1, 0, 2, 3]), node("CumSum", "t batch", "s")]
    found = converted([*turned, node("Transpose", "s", perm=[1, 0, 2, 3])], places)
    assert [n.attrs["dim"] for n in found.graph.nodes if n.op == "cumsum"] == [1]
    assert "over the batch" in refused(node("CumSum", "x batch"), places)
    for how in ("exclusive", "reverse"):
        assert "a running sum that is" in refused(node("CumSum", "x n", **{how: 1}), places)


def test_a_squeeze_of_all(converted):
    nodes = [node("GlobalAveragePool", "x", "g"), node("Squeeze", "g", "s")]
    found = converted([*nodes, node("Unsqueeze", "s a")], {"a": ints(2)}, batches=(5,))
    assert found.graph["Squeeze s"].attrs == {"shape": [2]}


def test_transposes(converted, refused):
    found = converted(node("Transpose", "x", perm=[0, 3, 1, 2]))
    assert found.graph["the Transpose"].attrs == {"dims": [3, 1, 2]}
    assert "on axis 1" in refused(node("Transpose", "x", perm=[1, 0, 2, 3]))
    assert "on axis 1 with places" in refused(node("Transpose", "x"))


def test_concatenation(converted, refused):
    nodes = [node("Relu", "x", "r")]
    assert ops(converted([*nodes, node("Concat", "x r", axis=-2)])) == ["relu", "concat"]
    assert "over the batch" in refused([*nodes, node("Concat", "x r", axis=0)])
    longer = node("Concat", "x c", axis=1), {"c": floats(1, 9, 6, 6)}
    assert "longer than the value" in refused(*longer)


@pytest.mark.parametrize("opset", [9, 11])
def test_a_split_by_attribute(converted, opset):
    nodes = [node("Split", "x", "a b", axis=2, split=[2, 4]), node("Concat", "b a", axis=2)]
    assert ops(converted(nodes, opset=opset)) == ["slice", "slice", "concat"]


@pytest.mark.parametrize("opset", [13, 18, NEWEST])
def test_a_split_by_operand(converted, refused, opset):
    nodes = [node("Split", "x s", "a b", axis=2), node("Concat", "b a", axis=2)]
    assert ops(converted(nodes, {"s": ints(2, 4)}, opset=opset)) == ["slice", "slice", "concat"]
    assert "into [2, 5]" in refused(nodes, {"s": ints(2, 5)}, opset=opset)
    first = node("Split", "x s", "y b", axis=2)
    assert ops(converted(first, {"s": ints(2, 4)}, opset=opset))[0] == "slice"
    assert "split of the batch" in refused(node("Split", "x s", "y b", axis=0), {"s": ints(1, 2)})


def test_a_split_into_equal_pieces(converted):
    joined = node("Concat", "c a", axis=2)
    found = converted([node("Split", "x", "a b c", axis=2), joined], opset=13)
    assert found.graph["Split a"].attrs == {"dim": 2, "start": 0, "stop": 2, "step": 1}
    nodes = [node("Split", "x", "a b c", axis=2, num_outputs=3), joined]
    uneven = converted(nodes, shape=(2, 7), opset=18)
    assert uneven.graph["Split a@3"].attrs["start"] == 6


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ((1, 2), (5, -1), (2, 3), (1, 1)),
        ((0,), (2**31 - 1,), (3,), (2,)),
        ((-1,), (-(2**62),), (2,), (-1,)),
        ((-2,), (100,), (-1,), (1,)),
        ((0,), (100,), (0,), (1,)),
    ],
)
def test_slices(converted, starts, ends, axes, steps):
    tensors = {"s": ints(*starts), "e": ints(*ends), "a": ints(*axes), "t": ints(*steps)}
    found = converted(node("Slice", "x s e a t"), tensors)
    assert set(ops(found)) == {"identity" if axes == (0,) else "slice"}


def test_slices_of_old(converted, refused):
    assert ops(converted(node("Slice", "x", starts=[1, 0], ends=[2, 3], axes=[1, 3]), opset=9))
    first = node("Slice", "x", starts=[0], ends=[1])
    assert "picks samples" in refused(first, opset=9)
    assert "without a place" in refused(node("Slice", "x", starts=[2], ends=[1], axes=[2]), opset=9)
    assert "IndexError" in refused(node("Slice", "x", starts=[2], ends=[1], axes=[7]), opset=9)


@pytest.mark.parametrize(
    ("index", "names"),
    [
        (np.array(1), ["slice", "reshape"]),
        (ints(1, 3, 5), ["slice"]),
        (ints(-1, -2), ["take"]),
        (ints(0, 1, 3), ["take"]),
        (ints(2, 2), ["take"]),
        (ints(0, 1, 3, 3).reshape(2, 2), ["take", "reshape"]),
    ],
)
def test_gather(converted, index, names):
    assert ops(converted(node("Gather", "x i", axis=2), {"i": index})) == names


def test_a_gather_of_everything(converted, refused):
    assert ops(converted(node("Gather", "x i", axis=1), {"i": ints(0, 1)})) == ["identity"]
    assert "places [9]" in refused(node("Gather", "x i", axis=2), {"i": ints(9)})
    assert "picks samples" in refused(node("Gather", "x i"), {"i": np.array(0)})


def test_a_gather_by_a_column_of_places(converted, refused):
    """As torch.onnx writes ``x[:, [1, 0, 1]]``, behind a permutation of the batch."""
    turned = [
        node("Transpose", "x", "t", perm=[1, 0, 2, 3]),
        node("GatherND", "t i", "g"),
        node("Transpose", "g", perm=[1, 0, 2, 3]),
    ]
    assert ops(converted(turned, {"i": ints(1, 0, 1).reshape(3, 1)})) == ["take"]
    assert "picks samples" in refused(node("GatherND", "x i"), {"i": ints(0).reshape(1, 1)})
    assert "mixes samples" in refused(turned, {"i": ints(0, 0, 1, 0).reshape(2, 2)})


def test_tiles(converted, refused):
    found = converted(node("Tile", "x n"), {"n": ints(1, 2, 1, 3)})
    assert ops(found) == ["take", "take"]
    assert ops(converted(node("Tile", "x n"), {"n": ints(1, 1, 1, 1)})) == ["identity"]
    assert "the batch" in refused(node("Tile", "x n"), {"n": ints(2, 1, 1, 1)})
    for times in (0, -1, 10**9):
        by = {"n": ints(1, times, 1, 1)}
        assert f"a repetition of [2, 6, 6] by [{times}, 1, 1]" in refused(node("Tile", "x n"), by)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_channels_to_places_and_back(converted, mode):
    apart = node("DepthToSpace", "x", blocksize=2, mode=mode)
    assert ops(converted(apart, shape=(8, 3, 2))) == ["reshape", "permute", "reshape"]
    together = node("SpaceToDepth", "x", blocksize=3)
    assert ops(converted(together, shape=(2, 3, 6))) == ["reshape", "permute", "reshape"]


@pytest.mark.parametrize("opset", [9, 10])
def test_padding_by_attribute(converted, opset):
    call = node("Pad", "x", pads=[0, 0, 1, 2, 0, 0, 0, 3])
    found = converted(call, opset=opset)
    assert found.graph["the Pad"].attrs == {"pad": [2, 3, 1, 0], "mode": "constant"}


@pytest.mark.parametrize("opset", [11, 18, NEWEST])
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_padding_by_operand(converted, opset, mode):
    call = node("Pad", "x p", mode=mode)
    assert ops(converted(call, {"p": ints(0, 0, 1, 2, 0, 0, 0, 3)}, opset=opset)) == ["pad"]


def test_padding_that_has_axes(converted, refused):
    tensors = {"p": ints(1, 2, 0, -1), "a": ints(-1, 1), "v": np.array(np.float32(0))}
    assert ops(converted(node("Pad", "x p v a"), tensors, opset=18)) == ["pad"]
    tensors["v"] = np.array(np.float32(1))
    assert "value 1" in refused(node("Pad", "x p v a"), tensors, opset=18)
    batch = {"p": ints(1, 0, 0, 0, 0, 0, 0, 0)}
    assert "padding of the batch" in refused(node("Pad", "x p"), batch)


def scales(*values):
    return np.array(values, dtype=np.float32)


def test_upsample_of_old(converted):
    assert ops(converted(node("Upsample", "x s"), {"s": scales(1, 1, 2, 3)}, opset=9)) == [
        "upsample"
    ]
    assert ops(converted(node("Resize", "x s"), {"s": scales(1, 1, 2, 3)}, opset=10)) == [
        "upsample"
    ]


@pytest.mark.parametrize("opset", [11, 13, 18, NEWEST])
@pytest.mark.parametrize("position", ["asymmetric", "half_pixel", "pytorch_half_pixel"])
@pytest.mark.parametrize("rounding", ["floor", "round_prefer_floor", "round_prefer_ceil", "ceil"])
def test_resize(tmp_path, opset, position, rounding):
    """Either it is what onnxruntime gives, or it is refused by name."""
    attrs = {"coordinate_transformation_mode": position, "nearest_mode": rounding}
    tensors = {"s": scales(1, 1, 2, 3), "r": scales()}
    file = saved(proto([node("Resize", "x r s", **attrs)], tensors, opset=opset), tmp_path)
    if (position == "asymmetric") == (rounding == "floor") and rounding != "ceil":
        assert ops(imported(file)) == ["upsample"]
    else:
        with pytest.raises(UnsupportedError, match=f"'{position}' and '{rounding}'"):
            import_onnx(file, IMAGE)


def test_resize_by_sizes(converted, refused):
    attrs = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    tensors = {"n": ints(1, 2, 9, 4), "r": scales(), "three": ints(9, 4), "a": ints(2, 3)}
    found = converted(node("Resize", "x r r n", **attrs), tensors, batches=(1,))
    assert found.graph["the Resize"].attrs == {"size": [9, 4]}
    by_axes = node("Resize", "x r r three", axes=[2, 3], **attrs)
    assert ops(converted(by_axes, tensors, opset=18)) == ["upsample"]
    keeping = node("Resize", "x r r n", keep_aspect_ratio_policy="not_larger")
    assert "aspect ratio" in refused(keeping, tensors, opset=18)
    assert "a resize of [2, 6, 6]" in refused(
        node("Resize", "x r s"), {"s": scales(1, 2, 2, 2), "r": scales()}
    )


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("position", ["half_pixel", "pytorch_half_pixel", "align_corners"])
def test_resize_between_places(converted, position, mode):
    attrs = {"mode": mode, "coordinate_transformation_mode": position}
    found = converted(node("Resize", "x n s", **attrs), {"n": scales(), "s": scales(1, 1, 2, 1.5)})
    kind = "bilinear" if mode == "linear" else "bicubic"
    corners = position == "align_corners"
    expected = {"size": [12, 9], "mode": kind, "align_corners": corners}
    assert found.graph["the Resize"].attrs == expected


def test_resize_to_one_place(converted, refused):
    factors = {"n": scales(), "s": scales(1, 1, 0.25, 0.25)}
    attrs = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    found = converted(node("Resize", "x n s", **attrs), factors, (2, 4, 4))
    assert ops(found) == ["interpolate"]
    attrs["coordinate_transformation_mode"] = "pytorch_half_pixel"  # the first place, in ONNX
    assert "to [1, 1]" in refused(node("Resize", "x n s", **attrs), factors, (2, 4, 4))


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax", "ReduceMean", "ReduceMin"])
def test_all_axes_and_none_behind_what_moves_the_batch(converted, refused, op):
    turned = [node("Transpose", "x", "t", perm=[1, 0, 2, 3])]
    back = node("Transpose", "r", perm=[1, 0, 2, 3])
    nothing = [*turned, node(op, "t", "r", noop_with_empty_axes=1), back]
    assert ops(converted(nothing, opset=18)) == []
    assert "all axes at once" in refused([*turned, node(op, "t", "r"), back], opset=18)


@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 4, 5)])
def test_resize_by_lines_along_one_and_three_axes(converted, shape):
    factors = {"n": scales(), "s": scales(1, 1, *[2] * (len(shape) - 1))}
    found = converted(node("Resize", "x n s", mode="linear"), factors, shape)
    assert ops(found) == ["interpolate"]


@pytest.mark.parametrize(
    "attrs",
    [
        {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
        {"mode": "cubic", "cubic_coeff_a": -0.5},
        {"mode": "cubic", "exclude_outside": 1},
    ],
)
def test_resize_as_pytorch_does_not(refused, attrs):
    factors = {"n": scales(), "s": scales(1, 1, 2, 2)}
    assert "a resize with mode" in refused(node("Resize", "x n s", **attrs), factors)


@pytest.mark.parametrize("opset", [9, 10])
def test_dropout_of_old(converted, opset):
    found = converted(node("Dropout", "x", ratio=0.25), opset=opset)
    assert found.graph["the Dropout"].attrs == {"p": 0.25}


def test_dropout(converted, refused):
    tensors = {"p": np.array(np.float32(0.25)), "on": np.array(True), "off": np.array(False)}
    found = converted(node("Dropout", "x p off"), tensors)
    assert found.graph["the Dropout"].attrs == {"p": 0.25}
    assert "outside training" in refused(node("Dropout", "x p on"), tensors)
    mask = [node("Dropout", "x", "d m"), node("Cast", "m", "f", to=1), node("Add", "d f")]
    assert "mask" in refused(mask)


def test_what_leaves_values_alone(converted, refused):
    assert ops(converted(node("Identity", "x"))) == ["identity"]
    assert ops(converted(node("Cast", "x", to=1))) == ["identity"]
    assert "cast" in refused([node("Cast", "x", "i", to=7), node("Cast", "i", to=1)])


def test_casts_to_the_type_of_another_operand(converted, refused):
    number = [node("CastLike", "c x", "d"), node("Add", "x d")]
    assert ops(converted(number, {"c": ints(3)}, opset=15)) == ["affine"]
    like = [node("CastLike", "x c")]
    assert ops(converted(like, {"c": floats(1)}, opset=15)) == ["identity"]
    assert "cast" in refused(
        [node("CastLike", "x c", "i"), node("Cast", "i", to=1)], {"c": ints(1)}, opset=15
    )


# Constants


def constant(value):
    return node("Constant", "", "c", value=numpy_helper.from_array(value))


@pytest.mark.parametrize("opset", [9, 13, NEWEST])
def test_weights_as_constants(converted, opset):
    nodes = [constant(floats(4, 2, 3, 3)), node("Conv", "x c")]
    found = converted(nodes, opset=opset)
    assert set(found.tensors) == {"the Conv.weight"}


@pytest.mark.parametrize("opset", [9, NEWEST])
def test_weights_as_one_number(converted, opset):
    fill = node("ConstantOfShape", "s", "w", value=numpy_helper.from_array(scales(0.25)))
    found = converted([fill, node("Conv", "x w")], {"s": ints(4, 2, 3, 3)}, opset=opset)
    assert (found.tensors["the Conv.weight"] == 0.25).all()


def test_weights_that_are_computed(converted):
    """As the inception of ONNX's own tests has them: scales that are unsqueezed, sums of them."""
    nodes = [
        node("Unsqueeze", "c", "u", axes=[1, 2]),
        node("Mul", "u u", "m"),
        node("Transpose", "w", "t", perm=[1, 0, 2, 3]),
        node("Conv", "x t", "z"),
        node("Mul", "z m"),
    ]
    tensors = {"c": floats(4), "w": floats(2, 4, 3, 3)}
    assert ops(converted(nodes, tensors, opset=9)) == ["conv", "affine"]


def test_an_identity_of_a_weight_is_the_weight(converted):
    nodes = [node("Identity", "w", "v"), node("Gemm", "x w", "z", transB=1)]
    found = converted([*nodes, node("Gemm", "z v", transB=1)], {"w": floats(6, 6)}, (6,))
    assert set(found.tensors) == {"w"}


def test_shapes_that_are_computed(converted):
    """``x.view(x.size(0), x.size(1) * 2, -1)``, as an exporter writes it."""
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Gather", "s one", "c"),
        node("Mul", "c two", "cc"),
        node("Unsqueeze", "n", "nn", axes=[0]),
        node("Unsqueeze", "cc", "ccc", axes=[0]),
        node("Concat", "nn ccc minus", "t", axis=0),
        node("Reshape", "x t"),
    ]
    tensors = {"zero": np.array(0), "one": np.array(1), "two": np.array(2), "minus": ints(-1)}
    found = converted(nodes, tensors, opset=11)
    assert found.graph["the Reshape"].attrs == {"shape": [4, 18]}
    assert ops(found) == ["reshape"]


def test_a_part_of_the_shape(converted):
    nodes = [node("Shape", "x", "s", start=1, end=2), node("Concat", "zero s minus", "t", axis=0)]
    tensors = {"zero": ints(0), "minus": ints(-1)}
    found = converted([*nodes, node("Reshape", "x t")], tensors)
    assert found.graph["the Reshape"].attrs == {"shape": [2, 36]}


@pytest.mark.parametrize("op", ["Expand", "ConstantOfShape", "Range", "Mul", "Gather"])
def test_gigantic_constants_are_refused(refused, op):
    big = 40_000
    column, row = floats(big, 1), floats(1, big)
    nodes, tensors = {
        "Expand": (node("Expand", "one n", "c"), {"one": floats(1), "n": ints(big, big)}),
        "ConstantOfShape": (node("ConstantOfShape", "n", "c"), {"n": ints(big, big)}),
        "Range": (
            node("Range", "zero n one", "c"),
            {"zero": np.array(0), "n": np.array(big * big), "one": np.array(1)},
        ),
        "Mul": (node("Mul", "a b", "c"), {"a": column, "b": row}),
        "Gather": (node("Gather", "a b", "c", axis=0), {"a": row, "b": np.zeros(big, np.int64)}),
    }[op]
    if op == "Range":
        nodes = [nodes, node("Cast", "c", "d", to=1), node("Add", "x d")]
        assert f"{big * big} values" in refused(nodes, tensors)
    else:
        assert f"{big * big} values" in refused([nodes, node("Add", "x c")], tensors)


def test_a_gigantic_value_is_refused(refused):
    many = {"n": scales(1, 1, 30_000, 30_000), "r": scales()}
    attrs = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    assert "to [2, 180000, 180000]" in refused(node("Resize", "x r n", **attrs), many)
    pads = {"p": ints(0, 0, 0, 0, 0, 0, 100_000, 100_000)}
    assert f"at most {2**28} places" in refused(node("Pad", "x p"), pads)
    conv = node("Conv", "x w", pads=[0, 0, 100_000, 100_000], strides=[1000, 1000])
    assert f"at most {2**28} places" in refused(conv, {"w": floats(4, 2, 3, 3)})


def test_constants_that_can_not_be_computed(refused):
    unknown = [node("HardSwish", "c", "d"), node("Add", "x d")]
    assert "does not compute at import" in refused(unknown, {"c": floats(1)})
    wrong = [node("Reshape", "c s", "d"), node("Add", "x d")]
    assert "can't be computed from" in refused(wrong, {"c": floats(3), "s": ints(2, 2)})


def test_everything_that_can_not_be_converted_is_named(tmp_path):
    nodes = [
        node("LRN", "x", "a", size=3),
        node("Tanh", "a", "b"),
        node("Relu", "b", "c"),
        node("Sigmoid", "x", "d"),
        node("Mul", "x x", "e"),
        node("Sum", "c d e"),
    ]
    with pytest.raises(ObstaclesError) as caught:
        import_onnx(saved(proto(nodes), tmp_path), IMAGE)
    assert caught.value.problem.startswith("4 operations of ")
    named = [obstacle.place for obstacle in caught.value.obstacles]
    assert named == ["LRN a (LRN)", "Tanh b (Tanh)", "Sigmoid d (Sigmoid)", "Mul e (Mul)"]
    remedies = [obstacle.remedy for obstacle in caught.value.obstacles]
    assert remedies == [ANALOG] * 4


@pytest.mark.parametrize("opset", [13, 17, 18, NEWEST])
def test_maxima_over_axes(converted, refused, opset):
    def call(*axes, **attrs):
        if opset < 18:
            return node("ReduceMax", "x", **({"axes": list(axes)} if axes else {}), **attrs), {}
        operand = "x a" if axes else "x"
        return node("ReduceMax", operand, **attrs), {"a": ints(*axes)} if axes else {}

    pooled = ["reshape", "max_pool", "reshape"]
    assert ops(converted(*call(2, 3, keepdims=0), opset=opset)) == pooled
    assert ops(converted(*call(-1, 2), opset=opset)) == pooled
    assert ops(converted(*call(1), opset=opset)) == pooled
    assert "over the batch" in refused(*call(), opset=opset)
    assert "over the batch" in refused(*call(0, 1), opset=opset)
    assert "side by side" in refused(*call(1, 3), opset=opset)
