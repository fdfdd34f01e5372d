import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnconv.errors import CheckpointError, ExitCode
from snnconv.graph.ir import INPUT, Graph, Node
from snnconv.graph.ops import OPS


def small():
    return Graph(
        (4,),
        (
            Node("fc", "linear", (INPUT,), {}, {"weight": "fc.weight", "bias": "fc.bias"}),
            Node("act", "relu", ("fc",), {"ceiling": None}, {}),
            Node("again", "linear", ("act",), {}, {"weight": "fc.weight", "bias": "fc.bias"}),
            Node("sum", "add", ("act", "again"), {}, {}),
        ),
        "sum",
    )


@st.composite
def graphs(draw):
    name = st.text(min_size=1).filter(lambda n: n != INPUT)
    names = draw(st.lists(name, unique=True, max_size=5))
    nodes, seen = [], [INPUT]
    scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    for name in names:
        inputs = draw(st.lists(st.sampled_from(seen), min_size=1, max_size=3))
        attrs = draw(
            st.dictionaries(st.text(), scalars | st.lists(scalars, max_size=3), max_size=2)
        )
        tensors = draw(st.dictionaries(st.text(), st.text(), max_size=2))
        op = draw(st.sampled_from(sorted(OPS)))
        nodes.append(Node(name, op, tuple(inputs), attrs, tensors))
        seen.append(name)
    shape = draw(st.lists(st.integers(1, 2**31 - 1), max_size=4))
    return Graph(tuple(shape), tuple(nodes), draw(st.sampled_from(seen)))


class Anything:
    """An operation that takes whatever a node says."""

    def misfit(self, attrs, inputs, roles):
        return None


@settings(deadline=None, max_examples=50)
@given(graphs())
def test_json_and_back_is_the_same_graph(graph):
    text = json.dumps(graph.to_json(), allow_nan=True)
    again = Graph.from_json(json.loads(text), dict.fromkeys(OPS, Anything()), "memory")
    assert again == graph
    assert json.dumps(again.to_json(), allow_nan=True) == text


def test_what_a_graph_knows():
    graph = small()
    assert graph["again"].inputs == ("act",)
    assert [site.name for site in graph.sites] == ["act"]
    assert [node.name for node in graph.consumers("act")] == ["again", "sum"]
    assert list(graph.consumers("sum")) == []
    assert graph.tensor_names() == {"fc.weight", "fc.bias"}


def test_a_name_that_is_no_node():
    with pytest.raises(KeyError, match="nobody"):
        small()["nobody"]


def change(path, value):
    def changed(data):
        *way, last = path
        for step in way:
            data = data[step]
        data[last] = value

    return changed


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (change(["nodes", 1, "op"], "softplus"), "node 'act' has the unknown operation 'softplus'"),
        (change(["nodes", 1, "inputs"], ["sum"]), "'act' reads ['sum'], which no earlier node"),
        (change(["nodes", 2, "name"], "act"), "two nodes are named 'act'"),
        (change(["nodes", 0, "name"], INPUT), "two nodes are named 'input'"),
        (change(["output"], "logits"), "the output 'logits' is no node"),
        (change(["output"], 3), "output: Input should be a valid string"),
        (change(["nodes"], None), "nodes: "),
        (change(["nodes", 1], "relu"), "nodes.1: "),
        (change(["nodes", 1, "attrs"], [1]), "nodes.1.attrs: "),
        (change(["nodes", 1, "tensors"], ["fc.weight"]), "nodes.1.tensors: "),
        (change(["nodes", 0, "tensors", "weight"], 7), "nodes.0.tensors.weight: "),
        (change(["nodes", 1, "inputs"], "fc"), "nodes.1.inputs: "),
        (change(["input_shape"], ["wide"]), "input_shape.0: "),
        (lambda data: data.pop("output"), "output: Field required"),
        (lambda data: data["nodes"][3].pop("inputs"), "nodes.3.inputs: Field required"),
    ],
)
def test_a_broken_graph_says_what_and_where(broken, says):
    data = small().to_json()
    broken(data)
    with pytest.raises(CheckpointError) as caught:
        Graph.from_json(data, OPS, "net.safetensors")
    assert caught.value.code == ExitCode.CHECKPOINT
    assert "net.safetensors" in caught.value.problem
    assert says in caught.value.found


@pytest.mark.parametrize("data", [None, [], "graph", 3])
def test_what_is_no_graph_at_all(data):
    with pytest.raises(CheckpointError, match="malformed graph"):
        Graph.from_json(data, OPS, "net.safetensors")
