import math

import pytest
import torch
from torch import nn

from snnconv.ann.zoo import ZOO
from snnconv.errors import UsageError
from snnconv.graph.build import shapes
from snnconv.graph.capture import capture

NAMES = [
    "cnn",
    "mlp",
    "resnet18",
    "resnet19",
    "resnet20",
    "resnet34",
    "vgg11",
    "vgg13",
    "vgg16",
]


def count(module, kind):
    return sum(isinstance(part, kind) for part in module.modules())


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def macs(module, shape):
    """One multiplication for each weight at each output position."""
    graph, tensors = capture(module, shape)
    sizes = shapes(graph, tensors)
    return sum(
        tensors[node.tensors["weight"]][0].numel() * math.prod(sizes[node.name])
        for node in graph.nodes
        if node.op in ("conv", "linear")
    )


def test_the_zoo_holds_these():
    assert sorted(ZOO) == NAMES


@pytest.mark.parametrize(
    ("name", "convolutions", "linears", "relus", "millions"),
    [
        ("mlp", 0, 3, 2, 0.41),  # 3072 * 128 + 128 * 128 + 128 * 10, and biases
        ("cnn", 3, 2, 4, 0.15),
        ("vgg11", 8, 2, 9, 9.49),
        ("vgg13", 10, 2, 11, 9.68),
        ("vgg16", 13, 2, 14, 14.99),
        ("resnet18", 20, 1, 17, 11.17),
        ("resnet34", 36, 1, 33, 21.28),
        ("resnet19", 19, 2, 18, 12.70),
        ("resnet20", 21, 1, 19, 0.27),
    ],
)
def test_the_papers_architectures(name, convolutions, linears, relus, millions):
    """Convolutions include the 1x1 ones of shortcuts: 3 in ResNet-18 and -34, 2 in the others."""
    module = ZOO[name](channels=3, size=32, classes=10)
    assert count(module, nn.Conv2d) == convolutions
    assert count(module, nn.Linear) == linears
    assert count(module, nn.ReLU) == relus
    assert count(module, nn.BatchNorm2d) == convolutions
    assert parameters(module) / 1e6 == pytest.approx(millions, abs=0.005)


def test_resnet20_costs_what_he_et_al_say():
    """40.8 million, 0.26 of them in the 1x1 shortcuts."""
    assert macs(ZOO["resnet20"](), (3, 32, 32)) == 40_813_184
    assert macs(ZOO["resnet20"](channels=1, size=28), (1, 28, 28)) == pytest.approx(31e6, rel=0.01)


def test_resnet19_is_the_wide_one():
    module = ZOO["resnet19"]()
    assert [m.out_channels for m in module.modules() if isinstance(m, nn.Conv2d)] == [
        *[128] * 7,
        *[256] * 7,  # with a shortcut
        *[512] * 5,
    ]
    linears = [m for m in module.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linears] == [(512, 256), (256, 10)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pool", ["avg", "max"])
@pytest.mark.parametrize(("channels", "size", "classes"), [(1, 28, 10), (3, 32, 100), (2, 8, 5)])
def test_any_input_and_number_of_classes(name, pool, channels, size, classes):
    module = ZOO[name](channels=channels, size=size, classes=classes, pool=pool, width=0.0625)
    with torch.no_grad():
        logits = module.eval()(torch.randn(2, channels, size, size))
    assert logits.shape == (2, classes)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", NAMES)
def test_pooling_is_what_was_asked_for(name):
    small = {"size": 32, "width": 0.0625}
    average, maximum = ZOO[name](pool="avg", **small), ZOO[name](pool="max", **small)
    assert count(average, nn.MaxPool2d) == count(maximum, nn.AvgPool2d) == 0
    expected = 1 if name.startswith("resnet") else count(average, nn.AvgPool2d)
    assert count(maximum, nn.MaxPool2d) == expected
    with pytest.raises(UsageError, match=r"pool=median(.|\n)*pool=avg or pool=max"):
        ZOO[name](pool="median", **small)


@pytest.mark.parametrize("name", NAMES)
def test_width_scales_every_hidden_layer(name):
    full, half = (ZOO[name](size=16, classes=7, width=width) for width in (0.25, 0.125))
    layers = (nn.Conv2d, nn.Linear)
    for a, b in zip(full.modules(), half.modules(), strict=True):
        if isinstance(a, layers):
            assert b.weight.shape[0] == (7 if a.weight.shape[0] == 7 else a.weight.shape[0] // 2)
    assert parameters(ZOO[name](size=16, width=1e-9)) > 0


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_gives_one_network(name):
    def made(seed):
        torch.manual_seed(seed)
        return ZOO[name](size=8, width=0.125).state_dict()

    first, again, other = made(3), made(3), made(4)
    assert first.keys() == again.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_dropout_of_a_vgg():
    assert [m.p for m in ZOO["vgg11"](dropout=0.3).modules() if isinstance(m, nn.Dropout)] == [0.3]
