from functools import partial

import pytest
import torch
import torch.nn.functional as F
from helpers.nets import IMAGE, Calls, captured, fcs, flattened, ops
from torch import nn

from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network

# Every way to write an operation gives the same node


@pytest.mark.parametrize(
    ("relu", "ceiling"),
    [
        (nn.ReLU(), None),
        (nn.ReLU(inplace=True), None),
        (F.relu, None),
        (partial(F.relu, inplace=True), None),
        (torch.relu, None),
        (lambda x: x.relu(), None),
        (lambda x: x.relu_(), None),
        (torch.relu_, None),
        (lambda x: F.relu(input=x), None),
        (lambda x: x.clamp(0), None),
        (lambda x: x.clamp(min=0), None),
        (lambda x: x.clamp_(min=0.0), None),
        (lambda x: x.clamp_min(0), None),
        (lambda x: torch.clamp(x, min=0), None),
        (lambda x: torch.clamp_min(x, 0), None),
        (lambda x: torch.maximum(x, torch.tensor(0.0)), None),
        (lambda x: torch.max(torch.zeros(4), x), None),
        (nn.Threshold(0, 0), None),
        (lambda x: F.threshold(x, 0, 0), None),
        (nn.ReLU6(), 6.0),
        (nn.ReLU6(inplace=True), 6.0),
        (F.relu6, 6.0),
        (lambda x: x.clamp(0, 6), 6.0),
        (lambda x: torch.clamp(x, max=6, min=0), 6.0),
        (lambda x: x.clip(0, 6), 6.0),
        (nn.Hardtanh(0, 2.5), 2.5),
        (lambda x: F.hardtanh(x, 0, 2.5), 2.5),
        (lambda x: F.hardtanh(x, min_val=0.0, max_val=2.5, inplace=True), 2.5),
    ],
)
def test_relu(relu, ceiling):
    graph = captured(Calls(lambda n, x: n.out(n.part(n.fc(x))), part=relu, **fcs(4)), (4,))
    assert ops(graph) == ["linear", "relu", "linear"]
    assert graph.nodes[1].attrs == {"ceiling": ceiling}


@pytest.mark.parametrize(
    "flatten",
    [
        nn.Flatten(),
        lambda x: torch.flatten(x, 1),
        lambda x: torch.flatten(x, start_dim=1),
        lambda x: x.flatten(1),
        lambda x: x.view(x.size(0), -1),
        lambda x: x.view(-1, 128),
        lambda x: x.reshape(x.shape[0], -1),
        lambda x: torch.reshape(x, (x.shape[0], 128)),
        lambda x: x.contiguous().view(x.size()[0], -1),
        lambda x: x.unsqueeze(1).squeeze(1).flatten(2).flatten(1),
    ],
)
def test_flatten(flatten):
    graph = captured(Calls(lambda n, x: n.part(x), part=flatten), IMAGE)
    assert set(ops(graph)) <= {"reshape", "identity"}


@pytest.mark.parametrize(
    "turned",
    [
        lambda x: x.transpose(1, 2),
        lambda x: x.mT,
        lambda x: x.mH,
        lambda x: x.adjoint(),
        lambda x: torch.adjoint(x.data),
        lambda x: x.real.flatten(1).T.T.view(-1, 3, 4).mT,
    ],
)
def test_matrices_transposed(turned):
    graph = captured(Calls(lambda n, x: n.part(x).flatten(1), part=turned), (3, 4))
    assert [op for op in ops(graph) if op != "identity"][-2:] == ["permute", "reshape"]


def test_unflatten():
    module = nn.Sequential(
        nn.Linear(6, 8), nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 3, 2), nn.Flatten()
    )
    assert ops(captured(module, (6,))) == ["linear", "reshape", "conv", "reshape"]


@pytest.mark.parametrize(
    "add",
    [
        lambda x, y: x + y,
        torch.add,
        lambda x, y: x.add(y),
        lambda x, y: x.add_(y),
        lambda x, y: torch.add(x, other=y),
        lambda x, y: torch.add(x, y, alpha=1),
    ],
)
def test_add(add):
    module = Calls(lambda n, x: n.out(add(n.fc(x), x)), **fcs(4))
    assert ops(captured(module, (4,))) == ["linear", "add", "linear"]


