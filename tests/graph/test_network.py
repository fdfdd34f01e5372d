import weakref
from collections import Counter
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from helpers.nets import Calls, randomised
from torch import nn

from snnconv.errors import UnsupportedError
from snnconv.frontends.torch.capture import capture
from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import INPUT, Graph, Node
from snnconv.graph.network import Network, compute, node_tensors, walk
from snnconv.zoo import ZOO

CNN = ZOO["cnn"]


def node(name, *inputs, op="add", **attrs):
    return Node(name, op, inputs, attrs, {})


def diamond():
    return Graph(
        (2,),
        (node("a", INPUT), node("b", "a", INPUT), node("c", "a", "b"), node("d", "c", "c")),
        "d",
    )


# The walk


def test_every_node_is_evaluated_once_in_order_from_its_inputs():
    seen = []

    def evaluate(node, inputs):
        seen.append(node.name)
        return f"{node.name}({','.join(inputs)})"

    assert walk(diamond(), "x", evaluate) == "d(c(a(x),b(a(x),x)),c(a(x),b(a(x),x)))"
    assert seen == ["a", "b", "c", "d"]


def test_values_are_dropped_after_their_last_reader():
    class Value:
        pass

    alive = weakref.WeakValueDictionary()
    counts = Counter()

    def evaluate(node, inputs):
        alive[node.name] = value = Value()
        counts[node.name] = len(alive)
        return value

    chain = [node(str(i), str(i - 1) if i else INPUT) for i in range(10)]
    walk(Graph((1,), tuple(chain), "9"), Value(), evaluate)
    assert max(counts.values()) <= 2  # a value and the one made from it


def test_an_output_in_the_middle_is_kept():
    graph = Graph((1,), (node("a", INPUT), node("b", "a")), "a")
    assert walk(graph, 1, lambda node, inputs: sum(inputs) + 1) == 2
    assert walk(Graph((1,), (), INPUT), 7, lambda node, inputs: 0) == 7


# Shapes


@pytest.mark.parametrize("name", ["cnn", "mlp", "resnet20", "vgg11"])
def test_shapes_are_those_of_the_values(name):
    module = ZOO[name](channels=2, size=16, classes=5, width=0.125)
    graph, tensors, _ = capture(module, (2, 16, 16))
    real = {INPUT: (2, 16, 16)}

    def evaluate(node, inputs):
        value = compute(node, tensors, inputs)
        real[node.name] = tuple(value.shape[1:])
        return value

    walk(graph, torch.randn(3, 2, 16, 16), evaluate)
    assert Analysis.of(graph, tensors).shapes == real


def test_shapes_of_double_tensors():
    graph, tensors, _ = capture(nn.Sequential(nn.Linear(4, 2)), (4,))
    double = {name: tensor.double() for name, tensor in tensors.items()}
    assert Analysis.of(graph, double).shapes["0"] == (2,)


def test_a_node_that_can_not_be_computed_is_named():
    graph, tensors, _ = capture(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), (4,))
    tensors["2.weight"] = torch.ones(2, 7)
    with pytest.raises(UnsupportedError, match=r"node '2' \(linear\)(.|\n)*shape \[\[3\]\]"):
        _ = Analysis.of(graph, tensors).shapes
    with pytest.raises(UnsupportedError, match=r"node 'a' \(relu\)(.|\n)*ceiling: Field required"):
        _ = Analysis.of(Graph((4,), (node("a", INPUT, op="relu"),), "a"), {}).shapes


@pytest.mark.parametrize("size", [-1, 2**62, 10**20])
def test_an_input_that_can_not_be(size):
    with pytest.raises(UnsupportedError, match="the network's input can't be used"):
        _ = Analysis.of(Graph((size, 4), (), INPUT), {}).shapes


# The network


def test_parameters_are_what_is_trained():
    module = CNN(width=0.25)
    graph, tensors, _ = capture(module, (1, 8, 8))
    network = Network(graph, tensors)
    assert sum(p.numel() for p in network.parameters()) == sum(
        p.numel() for p in module.parameters()
    )
    trained = {id(p) for p in network.parameters()}
    for node in graph.nodes:
        for role, name in node.tensors.items():
            assert (id(network.tensor(name)) in trained) == (role not in ("mean", "var"))


