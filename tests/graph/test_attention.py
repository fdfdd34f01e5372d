import pytest
import torch
import torch.nn.functional as F
from helpers.nets import Calls, ops
from torch import nn

from snnconv.errors import ObstaclesError
from snnconv.frontends.pt2.importer import import_exported
from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network
from snnconv.graph.remedies import ANALOG, FIXED_MASK, NO_PADDING

SHAPE = (6, 8)
CAUSAL = torch.ones(6, 6, dtype=torch.bool).tril()


def same(module, shape=SHAPE):
    """The graph, after a look at whether it gives what the module does."""
    torch.manual_seed(0)
    graph, tensors, _ = capture(module.eval(), shape, analog=True)
    x = torch.randn(5, *shape)
    with torch.no_grad():
        expected = module(x)
        torch.testing.assert_close(Network(graph, tensors)(x), expected, rtol=1e-4, atol=1e-5)
    return graph


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("weights", [True, False])
def test_the_module(heads, bias, first, weights):
    def forward(n, x):
        x = F.relu(x) if first else F.relu(x).transpose(0, 1)
        y = x + n.part(x, x, x, need_weights=weights)[0]
        return (y if first else y.transpose(0, 1)).mean(1)

    part = nn.MultiheadAttention(8, heads, bias=bias, batch_first=first, dropout=0.2)
    graph = same(Calls(forward, part=part))
    assert ops(graph).count("softmax") == 1
    assert "part.out_proj.weight" in graph.tensor_names()


@pytest.mark.parametrize("mask", [~CAUSAL, torch.zeros(6, 6).masked_fill(~CAUSAL, -torch.inf)])
def test_masks_of_the_module(mask):
    part = nn.MultiheadAttention(8, 2, batch_first=True)
    part.register_buffer("mask", mask)
    same(Calls(lambda n, x: n.part(x, x, x, attn_mask=n.part.mask)[0].flatten(1), part=part))


def test_weights_and_other_keys():
    part = nn.MultiheadAttention(8, 2, batch_first=True, kdim=4, vdim=2)

    def forward(n, x):
        found, weights = n.part(x, x[..., :4], x[..., 4:6])
        return torch.cat([found.flatten(1), weights.flatten(1)], 1)

    same(Calls(forward, part=part))


@pytest.mark.parametrize(
    "options", [{}, {"is_causal": True}, {"scale": 0.3}, {"attn_mask": CAUSAL}]
)
@pytest.mark.parametrize("file", [True, False])
def test_the_function(options, file, tmp_path):
    def forward(n, x):
        q, k, v = (n.fc(x) for _ in range(3))
        if "attn_mask" in options:
            return F.scaled_dot_product_attention(q, k, v, n.mask).flatten(1)
        return F.scaled_dot_product_attention(q, k, v, **options).flatten(1)

    module = Calls(forward, fc=nn.Linear(8, 8), mask=nn.Buffer(CAUSAL)).eval()
    if not file:
        same(module)
        return
    program = torch.export.export(module, (torch.randn(2, *SHAPE),))
    torch.export.save(program, tmp_path / "net.pt2")
    assert "softmax" in ops(import_exported(tmp_path / "net.pt2", SHAPE, analog=True).graph)


class Encoder(nn.Module):
    """PyTorch's own encoder, before a classifier."""

    def __init__(self, layers, first):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=first)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.first, self.out = first, nn.Linear(8, 3)

    def forward(self, x):
        y = self.encoder(x if self.first else x.transpose(0, 1))
        return self.out(y.mean(1 if self.first else 0))


def read(module, folder, batch):
    """The graph of its exported program, after a look at whether it gives what the module does."""
    torch.manual_seed(0)
    example = torch.randn(batch or 2, *SHAPE)
    dynamic = None if batch else ({0: torch.export.Dim("batch")},)
    program = torch.export.export(module.eval(), (example,), dynamic_shapes=dynamic)
    torch.export.save(program, folder / "net.pt2")
    graph, tensors, _ = import_exported(folder / "net.pt2", SHAPE, analog=True)
    x = torch.randn(5, *SHAPE)
    with torch.no_grad():
        expected = module(x)
        torch.testing.assert_close(Network(graph, tensors)(x), expected, rtol=1e-4, atol=1e-5)
    return graph


@pytest.mark.parametrize("batch", [None, 1, 3])
@pytest.mark.parametrize("weights", [True, False])
def test_the_module_in_an_exported_program(batch, weights, tmp_path):
    part = nn.MultiheadAttention(8, 4, batch_first=True)
    forward = lambda n, x: n.part(x, x, x, need_weights=weights)[0].relu().mean(1)  # noqa: E731
    graph = read(Calls(forward, part=part), tmp_path, batch)
    assert ops(graph).count("softmax") == 1
    assert "take" not in ops(graph)


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("mask", [~CAUSAL, torch.zeros(6, 6).masked_fill(~CAUSAL, -torch.inf)])
def test_masks_of_the_module_in_an_exported_program(mask, batch, tmp_path):
    def forward(n, x):
        return n.part(x, x, x, attn_mask=n.mask)[0].relu().flatten(1)

    part = nn.MultiheadAttention(8, 4, batch_first=True)
    graph = read(Calls(forward, part=part, mask=nn.Buffer(mask)), tmp_path, batch)
    assert ops(graph).count("softmax") == 1


@pytest.mark.parametrize("way", ["live", "file"])
@pytest.mark.parametrize("kind", ["module", "encoder"])
def test_a_mask_of_padding_is_named(kind, way, tmp_path):
    """Also within an encoder layer, of which a trace knows the name only."""

    def forward(n, x):
        away = x.abs().sum(2) < 1
        if kind == "module":
            return n.part(x, x, x, key_padding_mask=away)[0].relu().flatten(1)
        return n.part(x, src_key_padding_mask=away).flatten(1)

    if kind == "module":
        part = nn.MultiheadAttention(8, 4, batch_first=True)
    else:
        part = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    with pytest.raises(ObstaclesError) as caught:
        if way == "live":
            capture(Calls(forward, part=part), SHAPE, analog=True)
        else:
            read(Calls(forward, part=part), tmp_path, None)
    obstacle = caught.value.obstacles[0]
    assert "mask" in obstacle.found
    assert obstacle.remedy in (FIXED_MASK, NO_PADDING)


@pytest.mark.parametrize("first", [True, False])
def test_an_encoder_live_and_in_a_file(first, tmp_path):
    torch.manual_seed(0)
    module = Encoder(2, first).eval()
    live = same(module)
    assert len(live.sites) == ops(live).count("softmax") == 2
    assert ops(read(module, tmp_path, None)) == ops(live)


def refused(forward, analog=True, **parts):
    with pytest.raises(ObstaclesError) as caught:
        capture(Calls(forward, **parts), SHAPE, analog)
    return caught.value.obstacles


def test_without_analog_it_is_named_once_with_its_remedy():
    (found,) = refused(
        lambda n, x: n.part(x, x, x)[0].mean(1),
        analog=False,
        part=nn.MultiheadAttention(8, 2, batch_first=True),
    )
    assert (found.place, found.found) == ("part", "module MultiheadAttention")
    assert found.remedy == ANALOG


@pytest.mark.parametrize(
    ("options", "says"),
    [({"batch_first": False}, "batch_first=True"), ({"add_bias_kv": True}, "bias_k")],
)
def test_what_is_refused(options, says):
    part = nn.MultiheadAttention(8, 2, **{"batch_first": True, **options})
    found = refused(lambda n, x: n.part(x, x, x)[0].mean(1), part=part)
    assert any(says in obstacle.found for obstacle in found)
