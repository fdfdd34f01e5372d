"""Values whose batch is not the first axis: LSTM and GRU in PyTorch's default layout."""

import pytest
import torch
import torch.nn.functional as F
from helpers.nets import Calls, ops
from torch import nn

from snnconv.errors import UnsupportedError
from snnconv.frontends.torch.capture import capture
from snnconv.frontends.torch.export import exported
from snnconv.frontends.torch.translate import translate
from snnconv.graph.network import Network

LENGTH, WIDTH, HIDDEN = 5, 3, 4
PARTS = {
    "lstm": lambda: nn.LSTM(WIDTH, HIDDEN, bidirectional=True),
    "gru": lambda: nn.GRU(WIDTH, HIDDEN, 1),
    "first": lambda: nn.GRU(WIDTH, HIDDEN, batch_first=True),
    "deep": lambda: nn.LSTM(WIDTH, HIDDEN, 2),
    "more": lambda: nn.GRU(HIDDEN, HIDDEN),
    "square": lambda: nn.Linear(WIDTH, WIDTH),
    "bend": lambda: nn.PReLU(1),
    "table": lambda: nn.Embedding(9, WIDTH),
    "places": lambda: nn.Parameter(torch.randn(LENGTH, 1, HIDDEN)),
    "samples": lambda: nn.Buffer(torch.randn(LENGTH, 3, HIDDEN)),
}


def network(forward):
    torch.manual_seed(0)
    return Calls(forward, **{name: make() for name, make in PARTS.items()}).eval()


def sequence(n, x, part="gru"):
    return getattr(n, part)(x.transpose(0, 1))[0]


def state(n, x, part="gru"):
    found = getattr(n, part)(x.transpose(0, 1))[1]
    return found[0] if part in ("lstm", "deep") else found


def heads(n, x):
    """Attention with batch and heads in one axis, as PyTorch's own has it."""
    rows = n.gru(x.transpose(0, 1))[0].view(LENGTH, -1, 2).transpose(0, 1)
    weights = torch.bmm(rows, rows.transpose(1, 2)).softmax(-1)
    return torch.bmm(weights, rows).transpose(0, 1).reshape(LENGTH, -1, HIDDEN)[0]


def windows(n, x):
    """Places that share the batch's axis, with a table for all windows and one for each."""
    rows = n.first(x)[0].reshape(-1, 2, 2)  # [B*5, 2, 2]
    rows = n.places[0].view(1, 2, 2) + rows * n.places[1].view(2, 2)
    apart = rows.view(-1, LENGTH, 2, 2) - n.places.view(1, LENGTH, 2, 2)
    weights = apart.view(-1, 2, 2).softmax(-1)
    return (weights @ rows).view(-1, LENGTH * HIDDEN)


FORWARDS = {
    "last place": lambda n, x: sequence(n, x)[-1],
    "last state": lambda n, x: state(n, x, "deep")[-1],
    "states side by side": lambda n, x: torch.cat([state(n, x, "lstm")[k] for k in (1, 0)], 1),
    "states in a row": lambda n, x: state(n, x, "lstm").transpose(0, 1).reshape(x.shape[0], -1),
    "one state squeezed": lambda n, x: state(n, x).squeeze(0),
    "of one with the batch first": lambda n, x: n.first(x)[1].squeeze(0),
    "one state viewed": lambda n, x: n.first(x)[1].view(x.shape[0], HIDDEN),
    "back": lambda n, x: sequence(n, x).permute(1, 0, 2)[:, -1],
    "mean": lambda n, x: sequence(n, x).mean(0),
    "sum": lambda n, x: (2 * sequence(n, x) + 1).sum(dim=0),
    "sums so far": lambda n, x: sequence(n, x).cumsum(0)[2],
    "largest": lambda n, x: sequence(n, x).max(0)[0],
    "clip": lambda n, x: sequence(n, x).relu().amax(0, keepdim=True).squeeze(0),
    "every other place": lambda n, x: sequence(n, x)[::2].mean(0),
    "piece": lambda n, x: sequence(n, x).split(2)[1][0],
    "two joined": lambda n, x: torch.cat([sequence(n, x), n.more(sequence(n, x))[0]], -1)[0],
    "batch last": lambda n, x: sequence(n, x).permute(0, 2, 1)[1].t(),
    "batch behind": lambda n, x: sequence(n, x).permute(2, 1, 0)[:, :, -1].t(),
    "numbers with the batch last": lambda n, x: (2 * x.permute(2, 1, 0)[0]).relu().t(),
    "the larger": lambda n, x: torch.max(sequence(n, x), -sequence(n, x))[-1],
    "the larger by name": lambda n, x: torch.maximum(sequence(n, x), 0.5 * sequence(n, x))[-1],
    "not below": lambda n, x: torch.max(sequence(n, x), torch.tensor(0.1))[-1],
    "smallest": lambda n, x: sequence(n, x).min(dim=0)[0],
    "bend": lambda n, x: n.bend(F.leaky_relu(sequence(n, x), 0.3))[-1],
    "typed": lambda n, x: sequence(n, x).sum(0, dtype=torch.float32),
    "cut": lambda n, x: sequence(n, x).tensor_split((1, 3))[1][0],
    "through a matrix": lambda n, x: n.gru(n.square(x.transpose(0, 1)))[0][-1],
    "rows of all samples": lambda n, x: n.square(x.reshape(-1, WIDTH)).view(x.shape[0], -1),
    "rows of all places": lambda n, x: (
        n.square(x.transpose(0, 1).reshape(-1, WIDTH)).relu().view(LENGTH, -1, WIDTH)[-1]
    ),
    "heads": heads,
    "windows": windows,
    "a table of places": lambda n, x: (1 - n.places * sequence(n, x))[0],
    "a column of places": lambda n, x: torch.maximum(sequence(n, x), n.places[:, :, :1])[0],
    "a table with the batch last": lambda n, x: (x.permute(1, 2, 0) + n.places[:, :, :1])[0].t(),
    "the first rows": lambda n, x: sequence(n, x).reshape(-1, HIDDEN)[: x.shape[0]],
    "a softmax over places": lambda n, x: (2 * sequence(n, x)).softmax(0)[0],
    "a softmax inside": lambda n, x: n.gru(x.transpose(0, 1))[0][-1].t().softmax(0).t(),
}


