"""Networks that no trace can follow: all that a run of them shows is named at once."""

import pytest
import torch
import torch.nn.functional as F
from helpers.nets import Calls, fcs
from torch import nn

from snnconv.errors import ObstaclesError, UnsupportedError
from snnconv.frontends.torch.capture import capture
from snnconv.graph.remedies import ANALOG, IN_OTHER_WORDS


class Gate(nn.Module):
    """Goes on as its input says."""

    def __init__(self):
        super().__init__()
        self.act = nn.Sigmoid()

    def forward(self, x):
        if x.sum() > 0:
            x = self.act(x)
        return x.cumprod(1)


def several(n, x):
    h = F.gelu(n.fc(x))
    if h.abs().max() > 1e-3:
        h = h / float(h.max())
    h = n.gate(torch.sort(h)[0]) + torch.zeros_like(h)
    return n.out(h + h.T.T * len(h))


def named(module, analog=False):
    with pytest.raises(ObstaclesError) as caught:
        capture(module, (4,), analog)
    return [(one.place, one.found, one.remedy) for one in caught.value.obstacles]


def test_all_that_a_run_shows_is_named():
    torch.manual_seed(0)
    module = Calls(several, gate=Gate(), **fcs(4)).eval()
    module.fc.weight.data.abs_()
    found = named(module)
    places = [(place, text.partition(" (")[0]) for place, text, _ in found]
    assert places == [
        ("gelu", "function 'gelu'"),
        ("forward", "a number out of data"),
        ("forward", "a number out of data"),
        ("sort", "function 'sort'"),
        ("gate", "a number out of data"),
        ("gate.act", "module Sigmoid"),
        ("gate.cumprod", "function 'cumprod'"),
    ]
    lines = [text.rpartition(": ")[2] for _, text, _ in found]
    assert lines[1:3] == ["if h.abs().max() > 1e-3:)", "h = h / float(h.max()))"]
    assert lines[4] == "if x.sum() > 0:)"
    assert "test_watch.py, line" in found[4][1]
    remedies = {place: remedy for place, _, remedy in found}
    assert remedies["gelu"] == remedies["gate.act"] == ANALOG
    assert remedies["sort"] == IN_OTHER_WORDS
    assert not [
        place for place, _, _ in named(module, analog=True) if place in ("gelu", "gate.act")
    ]


def test_one_line_is_one_error():
    def forward(n, x):
        return n.out(x) if n.fc(x).sum() > 0 else n.fc(x)

    with pytest.raises(UnsupportedError, match="Calls can't be traced") as caught:
        capture(Calls(forward, **fcs(4)), (4,))
    assert "forward" not in caught.value.problem
    assert "return n.out(x) if" in caught.value.found


def test_what_has_a_lowering_and_what_is_the_networks_own_is_none():
    """Modules are judged as they are, not by the functions that they call."""

    def forward(n, x):
        h = n.lstm(n.norm(x[:, None].reshape(-1, 1, 4)))[0]
        h = n.attention(h, h, h)[0].mean(1) + x.add(1).mul(2) - 1 + (2 - x) * 3
        h = torch.where(h > 0, h, 0 * h).masked_fill(h < 0, 0.0) @ n.fc.weight.sort()[0]
        if x.sum() > 0:
            h = h.clamp(0, 1)
        assert torch.is_grad_enabled() or bool(n.fc.bias.sum() > -100)
        return n.out(h) if h.amax() > 0 else h

    parts = {
        "lstm": nn.LSTM(4, 4, batch_first=True),
        "attention": nn.MultiheadAttention(4, 2, batch_first=True),
        "norm": nn.LayerNorm(4),
    }
    found = named(Calls(forward, **parts, **fcs(4)), analog=True)
    assert [text.partition(" (")[0] for _, text, _ in found] == ["a number out of data"] * 2
    some = {place for place, _, _ in named(Calls(forward, **parts, **fcs(4)))}
    assert {"lstm", "attention", "norm"} <= some


def test_nothing_is_left_at_the_modules():
    module = Calls(several, gate=Gate(), **fcs(4)).eval()
    with pytest.raises(UnsupportedError):
        capture(module, (4,))
    for part in module.modules():
        assert not part._forward_hooks
        assert not part._forward_pre_hooks


def test_a_network_that_does_not_run_twice_keeps_its_first_error():
    runs = []

    def forward(n, x):
        if isinstance(x, torch.Tensor) and x.sum() > -1e9:
            runs.append(x)
        if len(runs) > 1:
            raise RuntimeError("once is enough")
        return n.out(x) if n.fc(x).sum() > 0 else n.fc(x)

    with pytest.raises(UnsupportedError, match="can't be traced"):
        capture(Calls(forward, **fcs(4)), (4,))
