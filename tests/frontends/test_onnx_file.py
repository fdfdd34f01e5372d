"""ONNX files that are not what they should be: one clear error each."""

import warnings

import numpy as np
import onnx
import pytest
from helpers.onnx_models import IMAGE, NEWEST, floats, imported, ints, node, proto, saved
from onnx import TensorProto, helper, numpy_helper

from snnconv.errors import ExitCode, UnsupportedError, UsageError
from snnconv.frontends.onnx.importer import import_onnx

CONV = node("Conv", "x w")
WEIGHT = {"w": floats(4, 2, 3, 3)}


def error(file, kind=UnsupportedError, shape=IMAGE):
    """The error, of which every part says something."""
    before = sorted(file.parent.rglob("*"))
    with pytest.raises(kind) as caught:
        import_onnx(file, shape)
    assert caught.value.code == (
        ExitCode.UNSUPPORTED if kind is UnsupportedError else ExitCode.USAGE
    )
    assert all((caught.value.problem, caught.value.found, caught.value.remedy))
    assert sorted(file.parent.rglob("*")) == before, "something was written"
    return caught.value


def found(model, folder, shape=IMAGE):
    return error(saved(model, folder), shape=shape).found


def test_no_file(tmp_path):
    assert "no such file" in error(tmp_path / "absent.onnx", UsageError).found
    (tmp_path / "folder.onnx").mkdir()
    assert "no such file" in error(tmp_path / "folder.onnx", UsageError).found


@pytest.mark.parametrize("content", [b"", b"not an ONNX file", b"\x00" * 100, b"\x80" * 50])
def test_no_onnx(tmp_path, content):
    file = tmp_path / "network.onnx"
    file.write_bytes(content)
    assert "not a valid ONNX file" in error(file).problem


def test_every_cut_of_a_file_is_an_error(tmp_path):
    whole = proto([CONV], WEIGHT).SerializeToString()
    file = tmp_path / "network.onnx"
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        error(file)


def test_a_damaged_file_is_an_error_or_a_network(tmp_path):
    """Whatever a byte becomes, no other exception leaves the importer."""
    whole = proto([CONV, node("Relu", "y", "z")], WEIGHT).SerializeToString()
    file, random = tmp_path / "network.onnx", np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[random.integers(len(whole))] = random.integers(256)
        file.write_bytes(damaged)
        try:
            import_onnx(file, IMAGE)
        except UnsupportedError:
            refused += 1
    assert refused > 30


def test_sparse_weights_are_refused(tmp_path):
    model = proto([node("Gemm", "x w")], shape=(6,), flat=False)
    values = numpy_helper.from_array(floats(2), "w")
    places = numpy_helper.from_array(np.array([[0, 0], [5, 3]], np.int64), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [6, 4]))
    refused = error(saved(model, tmp_path), shape=(6,))
    assert refused.found == "sparse tensors (w)"
    assert "dense" in refused.remedy


@pytest.mark.parametrize("opset", [1, 6, NEWEST + 1])
def test_opsets_out_of_range(tmp_path, opset):
    refused = error(saved(proto([CONV], WEIGHT, opset=opset), tmp_path))
    assert f"opset {opset}: 7 to {NEWEST}" in refused.found
    assert ("upgrade" in refused.remedy) is (opset > NEWEST)


@pytest.mark.parametrize("opset", [7, 8])
def test_an_opset_before_9_is_converted(tmp_path, opset):
    pool = node("MaxPool", "r", kernel_shape=[2, 2])
    nodes = [node("Conv", "x w", "c"), node("Relu", "c", "r"), pool]
    graph = imported(saved(proto(nodes, WEIGHT, opset=opset), tmp_path)).graph
    assert [n.op for n in graph.nodes] == ["conv", "relu", "max_pool", "reshape"]


def test_an_old_opset_that_onnx_can_not_convert(tmp_path, monkeypatch):
    def refuse(model, version):
        raise RuntimeError("No Adapter")

    monkeypatch.setattr(onnx.version_converter, "convert_version", refuse)
    refused = error(saved(proto([CONV], WEIGHT, opset=8), tmp_path))
    assert "version converter" in refused.found
    assert refused.remedy == "export it with opset 17"