@pytest.mark.parametrize("name", FORWARDS)
def test_the_graph_is_the_module_with_its_batch_first(name):
    net = network(FORWARDS[name])
    example = torch.randn(3, LENGTH, WIDTH)
    live = capture(net, (LENGTH, WIDTH), analog=True)
    for graph, tensors in (live[:2], translate(exported(net, example), example, True)[:2]):
        captured = Network(graph, tensors).eval()
        for batch in (1, 2, 7):
            x = torch.randn(batch, LENGTH, WIDTH)
            with torch.no_grad():
                torch.testing.assert_close(captured(x), net(x))


def test_tokens():
    net = network(lambda n, x: n.gru(n.table(x.long().t()))[0][-1])
    graph, tensors, _ = capture(net, (LENGTH,), analog=True, tokens=9)
    x = torch.randint(9, (7, LENGTH)).float()
    with torch.no_grad():
        torch.testing.assert_close(Network(graph, tensors).eval()(x), net(x))


def test_what_only_moves_the_batch_makes_no_node():
    net = network(lambda n, x: n.square(x.transpose(0, 1)).transpose(0, 1).flatten(1))
    assert ops(capture(net, (LENGTH, WIDTH))[0]) == ["linear", "reshape"]


@pytest.mark.parametrize(
    ("forward", "found"),
    [
        (lambda n, x: n.gru(x)[0].mean(1), "gru: a recurrence without batch_first=True"),
        (lambda n, x: n.first(x.transpose(0, 1))[0][:3, 0], "first: sequences whose batch is not"),
        (lambda n, x: sequence(n, x).mean(1)[:3], "mean: a mean over the batch"),
        (
            lambda n, x: sequence(n, x).reshape(-1, HIDDEN)[1 : len(x) + 1],
            "a reshape that mixes samples",
        ),
        (
            lambda n, x: sequence(n, x).reshape(-1, HIDDEN).mean(0) + x[:, 0, :1],
            "an axis that samples are on",
        ),
        (
            lambda n, x: n.more(sequence(n, x).reshape(1, -1, HIDDEN))[0][0, : len(x)],
            "sequences whose batch",
        ),
        (lambda n, x: F.max_pool1d(sequence(n, x), 2)[-1], "max_pool1d: it stands behind"),
        (
            lambda n, x: (x.transpose(0, 1)[:3] + x[:, :3])[0],
            "operands whose batch is not the same",
        ),
        (lambda n, x: (sequence(n, x) * n.samples)[0], "'samples', which differs from sample"),
        (lambda n, x: F.prelu(sequence(n, x), torch.rand(3))[0], "prelu: it stands behind"),
        (lambda n, x: state(n, x, "deep").mean(0), "all values of a call at once"),
    ],
)
def test_what_mixes_samples_is_refused(forward, found):
    with pytest.raises(UnsupportedError) as caught:
        capture(network(forward), (LENGTH, WIDTH), analog=True)
    assert found in caught.value.found


def test_logits_whose_batch_is_behind_are_refused():
    """As many classes as there are samples in the example: their shape does not tell."""
    net = Calls(lambda n, x: n.fc(x).t(), fc=nn.Linear(4, 3))
    with pytest.raises(UnsupportedError, match="output: not one tensor"):
        capture(net, (4,))
