"""Files of both of PyTorch's exporters: the same network as the module's own capture gives."""

import pytest
import torch
import torch.nn.functional as F
from helpers.nets import Calls
from helpers.onnx_models import exported, imported
from torch import nn

from snnconv.frontends.onnx.importer import import_onnx
from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network
from snnconv.neurons.if_ import IF, Params
from snnconv.simulation.network import SpikingNetwork
from snnconv.simulation.simulate import simulate


def _layers():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, stride=2, padding=2, dilation=2, groups=4),
        nn.ReLU6(),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(16, 5),
        nn.LogSoftmax(1),
    )


def _one_axis():
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, padding=1),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.AvgPool1d(2),
        nn.ConvTranspose1d(4, 3, 3, stride=2, padding=1, output_padding=1, groups=1),
        nn.ReLU(),
        nn.MaxPool1d(3, 2, 1),
        nn.Flatten(),
        nn.Linear(12, 4),
        nn.Softmax(1),
    )


def _three_axes():
    return nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1),
        nn.BatchNorm3d(4),
        nn.ReLU(),
        nn.MaxPool3d(2),
        nn.ConvTranspose3d(4, 2, 2, groups=2),
        nn.ReLU(),
        nn.AvgPool3d(2, 1),
        nn.Flatten(),
        nn.Linear(24, 4),
    )


def _moves(n, x):
    x = F.pad(n.conv(x).clamp(min=0), (1, 0, 2, -1))
    x = torch.cat([x[:, 1:3, :, ::2], x[..., :5]], dim=1)
    x = x.view(x.size(0), 2, 3, x.size(2), x.size(3)).transpose(1, 2).flatten(1, 2)
    a, b = x.split([2, 4], dim=1)
    x = F.interpolate(a, scale_factor=2.0) * 0.5 - 1 + F.interpolate(b[:, 2:], scale_factor=2)
    x = x.permute(0, 2, 3, 1).mean(dim=(1, 2)).unsqueeze(1).squeeze(1)
    return n.fc(F.relu(n.last(x)))


def _residual(n, x):
    x = F.relu(n.norm(n.conv(x)))
    x = F.relu(x + n.second(x))
    x = 2 - x / 4
    return n.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def _tokens(n, x):
    """A linear layer on the last axis of several: a product and a sum."""
    return n.out(F.relu(n.inner(x)).mean(1))


NETS = {
    "layers": (_layers, (2, 6, 6)),
    "one axis": (_one_axis, (2, 8)),
    "three axes": (_three_axes, (2, 4, 4, 6)),
    "moves": (
        lambda: Calls(_moves, conv=nn.Conv2d(2, 4, 3), last=nn.Linear(2, 5), fc=nn.Linear(5, 3)),
        (2, 10, 11),
    ),
    "residual": (
        lambda: Calls(
            _residual,
            conv=nn.Conv2d(2, 4, 3, padding=1),
            norm=nn.BatchNorm2d(4),
            second=nn.Conv2d(4, 4, 3, padding=1),
            fc=nn.Linear(4, 3),
        ),
        (2, 6, 6),
    ),
    "tokens": (lambda: Calls(_tokens, inner=nn.Linear(4, 6), out=nn.Linear(6, 3)), (5, 4)),
}


def network(name):
    """The module in evaluation mode, with statistics as after training."""
    make, shape = NETS[name]
    module = make()
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(part.running_mean, 0, 0.5)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.normal_(part.weight, 1, 0.3)
    return module.eval(), shape


def compared(module, shape, file):
    """The import, which has to give the logits that the module's capture gives."""
    found = import_onnx(file, shape)
    assert found.verdict.difference <= 1e-5
    ours, tensors, _ = capture(module, shape)
    for batch in (1, 5):
        x = 2 * torch.randn(batch, *shape)
        with torch.no_grad():
            got = Network(found.graph, found.tensors).eval()(x)
            torch.testing.assert_close(got, Network(ours, tensors).eval()(x), rtol=1e-4, atol=1e-5)
    assert len(found.graph.sites) == len(ours.sites)
    ceilings = [site.attrs["ceiling"] for site in found.graph.sites]
    assert ceilings == [site.attrs["ceiling"] for site in ours.sites]
    return found