def test_a_batch_of_minus_one_is_open(tmp_path):
    assert imported(saved(proto([CONV], WEIGHT, batch=-1), tmp_path)).graph.nodes[0].op == "conv"


@pytest.mark.parametrize("opset", range(9, NEWEST + 1))
def test_every_opset_between(tmp_path, opset):
    nodes = [
        node("Conv", "x w", "c"),
        node("Relu", "c", "r"),
        node("MaxPool", "r", kernel_shape=[2, 2]),
    ]
    import_onnx(saved(proto(nodes, WEIGHT, opset=opset), tmp_path), IMAGE)


def test_a_circle(tmp_path):
    circle = [node("Add", "x b", "a"), node("Relu", "a", "b"), node("Add", "b a")]
    assert "topologically sorted" in found(proto(circle), tmp_path)


def test_what_is_not_valid(tmp_path):
    assert "Relu" in found(proto([node("Relu", "x x")]), tmp_path)
    assert "No Op registered" in found(proto([node("Relo", "x")]), tmp_path)
    twice = [node("Relu", "x"), node("Neg", "x")]
    assert "y" in found(proto(twice), tmp_path)
    dangling = found(proto([node("Add", "x nobody")]), tmp_path)
    assert "nobody" in dangling


def test_several_inputs(tmp_path):
    model = proto([node("Add", "x z")])
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", *IMAGE]))
    assert "2 inputs (x, z)" in found(model, tmp_path)


def test_no_input(tmp_path):
    model = proto([node("Relu", "w")], WEIGHT)
    del model.graph.input[:]
    assert "0 inputs" in found(model, tmp_path)


def test_initialisers_may_stand_among_the_inputs(tmp_path):
    """Files of IR version 3 list them there."""
    model = proto([CONV], WEIGHT, opset=9)
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 2, 3, 3]))
    model.ir_version = 3
    imported(saved(model, tmp_path))


def with_output(model, name, kind):
    model.graph.output.append(helper.make_tensor_value_info(name, kind, [None]))
    return model


def test_several_outputs(tmp_path):
    model = with_output(proto([CONV], WEIGHT), "y", TensorProto.FLOAT)
    file = saved(model, tmp_path)
    refused = error(file)
    assert refused.found == "2 outputs (logits, y)"
    assert "--output logits" in refused.remedy
    assert import_onnx(file, IMAGE, output="logits").graph.nodes[-1].op == "reshape"
    with pytest.raises(UsageError, match="did you mean 'logits'"):
        import_onnx(file, IMAGE, output="logit")


def test_a_label_among_the_outputs_is_no_logits(tmp_path):
    """A classifier's file gives its label, too; what only the label needs is left out."""
    label = node("ArgMax", "logits", "label", axis=1)
    model = proto([CONV], WEIGHT)
    model.graph.node.append(label)
    file = saved(with_output(model, "label", TensorProto.INT64), tmp_path)
    assert [n.op for n in import_onnx(file, IMAGE).graph.nodes] == ["conv", "reshape"]


def test_a_map_of_probabilities_is_what_it_is_made_from(tmp_path):
    model = proto([CONV], WEIGHT)
    made = helper.make_node("ZipMap", ["logits"], ["map"], domain="ai.onnx.ml")
    made.attribute.append(helper.make_attribute("classlabels_int64s", list(range(64))))
    model.graph.node.append(made)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, value))
    del model.graph.output[:]
    model.graph.output.append(helper.make_value_info("map", kind))
    graph = import_onnx(saved(model, tmp_path), IMAGE).graph
    assert [n.op for n in graph.nodes] == ["conv", "reshape"]


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.UINT8, TensorProto.FLOAT16])
def test_an_input_of_other_numbers(tmp_path, kind):
    model = proto([node("Identity", "x")], kind=kind)
    assert f"of type {TensorProto.DataType.Name(kind)}" in found(model, tmp_path)


