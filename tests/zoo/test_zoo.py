import math

import pytest
import torch
from torch import nn

from snnconv.errors import UsageError
from snnconv.frontends.torch.capture import capture
from snnconv.graph.analysis import Analysis
from snnconv.graph.fold import fold
from snnconv.graph.network import Network, ann_inputs
from snnconv.neurons.if_ import IF, Params
from snnconv.simulation.network import SpikingNetwork
from snnconv.zoo import ZOO
from snnconv.zoo.resnet import SewBlock

NAMES = [
    "cnn",
    "m5",
    "mlp",
    "resnet18",
    "resnet19",
    "resnet20",
    "resnet34",
    "vgg11",
    "vgg13",
    "vgg16",
]


SIGNALS = ["m5"]
TEXTS = ["gru", "lstm"]
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
AVERAGES = (nn.AvgPool1d, nn.AvgPool2d)
MAXIMA = (nn.MaxPool1d, nn.MaxPool2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def shape(name, channels, size):
    """Of one sample."""
    return (channels, size) if name in SIGNALS else (channels, size, size)


def count(module, kind):
    return sum(isinstance(part, kind) for part in module.modules())


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def macs(module, shape):
    """One multiplication for each weight at each output position."""
    graph, tensors, _ = capture(module, shape)
    sizes = Analysis.of(graph, tensors).shapes
    return sum(
        tensors[node.tensors["weight"]][0].numel() * math.prod(sizes[node.name])
        for node in graph.nodes
        if node.op in ("conv", "linear")
    )


@pytest.mark.parametrize("join", ["add", "iand"])
def test_a_sew_block_of_zero_residual_is_the_identity(join):
    torch.manual_seed(0)
    block, x = SewBlock(4, 4, 1, join).eval(), torch.rand(2, 4, 6, 6)
    nn.init.zeros_(block.bn2.weight)
    assert torch.equal(block(x), x)
    assert not torch.equal(SewBlock(4, 4, 1, join).eval()(x), x)


def test_sums_of_spikes_pass_through_sew_blocks():
    """As spikes, a block of zero residual hands on what it was given, step by step."""
    net = ZOO["resnet20"](channels=1, size=8, classes=3, width=0.25, block="sew").eval()
    first = net.stages[0][0]
    nn.init.zeros_(first.bn2.weight)
    graph, tensors, _ = capture(net, (1, 8, 8))
    assert count(net, nn.ReLU) == len(graph.sites) == 1 + 2 * 9 + 2
    neurons = {site.name: IF(Params(), torch.ones(1)) for site in graph.sites}
    snn, seen = SpikingNetwork(Network(graph, tensors), neurons, 0, None).eval(), {}

    def observe(name, start, output):
        seen[name] = output.values

    with torch.no_grad():
        snn(torch.rand(1, 2, 1, 8, 8) * 3, 5, torch.arange(2), None, observe)
    sites = [site.name for site in graph.sites]
    assert seen[sites[0]].any()
    assert not seen[sites[2]].any()  # relu2 of the first block


def test_an_unknown_block():
    with pytest.raises(UsageError, match="no block of that name"):
        ZOO["resnet18"](block="bottleneck")


def test_vgg13_takes_images_of_64_places():
    """As the papers have it on ImageNet-200: five poolings leave maps of 2 x 2."""
    net = ZOO["vgg13"](size=64, classes=200, width=0.125).eval()
    assert net.classifier[1].in_features == 64 * 2 * 2
    assert net(torch.rand(1, 3, 64, 64)).shape == (1, 200)


def test_the_zoo_holds_these():
    assert sorted(ZOO) == sorted([*NAMES, *TEXTS])


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
        ("m5", 4, 1, 4, 0.56),
    ],
)
def test_the_papers_architectures(name, convolutions, linears, relus, millions):
    """Convolutions include the 1x1 ones of shortcuts: 3 in ResNet-18 and -34, 2 in the others."""
    given = {"channels": 1, "size": 8000} if name in SIGNALS else {"channels": 3, "size": 32}
    module = ZOO[name](classes=10, **given)
    assert count(module, CONVOLUTIONS) == convolutions
    assert count(module, nn.Linear) == linears
    assert count(module, nn.ReLU) == relus
    assert count(module, NORMS) == convolutions
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


def test_m5_is_the_papers():
    """Table 1 of Dai et al.: 32,000 samples are 2,000, 500, 125 and then 32 steps (here 31)."""
    module = ZOO["m5"](size=32_000)
    graph, tensors, _ = capture(module, (1, 32_000))
    sizes = Analysis.of(graph, tensors).shapes
    ops = [(node.op, *sizes[node.name]) for node in graph.nodes]
    assert [row for row in ops if row[0] in ("conv", "max_pool", "adaptive_avg_pool")] == [
        ("conv", 128, 8000),
        ("max_pool", 128, 2000),
        ("conv", 128, 2000),
        ("max_pool", 128, 500),
        ("conv", 256, 500),
        ("max_pool", 256, 125),
        ("conv", 512, 125),
        ("max_pool", 512, 31),
        ("adaptive_avg_pool", 512, 1),
    ]
    assert parameters(module) == 128 * (80 + 3 * 128 + 3 * 256) + 3 * 256 * 512 + 2 * 1024 + 5130
    assert module.features[0].kernel_size == (80,)


def test_m5_on_waveforms_of_any_length():
    for size in (4, 15, 16, 63, 255, 256, 1000, 8000, 16_001):
        module = ZOO["m5"](size=size, width=0.0625).eval()
        with torch.no_grad():
            assert module(torch.randn(2, 1, size)).shape == (2, 10), size


