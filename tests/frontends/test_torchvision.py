"""torchvision's networks: which can be imported, and which by what can't."""

import pytest
import torch
from helpers.nets import captured, ops, refused
from torch import nn
from torchvision.models import SwinTransformer, get_model

from snnconv.frontends.pt2.importer import import_exported
from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network

IMPORTED = {
    "alexnet": 64,
    "densenet121": 32,
    "googlenet": 32,
    "inception_v3": 96,
    "mnasnet0_5": 32,
    "mobilenet_v2": 32,
    "regnet_x_400mf": 32,
    "resnet18": 64,
    "resnext50_32x4d": 32,
    "shufflenet_v2_x0_5": 64,
    "squeezenet1_0": 64,
    "vgg11": 32,
    "vgg11_bn": 32,
}
REFUSED = {
    "convnext_tiny": {"layer_norm", "LayerNorm", "GELU"},
    "efficientnet_b0": {"SiLU", "Sigmoid", "mul"},
    "mobilenet_v3_small": {"Hardswish", "mul"},
    "regnet_y_400mf": {"Sigmoid", "mul"},
}
SLOW = {"alexnet", "inception_v3", "resnext50_32x4d", "vgg11", "vgg11_bn", "convnext_tiny"}


def networks(names):
    return [pytest.param(n, marks=pytest.mark.long if n in SLOW else ()) for n in sorted(names)]


def torchvision_network(name):
    extra = {"aux_logits": False, "init_weights": False}
    return get_model(
        name, weights=None, **extra if name in ("googlenet", "inception_v3") else {}
    ).eval()


@pytest.mark.parametrize("name", networks(IMPORTED))
def test_torchvision_networks_that_import(name):
    module, size = torchvision_network(name), IMPORTED[name]
    graph = captured(module, (3, size, size), batches=(2,))
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    assert ops(graph).count("batch_norm") == len(norms)
    assert graph.sites


@pytest.mark.parametrize("name", networks(REFUSED))
def test_torchvision_networks_that_do_not(name):
    error = refused(torchvision_network(name), (3, 64, 64))
    reasons = {each.found.rsplit(" ", 1)[1].strip("'") for each in error.obstacles}
    assert reasons == REFUSED[name]


@pytest.mark.parametrize("name", networks(REFUSED))
def test_all_of_them_import_where_functions_may_be_analog(name):
    module = torchvision_network(name)
    graph, tensors, _ = capture(module, (3, 64, 64), analog=True)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            Network(graph, tensors).eval()(x), module(x), rtol=1e-3, atol=1e-4
        )


def test_windows_that_share_the_axis_of_the_batch(tmp_path):
    """Swin, its windows shifted and not, as a module and as an exported program."""
    torch.manual_seed(0)
    depth = {"embed_dim": 8, "depths": [2, 1], "num_heads": [2, 2], "num_classes": 5}
    net = SwinTransformer(patch_size=[4, 4], window_size=[4, 4], **depth).eval()
    x, shape, file = torch.randn(4, 3, 32, 32), (3, 32, 32), tmp_path / "swin.pt2"
    batch = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(net, (x,), dynamic_shapes=batch), file)
    with torch.no_grad():
        for graph, tensors, *_ in (
            capture(net, shape, analog=True),
            import_exported(file, shape, True),
        ):
            torch.testing.assert_close(Network(graph, tensors).eval()(x), net(x))