def test_an_input_of_float64(tmp_path):
    """It is imported in float32."""
    weight = {"w": WEIGHT["w"].astype(np.float64)}
    model = proto([CONV], weight, kind=TensorProto.DOUBLE)
    assert import_onnx(saved(model, tmp_path), IMAGE).verdict.difference < 1e-5


def test_an_input_without_sizes(tmp_path):
    model = proto([CONV], WEIGHT)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert "of shape []" in found(model, tmp_path)
    assert "of shape [None, 0, 6, 6]" in found(proto([CONV], WEIGHT, (0, 6, 6)), tmp_path)


def test_an_input_of_another_shape(tmp_path):
    file = saved(proto([CONV], WEIGHT), tmp_path)
    assert "[2, 6, 6] for samples of [1, 8, 8]" in error(file, shape=(1, 8, 8)).found
    assert "for samples of [72]" in error(file, shape=(72,)).found


def test_sizes_that_are_open_are_those_of_the_data(tmp_path):
    model = proto([CONV, node("GlobalAveragePool", "y", "g")], WEIGHT, (2, "height", "width"))
    model.graph.node[-1].input[0] = "g"
    for shape in ((2, 6, 6), (2, 9, 7)):
        assert imported(saved(model, tmp_path), shape).graph.input_shape == shape


def test_shapes_that_depend_on_data(tmp_path):
    nodes = [node("NonZero", "x", "n"), node("Reshape", "x n")]
    assert "NonZero n (NonZero): an operator without a counterpart in snnconv" in found(
        proto(nodes), tmp_path
    )
    clip = [node("ReduceMean", "x", "m", axes=[0, 1, 2, 3], keepdims=0), node("Clip", "x m")]
    assert "over the batch" in found(proto(clip), tmp_path)
    bound = [node("GlobalAveragePool", "x", "m"), node("Pad", "x s m")]
    assert "value that depend on data" in found(proto(bound, {"s": ints(*[0] * 8)}), tmp_path)


def test_a_gigantic_batch(tmp_path):
    assert "100000000 samples" in found(proto([CONV], WEIGHT, batch=100_000_000), tmp_path)


def branch(name, *nodes, initializers=()):
    """A branch of an ``If`` that gives ``r``."""
    given = [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)]
    return helper.make_graph(list(nodes), name, [], given, list(initializers))


@pytest.mark.parametrize("rank", [4, 3])
def test_an_if_whose_condition_is_constant(tmp_path, rank):
    """Exporters write it for a squeeze: the rank of a value decides."""
    one = numpy_helper.from_array(floats(1), "one")
    chosen = node(
        "If",
        "is",
        then_branch=branch("then", node("Relu", "x", "r")),
        else_branch=branch("else", node("Add", "x one", "r"), initializers=[one]),
    )
    nodes = [node("Shape", "x", "sh"), node("Size", "sh", "n"), node("Equal", "n rank", "is")]
    file = saved(proto([*nodes, chosen], {"rank": np.array(rank)}), tmp_path)
    ops = {n.op for n in imported(file).graph.nodes}
    assert ("relu" in ops) is (rank == 4)


def test_an_obstacle_in_the_branch_that_is_taken(tmp_path):
    sigmoid = branch("then", node("Sigmoid", "x", "r"))
    chosen = node(
        "If", "flag", then_branch=sigmoid, else_branch=branch("e", node("Relu", "x", "r"))
    )
    assert "(Sigmoid)" in found(proto([chosen], {"flag": np.array(True)}), tmp_path)
    assert "(Sigmoid)" not in str(
        imported(saved(proto([chosen], {"flag": np.array(False)}), tmp_path)).graph
    )


def test_control_flow_that_depends_on_data(tmp_path):
    relu = branch("branch", node("Relu", "x", "r"))
    flag = [node("ReduceMax", "x", "m", keepdims=0), node("Cast", "m", "flag", to=9)]
    model = proto([*flag, node("If", "flag", then_branch=relu, else_branch=relu)])
    assert "the If (If)" in found(model, tmp_path)


