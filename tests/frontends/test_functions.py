import pytest
import torch
import torch.nn.functional as F
from helpers.nets import IMAGE, Calls, flattened, ops, randomised
from torch import nn

from snnconv.errors import ObstaclesError
from snnconv.frontends.torch.capture import capture
from snnconv.graph.analysis import Analysis
from snnconv.graph.network import Network
from snnconv.graph.ops import OPS
from snnconv.graph.remedies import ANALOG


def analog(module, shape=IMAGE):
    """The operations, after comparing the captured graph with the module."""
    graph, tensors, _ = capture(randomised(module), shape, analog=True)
    x = 3 * torch.randn(5, *shape)
    with torch.no_grad():
        torch.testing.assert_close(Network(graph, tensors).eval()(x), module(x))
    return ops(graph)


@pytest.mark.parametrize(
    "part",
    [
        nn.Sigmoid(),
        torch.sigmoid,
        lambda x: x.sigmoid(),
        nn.Tanh(),
        torch.tanh,
        nn.SiLU(),
        nn.SiLU(inplace=True),
        F.silu,
        nn.GELU(),
        nn.GELU("tanh"),
        lambda x: F.gelu(x, approximate="tanh"),
        nn.Hardswish(),
        F.hardswish,
        nn.Mish(),
        nn.Softplus(2.0, 5.0),
        F.softplus,
        nn.ELU(0.5),
        F.elu,
        lambda x: x**2,
        lambda x: x.pow(3),
        lambda x: torch.pow(x, 2.0),
        torch.square,
        torch.erf,
    ],
)
def test_functions_of_one_number(part):
    assert analog(flattened(part)) == ["pointwise", "reshape"]


def test_a_gate_over_one_half():
    for part, dim in ((nn.GLU(), 3), (lambda x: F.glu(x, 1), 1)):
        assert analog(flattened(part)) == ["slice", "slice", "pointwise", "multiply", "reshape"]
        graph, _, _ = capture(flattened(part).eval(), IMAGE, analog=True)
        assert [node.attrs["dim"] for node in graph.nodes[:2]] == [dim, dim]


def test_functions_of_positive_numbers():
    def forward(n, x):
        x = x**2 + 1
        return (x.sqrt() + torch.rsqrt(x) + x.reciprocal() + x**0.25 + 3 / x).flatten(1)

    assert "pointwise" in analog(Calls(forward))


def test_quotients_of_activations():
    net = Calls(lambda n, x: (x / (1 + x**2)).flatten(1))
    assert analog(net) == ["pointwise", "affine", "pointwise", "multiply", "reshape"]


@pytest.mark.parametrize("dim", [1, 2, 3, -1])
@pytest.mark.parametrize("function", [torch.softmax, torch.log_softmax])
def test_a_softmax_along_any_axis(function, dim):
    found = analog(flattened(lambda x: function(x, dim)))
    assert found == [function.__name__, "reshape"]


def test_a_softmax_over_the_classes_before_the_end():
    net = Calls(lambda n, x: n.last(n.first(x.flatten(1)).softmax(1)), **two(128, 5, 3))
    assert analog(net) == ["reshape", "linear", "softmax", "linear"]


def two(*sizes):
    return {"first": nn.Linear(*sizes[:2]), "last": nn.Linear(*sizes[1:])}


@pytest.mark.parametrize("shape", [(6, 5), (6, 4, 5), (6, 2, 3, 3)])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_local_response_norms(shape, size):
    part = nn.LocalResponseNorm(size, alpha=0.7, beta=0.6, k=1.5)
    assert analog(flattened(part), shape) == ["local_response_norm", "reshape"]
    by_call = flattened(lambda x: F.local_response_norm(x, size, 0.5))
    assert analog(by_call, shape) == ["local_response_norm", "reshape"]


@pytest.mark.parametrize("shape", [(6, 5), (6, 4, 5), (6, 2, 3, 3)])
def test_group_norms(shape):
    part = nn.GroupNorm(3, 6)
    part.weight.data.normal_()
    assert analog(flattened(part), shape) == ["group_norm", "reshape"]
    by_call = flattened(lambda x: F.group_norm(x, 2, torch.arange(6.0), eps=0.1))
    assert analog(by_call, shape) == ["group_norm", "reshape"]