def test_add_in_place():
    def forward(n, x):
        y = n.fc(x)
        y += x
        return n.out(y)

    assert ops(captured(Calls(forward, **fcs(4)), (4,))) == ["linear", "add", "linear"]


@pytest.mark.parametrize(
    "cat",
    [
        lambda x, y: torch.cat([x, y], 1),
        lambda x, y: torch.cat((x, y), dim=1),
        lambda x, y: torch.cat(tensors=[x, y], dim=-3),
        lambda x, y: torch.concat([x, y], 1),
    ],
)
def test_concat(cat):
    module = Calls(lambda n, x: n.out(cat(x, F.relu(x)).flatten(1)), out=nn.Linear(256, 3))
    graph = captured(module, IMAGE)
    assert ops(graph) == ["relu", "concat", "reshape", "linear"]
    assert graph.nodes[1].attrs == {"dim": 1}


@pytest.mark.parametrize(
    "mean",
    [
        lambda x: x.mean((2, 3)),
        lambda x: x.mean([-1, -2]),
        lambda x: torch.mean(x, dim=(2, 3)),
        lambda x: x.mean(3).mean(2),
        lambda x: x.mean((2, 3), keepdim=True).flatten(1),
        lambda x: torch.mean(x, (2, 3), True).flatten(1),
    ],
)
def test_mean(mean):
    graph = captured(Calls(lambda n, x: n.out(mean(x)), out=nn.Linear(2, 3)), IMAGE)
    assert set(ops(graph)) <= {"mean", "reshape", "linear"}


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, 2, 1),
        nn.MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0), ceil_mode=True),
        nn.MaxPool2d(2, dilation=2),
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.max_pool2d(x, kernel_size=3, stride=2, padding=1),
        lambda x: F.max_pool2d(x, 3, padding=1, stride=1, ceil_mode=True),
        lambda x: F.max_pool2d(input=x, kernel_size=(2, 3)),
        lambda x: torch.max_pool2d(x, 2, 1),
    ],
)
def test_max_pool(pool):
    assert ops(captured(flattened(pool), IMAGE)) == ["max_pool", "reshape"]


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, 2, 1),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, 3, stride=1, padding=1),
        lambda x: F.avg_pool2d(x, 3, 2, 1, True, False),
        lambda x: F.avg_pool2d(x, kernel_size=3, count_include_pad=False, padding=1),
        lambda x: F.avg_pool2d(x, x.shape[2:]),
        lambda x: F.avg_pool2d(x, x.size(3)),
    ],
)
def test_avg_pool(pool):
    assert ops(captured(flattened(pool), IMAGE)) == ["avg_pool", "reshape"]


@pytest.mark.parametrize(
    "pool",
    [
        nn.AdaptiveAvgPool2d(1),
        nn.AdaptiveAvgPool2d((None, 3)),
        lambda x: F.adaptive_avg_pool2d(x, (3, 5)),
        lambda x: F.adaptive_avg_pool2d(x, output_size=1),
    ],
)
def test_adaptive_avg_pool(pool):
    graph = captured(flattened(pool), IMAGE)
    assert ops(graph) == ["adaptive_avg_pool", "reshape"]


@pytest.mark.parametrize(
    "pool",
    [
        nn.AdaptiveMaxPool2d(1),
        nn.AdaptiveMaxPool2d((None, 3)),
        lambda x: F.adaptive_max_pool2d(x, (3, 5)),
        lambda x: F.adaptive_max_pool2d(x, output_size=1),
        lambda x: F.adaptive_max_pool1d(x.flatten(2), 3),
        lambda x: F.adaptive_max_pool3d(x.unflatten(3, (2, 4)), (None, 4, 2)),
    ],
)
def test_adaptive_max_pool(pool):
    graph = captured(flattened(pool), IMAGE)
    assert [op for op in ops(graph) if op != "reshape"] == ["adaptive_max_pool"]


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(2, 4, 3),
        nn.Conv2d(2, 4, 3, padding="same"),
        nn.Conv2d(2, 4, (3, 5), padding="same", dilation=2),
        nn.Conv2d(2, 4, 3, padding="valid", stride=2),
        nn.Conv2d(2, 4, (3, 2), (2, 1), (1, 0), (1, 2), groups=2, bias=False),
    ],
)
def test_conv(conv):
    assert ops(captured(nn.Sequential(conv, nn.Flatten()), IMAGE)) == ["conv", "reshape"]


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(2, 2, (2, 3), padding="same"),
        nn.Conv2d(2, 2, 4, padding="same", dilation=(1, 3)),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_a_convolution_with_padding_of_its_own(conv):
    assert ops(captured(nn.Sequential(conv, nn.Flatten()), IMAGE)) == ["pad", "conv", "reshape"]