def test_every_obstacle_is_named(tmp_path):
    """What stands behind one is looked at, whatever kind it is."""
    model = proto(
        [
            node("Sigmoid", "x", "a"),  # a function
            node("Mul", "a x", "b"),  # a product of two activations
            node("Conv", "b w", "c"),
            node("Celu", "c", "d"),  # an operator without a counterpart in snnconv
            node("Mul", "d d", "e"),
            node("Relu", "e", "f"),
            node("Tanh", "f"),
        ],
        WEIGHT,
    )
    named = found(model, tmp_path)
    for place in ("a (Sigmoid)", "b (Mul)", "d (Celu)", "e (Mul)", "the Tanh (Tanh)"):
        assert place in named
    assert len(named.split("; ")) == 2  # a function that no neuron stands for, and Celu


def test_operators_of_others(tmp_path):
    model = proto([node("FusedConv", "x w", domain="com.example")], WEIGHT)
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    assert "(com.example.FusedConv)" in found(model, tmp_path)


def test_what_the_output_does_not_depend_on_is_left_out(tmp_path):
    model = proto([CONV, node("LRN", "y", "z", size=3)], WEIGHT)
    assert [n.op for n in imported(saved(model, tmp_path)).graph.nodes] == ["conv", "reshape"]


def test_an_output_of_any_shape(tmp_path):
    graph = imported(saved(proto([CONV], WEIGHT, flat=False), tmp_path)).graph
    assert [n.op for n in graph.nodes] == ["conv"]


def test_an_output_that_does_not_depend_on_the_input(tmp_path):
    assert "a constant" in found(
        proto([node("Neg", "w")], {"w": floats(1, 4)}, flat=False), tmp_path
    )
    model = proto([CONV], WEIGHT)
    model.graph.output[0].name = "w"
    assert "the output 'w': a constant" in found(model, tmp_path)


def test_functions_of_the_file_itself(tmp_path):
    model = proto([node("Twice", "x", domain="local")])
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("local", "Twice", ["a"], ["b"], body, opsets))
    model.opset_import.append(helper.make_opsetid("local", 1))
    assert [n.op for n in imported(saved(model, tmp_path)).graph.nodes] == ["add", "reshape"]


def test_functions_that_call_one_another(tmp_path):
    model = proto([node("A", "x", domain="local")])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    for name, other in ("AB", "BA"):
        body = [helper.make_node(other, ["a"], ["b"], domain="local")]
        model.functions.append(helper.make_function("local", name, ["a"], ["b"], body, opsets))
    model.opset_import.append(opsets[1])
    assert "Cycle detected" in found(model, tmp_path)


# Tensors


def with_weight(folder, **fields):
    """A file whose weight declares what it does not hold."""
    model = proto([CONV], WEIGHT)
    tensor = model.graph.initializer[0]
    for name, value in fields.items():
        if isinstance(value, list):
            del getattr(tensor, name)[:]
            getattr(tensor, name).extend(value)
        else:
            setattr(tensor, name, value)
    return saved(model, folder)


@pytest.mark.parametrize(
    "dims", [[4, 2, 3, 4], [4, 2, 3], [], [2**20] * 3, [2**62, 4], [-4, 2, 3, 3]]
)
def test_a_declared_size_that_is_not_held(tmp_path, dims):
    caught = error(with_weight(tmp_path, dims=dims))
    assert "the ONNX file's tensor 'w'" in caught.problem
    assert f"a declared shape of {dims}" in caught.found


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.COMPLEX64, 0, TensorProto.INT4])
def test_tensors_of_other_types(tmp_path, kind):
    assert "values of type" in error(with_weight(tmp_path, data_type=kind)).found


