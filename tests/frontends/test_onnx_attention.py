"""Attention in files of both exporters: heads, windows and words share an axis with the batch."""

import pytest
import torch
import torch.nn.functional as F
from helpers.nets import Calls
from helpers.onnx_models import exported
from torch import nn
from torchvision.models import SwinTransformer
from torchvision.models.swin_transformer import SwinTransformerBlockV2

from snnconv.frontends.onnx.importer import import_onnx
from snnconv.frontends.torch.capture import capture

LENGTH, WIDTH, TOKENS = 5, 8, 9
MASK = torch.ones(LENGTH, LENGTH).tril().bool()


def _encoder(n, x):
    return n.last(n.encoder(n.first(x)).mean(1))


def _masked(n, x):
    q, k, v = n.first(x).view(-1, LENGTH, 1, 2, 4).expand(-1, -1, 3, -1, -1).permute(2, 0, 3, 1, 4)
    return n.last(
        F.scaled_dot_product_attention(q, k, v, n.mask).transpose(1, 2).flatten(2).mean(1)
    )


def _network(forward, first):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 12, activation="gelu", batch_first=True)
    parts = {"encoder": nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)}
    parts |= {"last": nn.Linear(WIDTH, 3), "mask": nn.Buffer(MASK), "first": first}
    return Calls(forward, **parts).eval()


@pytest.mark.parametrize("batch", [1, None])
def test_self_attention(batch, tmp_path):
    net = _network(_encoder, nn.Linear(3, WIDTH))
    file = exported(net, (LENGTH, 3), tmp_path, False, 18, batch)
    found = import_onnx(file, (LENGTH, 3), analog=True)
    own = capture(net, (LENGTH, 3), True)
    assert _kinds(found) == _kinds(own)


def test_text(tmp_path):
    net = _network(_encoder, nn.Embedding(TOKENS, WIDTH))
    words = torch.randint(TOKENS, (2, LENGTH))
    file = exported(net, (LENGTH,), tmp_path, False, 18, x=words)
    assert _kinds(import_onnx(file, (LENGTH,), analog=True, tokens=TOKENS))["matmul"] == 2


def test_a_constant_mask(tmp_path):
    file = exported(_network(_masked, nn.Linear(3, WIDTH)), (LENGTH, 3), tmp_path, False, 18)
    assert _kinds(import_onnx(file, (LENGTH, 3), analog=True))["softmax"] == 1


@pytest.mark.parametrize(("dynamo", "block"), [(False, None), (True, SwinTransformerBlockV2)])
def test_windows(dynamo, block, tmp_path):
    """Swin and Swin v2: rolled windows, masks made of constants, tables of relative positions."""
    torch.manual_seed(0)
    size = {"embed_dim": 4, "depths": [2], "num_heads": [2], "num_classes": 3, "block": block}
    net = SwinTransformer(patch_size=[4, 4], window_size=[2, 2], **size).eval()
    file = exported(net, (3, 16, 16), tmp_path, dynamo, 18, 1)
    assert _kinds(import_onnx(file, (3, 16, 16), analog=True))["matmul"] == 4


def _kinds(found):
    """How many nodes of each operation that is no wiring there are."""
    ops = [node.op for node in found.graph.nodes]
    return {op: ops.count(op) for op in ("linear", "matmul", "softmax", "layer_norm", "pointwise")}