@pytest.mark.parametrize("pool", ["avg", "max"])
def test_m5_as_spikes_tends_to_m5(pool):
    module = ZOO["m5"](size=256, classes=4, width=0.0625, pool=pool).eval()
    for norm in (part for part in module.modules() if isinstance(part, NORMS)):
        nn.init.uniform_(norm.running_mean, -0.1, 0.1)
        nn.init.uniform_(norm.running_var, 0.5, 1.5)
    graph, tensors = fold(*capture(module, (1, 256))[:2])
    assert not {"batch_norm", "affine"} & {node.op for node in graph.nodes}
    network = Network(graph, tensors).eval()
    x = torch.randn(3, 1, 256)
    with torch.no_grad():
        wanted, inputs = ann_inputs(network, x)
        torch.testing.assert_close(wanted, module(x))
        torch.testing.assert_close(network(x), wanted)
        largest = {site.name: inputs[site.name].max().reshape(1) for site in graph.sites}
        neurons = {name: IF(Params(v0=0.5), theta) for name, theta in largest.items()}
        spiking = SpikingNetwork(network, neurons, seed=0, confidence=None).eval()
        errors = []
        for timesteps in (4, 32, 256):
            currents, _ = spiking(x[None], timesteps, torch.arange(3))
            errors.append(float((currents.mean(0) - wanted).norm() / wanted.norm()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.05


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pool", ["avg", "max"])
@pytest.mark.parametrize(("channels", "size", "classes"), [(1, 28, 10), (3, 32, 100), (2, 8, 5)])
def test_any_input_and_number_of_classes(name, pool, channels, size, classes):
    module = ZOO[name](channels=channels, size=size, classes=classes, pool=pool, width=0.0625)
    with torch.no_grad():
        logits = module.eval()(torch.randn(2, *shape(name, channels, size)))
    assert logits.shape == (2, classes)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", NAMES)
def test_pooling_is_what_was_asked_for(name):
    small = {"size": 32, "width": 0.0625}
    average, maximum = ZOO[name](pool="avg", **small), ZOO[name](pool="max", **small)
    assert count(average, MAXIMA) == count(maximum, AVERAGES) == 0
    expected = 1 if name.startswith("resnet") else count(average, AVERAGES)
    assert count(maximum, MAXIMA) == expected
    with pytest.raises(UsageError, match=r"pool=median(.|\n)*pool=avg or pool=max"):
        ZOO[name](pool="median", **small)


@pytest.mark.parametrize("name", NAMES)
def test_width_scales_every_hidden_layer(name):
    full, half = (ZOO[name](size=16, classes=7, width=width) for width in (0.25, 0.125))
    layers = (*CONVOLUTIONS, nn.Linear)
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


def linear(module):
    return [tuple(m.weight.shape) for m in module.modules() if isinstance(m, nn.Linear)]


def test_a_vgg_for_64_by_64():
    """The linear layers of LM-H's VGG-13 on ImageNet-200: 512*2*2, 4096, 4096, 200."""
    with torch.device("meta"):
        module = ZOO["vgg13"](size=64, classes=200, hidden=4096, linear=2, dropout=0.5)
    assert linear(module) == [(4096, 2048), (4096, 4096), (200, 4096)]
    assert linear(ZOO["vgg11"](size=8, width=0.125)) == [(64, 64), (10, 64)]
    with pytest.raises(UsageError, match="linear=0"):
        ZOO["vgg11"](linear=0)


def test_the_improved_resnet19():
    """LM-H's: no global average, no neurons between linear layers, blocks start as shortcuts."""
    with torch.device("meta"):
        assert linear(ZOO["resnet19"](head="wide")) == [(256, 512 * 16), (10, 256)]
    module = ZOO["resnet19"](size=10, width=0.05, head="wide").eval()
    assert linear(module) == [(13, 26), (10, 13)]  # 10, 5 and 3 places a side, pooled to 1
    assert module(torch.rand(2, 3, 10, 10)).shape == (2, 10)
    block, x = module.stages[0][1], torch.rand(2, 6, 5, 5)
    assert torch.equal(block(x), x)
    with pytest.raises(UsageError, match="no head of that name"):
        ZOO["resnet19"](head="tall")


# On texts


@pytest.mark.parametrize("name", TEXTS)
def test_three_layers_in_both_directions(name):
    """Of each layer and direction: rows for every gate from inputs and states, and two biases."""
    module = ZOO[name](tokens=100, classes=5, embedding=16, hidden=8)
    rows = (4 if name == "lstm" else 3) * 8
    recurrent = 2 * rows * (16 + 8 + 2) + 2 * 2 * rows * (16 + 8 + 2)
    assert parameters(module) == 100 * 16 + recurrent + (16 * 8 + 8) + (8 * 5 + 5)
    graph, tensors, _ = capture(module, (12,), analog=True, tokens=100)
    ops = [node.op for node in graph.nodes]
    assert ops == ["identity", "embedding", name, "mean", "linear", "relu", "linear"]
    assert Analysis.of(graph, tensors).shapes[graph.output] == (5,)


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_s_order_matters_and_gates_start_open(name):
    module = ZOO[name](tokens=9, width=0.25).eval()
    x = torch.tensor([[1.0, 2, 3, 4, 5, 0]])
    assert not module(x).allclose(module(x.flip(1)))
    forget = module.recurrent.bias_ih_l0[16:32]
    assert forget.eq(1 if name == "lstm" else 0).all()
    assert module.recurrent.bias_hh_l0.eq(0).all()
    for gate in module.recurrent.weight_hh_l2_reverse.split(16):
        torch.testing.assert_close(gate @ gate.T, torch.eye(16), atol=1e-5, rtol=0)