def test_values_that_are_spelt_out(tmp_path):
    """Instead of raw bytes."""
    weight = WEIGHT["w"]
    tensor = helper.make_tensor("w", TensorProto.FLOAT, weight.shape, weight.flatten().tolist())
    model = proto([CONV], WEIGHT)
    model.graph.initializer[0].CopyFrom(tensor)
    assert not model.graph.initializer[0].HasField("raw_data")
    plain = imported(saved(model, tmp_path))
    assert np.array_equal(plain.tensors["w"].numpy(), weight)


def test_weights_that_are_no_numbers(tmp_path):
    assert "NaN or Inf in w" in found(
        proto([CONV], {"w": np.float32(np.nan) * WEIGHT["w"]}), tmp_path
    )


def test_outputs_that_are_no_numbers(tmp_path):
    huge = [node("Conv", "x w", "a"), node("Mul", "a b", "c"), node("Mul", "c b")]
    tensors = WEIGHT | {"b": np.array(np.float32(1e30))}
    assert "NaN or Inf for random inputs" in found(proto(huge, tensors), tmp_path)


# External data


def external(folder, location="network.data", held=None, **entries):
    """A file whose weight lies in another, and that other file."""
    model = proto([CONV], WEIGHT)
    tensor = model.graph.initializer[0]
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": location} | entries).items():
        tensor.external_data.add(key=key, value=str(value))
    file = saved(model, folder)
    if held is not None:
        (folder / location).write_bytes(held(data))
    return file


def test_external_data(tmp_path):
    file = external(tmp_path, held=lambda data: b"1234" + data + b"56", offset=4, length=288)
    assert np.array_equal(imported(file).tensors["w"].numpy(), WEIGHT["w"])
    bare = external(tmp_path, held=lambda data: data)
    assert np.array_equal(imported(bare).tensors["w"].numpy(), WEIGHT["w"])


def test_external_data_in_a_folder_inside(tmp_path):
    (tmp_path / "inside").mkdir()
    imported(external(tmp_path, "inside/network.data", held=lambda data: data))


@pytest.mark.parametrize("absolute", [False, True])
def test_external_data_outside(tmp_path, absolute):
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(WEIGHT["w"].tobytes())
    location = str(tmp_path / "secret") if absolute else "../secret"
    caught = error(external(folder, location))
    assert "outside the model's own folder" in caught.found
    assert location in caught.found


def test_external_data_behind_a_link(tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(WEIGHT["w"].tobytes())
    (folder / "network.data").symlink_to(tmp_path / "secret")
    assert "outside the model's own folder" in error(external(folder)).found


@pytest.mark.parametrize("entries", [{"offset": 4}, {"length": 12}, {"length": 2**40}])
def test_external_data_that_is_too_short(tmp_path, entries):
    file = external(tmp_path, held=lambda data: data, **entries)
    assert "which takes 288" in error(file).found


def test_external_data_that_is_not_there(tmp_path):
    assert "'network.data', which is no file" in error(external(tmp_path)).found
    assert "location" not in error(external(tmp_path, "")).problem
    numbers = external(tmp_path, held=lambda data: data, offset="-4")
    assert "external data at ['-4', '0']" in error(numbers).found


def test_gigantic_external_data(tmp_path):
    """A file of no length on the disk, and a shape to go with it."""
    file = external(tmp_path, held=lambda data: b"")
    model = onnx.load(file, load_external_data=False)
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([2**20, 2**20])
    with (tmp_path / "network.data").open("wb") as sparse:
        sparse.truncate(2**42)
    assert "values are read" in error(saved(model, tmp_path)).remedy


def test_attributes_are_read_like_initialisers(tmp_path):
    constant = node("Constant", "", "w", value=numpy_helper.from_array(WEIGHT["w"]))
    tensor = constant.attribute[0].t
    tensor.dims[0] = 2**20
    assert "raw_data size (288 bytes) is too small" in found(proto([constant, CONV]), tmp_path)
    tensor.CopyFrom(numpy_helper.from_array(WEIGHT["w"]))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret").write_bytes(WEIGHT["w"].tobytes())
    assert "../secret" in found(proto([constant, CONV]), tmp_path / "inside")


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