def test_tensors_come_back_as_copies():
    graph, tensors, _ = capture(randomised(CNN(width=0.25)), (1, 8, 8))
    network = Network(graph, tensors)
    back = network.tensors()
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    for name in tensors:
        back[name].zero_()
        tensors[name].zero_()
        assert network.tensor(name).data_ptr() not in (
            back[name].data_ptr(),
            tensors[name].data_ptr(),
        )
    assert network(torch.randn(2, 1, 8, 8)).abs().sum() > 0


def test_a_shared_tensor_is_one_parameter():
    module = Calls(lambda n, x: n.fc(F.relu(n.fc(x))), fc=nn.Linear(3, 3))
    network = Network(*capture(module, (3,))[:2])
    assert len(list(network.parameters())) == 2


def test_training_is_what_it_is_for_the_module():
    module = randomised(CNN(width=0.25))
    network = Network(*capture(module, (1, 8, 8))[:2]).train()
    module.train()
    x = torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(network(x), module(x))
    F.cross_entropy(network(x), torch.arange(4)).backward()
    F.cross_entropy(module(x), torch.arange(4)).backward()
    torch.testing.assert_close(network.tensor("0.weight").grad, module[0].weight.grad)
    torch.testing.assert_close(network.tensor("1.running_mean"), module[1].running_mean)
    torch.testing.assert_close(network.tensor("1.running_var"), module[1].running_var)
    torch.testing.assert_close(network.eval()(x), module.eval()(x))


def test_dropout_drops_in_training_only():
    module = nn.Sequential(nn.Dropout(0.5), nn.Flatten())
    network = Network(*capture(module, (1000,))[:2])
    x = torch.ones(1, 1000)
    assert torch.equal(network.eval()(x), x)
    dropped = network.train()(x)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert 0.4 < (dropped == 0).float().mean() < 0.6


def test_tensors_by_role():
    tensors = {"fc.weight": torch.ones(1), "fc.bias": torch.zeros(1)}
    fc = Node("fc", "linear", (INPUT,), {}, {"weight": "fc.weight", "bias": "fc.bias"})
    assert node_tensors(fc, tensors) == {
        "weight": tensors["fc.weight"],
        "bias": tensors["fc.bias"],
    }


# BatchNorm in training


@pytest.mark.parametrize("momentum", [0.3, 0.01, 0.0, None])
def test_batch_norm_trains_with_the_networks_own_momentum(momentum):
    """Statistics after three batches more are those of the module, which had seen two."""
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(3, momentum=momentum)
    module = nn.Sequential(norm, nn.Linear(3, 2))
    for _ in range(2):
        module.train()(torch.randn(8, 3) + 1)
    network = Network(*capture(module, (3,))[:2]).train()
    module.train()
    for x in torch.randn(3, 8, 3) * 2:
        torch.testing.assert_close(network(x), module(x))
    tensors = network.tensors()
    torch.testing.assert_close(tensors["0.running_mean"], norm.running_mean)
    torch.testing.assert_close(tensors["0.running_var"], norm.running_var)
    if momentum is None:
        assert tensors["0.num_batches_tracked"] == 5


def test_batch_norm_of_a_graph_without_momentum_trains_with_a_tenth():
    graph, tensors, _ = capture(nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 2)), (1,))
    older = replace(graph["0"], attrs={"eps": 1e-5})
    network = Network(replace(graph, nodes=(older, *graph.nodes[1:])), tensors).train()
    network(torch.tensor([[10.0], [20.0]]))
    assert network.tensor("0.running_mean").item() == pytest.approx(0.1 * 15)


def test_other_convolutions_than_those_of_images_keep_their_layout():
    """Frames as the depth of a Conv3d, on samples that are images."""
    module = nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Conv3d(1, 4, 3), nn.Flatten())
    graph, tensors, _ = capture(module, (6, 8, 8))
    x = torch.randn(2, 6, 8, 8)
    torch.testing.assert_close(Network(graph, tensors).laid_out()(x), module(x))