@pytest.mark.parametrize("over", [4, (4,), (3, 4)])
def test_root_mean_square_norms(over):
    part = nn.RMSNorm(over, eps=0.1)
    part.weight.data.normal_()
    assert analog(flattened(part), (3, 4)) == ["rms_norm", "reshape"]
    own = nn.RMSNorm(over, elementwise_affine=False)  # its eps is that of float32
    small = flattened(lambda x: own(1e-3 * x))
    assert analog(small, (3, 4)) == ["affine", "rms_norm", "reshape"]
    by_call = flattened(lambda x: F.rms_norm(x, (4,), torch.arange(4.0)))
    assert analog(by_call, (3, 4)) == ["rms_norm", "reshape"]


def test_a_norm_of_rows_behind_what_moves_the_batch():
    part = nn.RMSNorm(4)
    moved = flattened(lambda x: part(x.transpose(0, 1)).transpose(0, 1))
    assert analog(moved, (3, 4)) == ["rms_norm", "reshape"]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_instance_norms(rank):
    shape, kind = (4, 5, 3, 2)[: rank + 1], getattr(nn, f"InstanceNorm{rank}d")
    assert analog(flattened(kind(4, affine=True)), shape) == ["group_norm", "reshape"]
    assert analog(flattened(F.instance_norm), shape) == ["group_norm", "reshape"]
    by_statistics = kind(4, track_running_stats=True)
    by_statistics(torch.randn(5, *shape))
    assert analog(flattened(by_statistics), shape) == ["batch_norm", "reshape"]


def test_an_instance_norm_of_one_place_and_one_sample():
    module = nn.Sequential(nn.GroupNorm(2, 2), nn.Flatten())
    norm = capture(module.eval(), (2, 2, 2), analog=True)[0].nodes[0]
    found = OPS["group_norm"].run(norm.attrs, {}, [torch.randn(1, 2, 1, 1)])
    assert torch.equal(found, torch.zeros(1, 2, 1, 1))


def test_a_softmax_over_channels():
    assert analog(flattened(nn.Softmax2d())) == ["softmax", "reshape"]


def test_products_of_matrices():
    """Attention, of one head."""

    def forward(n, x):
        scores = (n.q(x) @ n.k(x).transpose(1, 2) / 2).softmax(-1)
        return torch.bmm(scores, n.v(x)).flatten(1)

    net = Calls(forward, **{name: nn.Linear(4, 4) for name in "qkv"})
    found = analog(net, (5, 4))
    assert found[-5:] == ["affine", "softmax", "linear", "matmul", "reshape"]
    assert found.count("matmul") == 2
    graph, tensors, _ = capture(net, (5, 4), analog=True)
    macs = Analysis.of(graph, tensors).macs
    assert [macs[n.name] for n in graph.nodes if n.op == "matmul"] == [5 * 5 * 4, 5 * 4 * 5]


@pytest.mark.parametrize(
    ("part", "found"),
    [
        (lambda x: 2**x, "a power whose exponent is not a number"),
        (lambda x: x**x, "a power whose exponent is not a number"),
        (lambda x: x.softmax(0), "a softmax over the batch"),
        (lambda x: x.softmax(1, dtype=torch.float64).float(), "numbers of type torch.float64"),
    ],
)
def test_what_is_refused_all_the_same(part, found):
    with pytest.raises(ObstaclesError, match=found):
        capture(flattened(part), IMAGE, analog=True)


def test_without_the_option_they_are_refused_with_a_remedy_that_helps():
    for part in (lambda x: x.softmax(1), nn.LocalResponseNorm(3), lambda x: x**2, lambda x: 1 / x):
        with pytest.raises(ObstaclesError) as caught:
            capture(flattened(part), IMAGE)
        assert [obstacle.remedy for obstacle in caught.value.obstacles] == [ANALOG]


def test_products_and_norms():
    gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(2, 2, 1), nn.Sigmoid())
    net = Calls(lambda n, x: (x * n.gate(x)).flatten(1), gate=gate)
    found = analog(net)
    assert found == ["adaptive_avg_pool", "conv", "pointwise", "multiply", "reshape"]
    assert analog(flattened(nn.LayerNorm((8, 8)))) == ["layer_norm", "reshape"]
    assert analog(flattened(lambda x: F.layer_norm(x, (8,)))) == ["layer_norm", "reshape"]