@pytest.mark.parametrize(
    ("rank", "conv", "norm", "pool", "mean"),
    [
        (1, nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d, nn.AvgPool1d),
        (3, nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d, nn.AvgPool3d),
    ],
)
def test_other_ranks(rank, conv, norm, pool, mean):
    module = nn.Sequential(
        conv(2, 4, 3), norm(4), nn.ReLU(), pool(2), mean(2, 1), nn.Flatten(), nn.LazyLinear(3)
    )
    module(torch.zeros(2, 2, *[8] * rank))
    graph = captured(module, (2, *[8] * rank))
    assert ops(graph) == ["conv", "batch_norm", "relu", "max_pool", "avg_pool", "reshape", "linear"]


def test_weights_used_by_functions():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel = nn.Parameter(torch.randn(3, 2, 3, 3))
            self.norm = nn.BatchNorm2d(3)
            self.head = nn.Linear(3 * 64, 4)

        def forward(self, x):
            x = F.conv2d(x, self.kernel, padding=1)
            x = F.batch_norm(x, self.norm.running_mean, self.norm.running_var, eps=0.1)
            return F.linear(x.flatten(1), self.head.weight, self.head.bias)

    graph = captured(Net(), IMAGE)
    assert ops(graph) == ["conv", "batch_norm", "reshape", "linear"]
    assert graph.tensor_names() == {
        "kernel",
        "norm.running_mean",
        "norm.running_var",
        "head.weight",
        "head.bias",
    }


@pytest.mark.parametrize("momentum", [0.01, 0.1, 0.0, None])
def test_the_momentum_of_batch_norm(momentum):
    norm = nn.BatchNorm2d(2, momentum=momentum)
    graph = captured(nn.Sequential(norm, nn.Flatten(), nn.Linear(128, 3)), IMAGE)
    assert graph["0"].attrs["momentum"] == momentum
    assert ("batches" in graph["0"].tensors) == (momentum is None)


def test_the_momentum_of_batch_norm_by_calls():
    def forward(n, x):
        x = F.batch_norm(x, n.norm.running_mean, n.norm.running_var, momentum=0.25)
        return F.instance_norm(
            x, n.norm.running_mean, n.norm.running_var, use_input_stats=False, momentum=0.5
        ).flatten(1)

    graph = captured(Calls(forward, norm=nn.BatchNorm2d(2)), IMAGE)
    assert [node.attrs.get("momentum") for node in graph.nodes] == [0.25, 0.5, None]


def test_a_parametrised_weight_is_taken_as_it_is():
    fc = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    assert ops(captured(nn.Sequential(fc), (4,))) == ["linear"]


@pytest.mark.parametrize(
    "drop",
    [
        nn.Dropout(0.3),
        nn.Dropout1d(0.3),
        nn.AlphaDropout(0.3),
        nn.FeatureAlphaDropout(0.3),
        lambda x: torch.dropout(x, 0.3, False),
        lambda x: F.dropout(x, 0.3, training=False),
    ],
)
def test_dropout(drop):
    graph = captured(Calls(lambda n, x: n.fc(n.part(x)), part=drop, fc=nn.Linear(4, 2)), (4,))
    assert ops(graph) == ["dropout", "linear"]
    assert graph.nodes[0].attrs == {"p": 0.3}


@pytest.mark.parametrize(
    "softmax",
    [
        nn.Softmax(1),
        nn.LogSoftmax(-1),
        lambda x: F.softmax(x, dim=1),
        lambda x: F.log_softmax(x, -1),
        lambda x: x.softmax(1),
        lambda x: torch.log_softmax(x, 1),
    ],
)
def test_a_softmax_at_the_end_is_dropped(softmax):
    module = Calls(lambda n, x: n.part(n.fc(x)), part=softmax, fc=nn.Linear(4, 3))
    graph, tensors, _ = capture(module, (4,))
    x = torch.randn(5, 4)
    torch.testing.assert_close(Network(graph, tensors)(x), module.fc(x))