@pytest.mark.parametrize(
    ("name", "opset"),
    [
        (name, opset)
        for name in NETS
        for opset in (9, 11, 13, 17, 20)
        if name != "moves" or opset >= 13  # the exporter itself can't write these slices before
    ],
)
def test_the_old_exporter(name, opset, tmp_path):
    module, shape = network(name)
    compared(module, shape, exported(module, shape, tmp_path, False, opset))


@pytest.mark.parametrize("name", NETS)
def test_the_new_exporter(name, tmp_path):
    module, shape = network(name)
    compared(module, shape, exported(module, shape, tmp_path, True, 18))


def test_the_new_exporter_at_a_newer_opset(tmp_path):
    module, shape = network("layers")
    compared(module, shape, exported(module, shape, tmp_path, True, 23))


def _excited(n, x):
    """Squeeze and excite, as mobilenets have it."""
    return (x * F.hardsigmoid(n.conv(F.adaptive_avg_pool2d(x, 1)))).flatten(1)


def _attention(n, x):
    scores = (n.q(x) @ n.k(x).transpose(1, 2) / 2).softmax(-1)
    return (scores @ n.v(x)).flatten(1)


FUNCTIONS = {
    "excited": (lambda: Calls(_excited, conv=nn.Conv2d(2, 2, 1)), (2, 6, 6)),
    "hardswish": (lambda: nn.Sequential(nn.Hardswish(), nn.Flatten()), (2, 6, 6)),
    "gelu": (lambda: nn.Sequential(nn.GELU(), nn.Flatten()), (2, 6, 6)),
    "gelu, tanh": (lambda: nn.Sequential(nn.GELU("tanh"), nn.Flatten()), (2, 6, 6)),
    "expanded": (
        lambda: Calls(lambda n, x: (x + x.mean(1, keepdim=True).expand(-1, 2, 6, 6)).flatten(1)),
        (2, 6, 6),
    ),
    "attention": (
        lambda: Calls(_attention, **{name: nn.Linear(4, 4) for name in "qkv"}),
        (5, 4),
    ),
}
"""What exporters write as several operators, or as one, by the opset."""


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("opset", [12, 17, 20])
def test_functions_by_the_old_exporter(name, opset, tmp_path):
    make, shape = FUNCTIONS[name]
    imported(exported(make().eval(), shape, tmp_path, False, opset), shape, analog=True)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_by_the_new_exporter(name, tmp_path):
    make, shape = FUNCTIONS[name]
    imported(exported(make().eval(), shape, tmp_path, True, 18), shape, analog=True)


@pytest.mark.parametrize("dynamo", [False, True])
def test_a_batch_that_is_fixed(dynamo, tmp_path):
    module, shape = network("moves")
    file = exported(module, shape, tmp_path, dynamo, 18, batch=1)
    compared(module, shape, file)
    imported(file, shape, batches=(1,))


def spikes(graph, tensors, x):
    """The logits over time, and every site's spikes in order."""
    neurons = {site.name: IF(Params(v0=0.5), torch.tensor([0.5])) for site in graph.sites}
    seen = []

    def observe(name, start, spikes):
        if name in neurons:
            seen.append(spikes.counts.clone())

    snn = SpikingNetwork(Network(graph, tensors).eval(), neurons, 0, None)
    logits = simulate(snn, x[None], torch.arange(len(x)), 8, 8, observe)
    return logits, seen


def rounded(module):
    """Weights of few bits: sums of them are exact in any order."""
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.copy_((tensor * 16).round() / 16)
    return module


@pytest.mark.parametrize("dynamo", [False, True])
def test_the_same_spikes(dynamo, tmp_path):
    module = nn.Sequential(
        *(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(4, 3)),
    )
    module, x = rounded(module), (torch.randn(3, 2, 6, 6) * 8).round() / 8
    found = import_onnx(exported(module, x.shape[1:], tmp_path, dynamo, 18), x.shape[1:])
    ours, theirs = (
        spikes(*capture(module, x.shape[1:])[:2], x),
        spikes(found.graph, found.tensors, x),
    )
    assert torch.equal(ours[0], theirs[0])
    assert len(ours[1]) == len(theirs[1]) == 2
    assert all(torch.equal(a, b) for a, b in zip(ours[1], theirs[1], strict=True))
    assert sum(s.sum() for s in ours[1]) > 0
