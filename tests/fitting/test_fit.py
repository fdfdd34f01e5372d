"""What fits a chip: every rule on networks that are counted by hand."""

import pytest
from helpers.exports import Residual
from helpers.networks import IMAGE, checkpoint
from torch import nn

from snnconv.fitting.demand import demand
from snnconv.fitting.mapping import mapped, needed
from snnconv.fitting.rules import misfits
from snnconv.fitting.target import Target
from snnconv.simulation.build import spiking_network

PLAIN = (2, 8, 8)


def target(**figures):
    """A chip with these figures."""
    known = {name: {"value": value, "source": "page"} for name, value in figures.items()}
    return Target(title="A chip", sources={"page": "https://example.org"}, **known)


def plain(pool=None, kernel=3, stride=1, padding=1, channels=4):
    """Conv 2 to 4 on 8 x 8, pooling, conv 4 to 6, and a matrix of 10."""
    middle = pool or nn.AvgPool2d(2)
    return nn.Sequential(
        nn.Conv2d(2, channels, kernel, stride, padding),
        nn.ReLU(),
        middle,
        nn.Conv2d(channels, 6, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(10),
    )


def asked(module=None, shape=PLAIN, neuron="if", **params):
    """What a network asks for."""
    module = module or plain()
    if any(isinstance(each, nn.LazyLinear) for each in module.modules()):
        import torch

        module(torch.zeros(1, *shape))
    made = checkpoint(module.eval(), neuron=neuron, params=params, timesteps=4, shape=shape)
    return demand(spiking_network(made, engine="dense").eval(), neuron)


def test_what_a_network_asks_for_is_counted():
    found = asked()
    assert [layer.name for layer in found.layers] == ["1", "4", "output"]
    assert [layer.neurons for layer in found.layers] == [256, 96, 10]
    assert [layer.weights for layer in found.layers] == [2 * 4 * 9, 4 * 6 * 9, 96 * 10]
    # each neuron of a convolution has a synapse for each tap
    assert [s.synapses for layer in found.layers for s in layer.synapses] == [
        256 * 18,
        96 * 36,
        960,
    ]
    assert [layer.sources for layer in found.layers] == [{"input"}, {"1"}, {"4"}]
    assert [pool.kind for pool in found.layers[1].synapses[0].pools] == ["sum"]
    assert found.layers[2].synapses[0].given == (6, 4, 4)  # the map before it is a row


def test_a_shortcut_is_a_second_input_of_a_layer():
    found = {layer.name: layer for layer in asked(Residual(), (2, 6, 6)).layers}
    assert [s.kind for s in found["relu2"].synapses] == ["conv", "identity"]
    assert found["relu2"].sources == {"relu0", "relu1"}
    assert [s.node for s in found["relu3"].synapses] == ["conv3", "shortcut"]
    assert found["relu2"].synapses[0].fan_in == 2 * 9  # of two groups


MAX = nn.MaxPool2d(2)
BROKEN = {
    "neuron": ({"neuron_models": ["if"]}, {"neuron": "msat"}, [("neurons", "neuron_models")]),
    "any neuron": ({"neuron_models": ["any"]}, {"neuron": "msat"}, []),
    "signed": (
        {"signed_spikes": False},
        {"neuron": "signed"},
        [("1", "signed_spikes"), ("4", "signed_spikes")],
    ),
    "graded": (
        {"graded_spikes": False, "spike_bits": 2},  # 3 levels and a sign are 3 bits
        {"neuron": "signed", "spikes": 3},
        [(name, rule) for name in "14" for rule in ("graded_spikes", "spike_bits")],
    ),
    "bits enough": ({"spike_bits": 3}, {"neuron": "signed", "spikes": 3}, []),
    "input": ({"real_input": False}, {}, [("input", "real_input")]),
    "neurons": ({"neurons": 351}, {}, [("network", "neurons")]),  # 256 + 96
    "neurons fit": ({"neurons": 352}, {}, []),
    "synapses": ({"synapses": 9023}, {}, [("network", "synapses")]),  # 4608 + 3456 + 960
    "synapses fit": ({"synapses": 9024}, {}, []),
    "bytes": ({"memory_bytes": 623, "weight_bits": 4}, {}, [("network", "memory_bytes")]),
    "bytes fit": ({"memory_bytes": 624, "weight_bits": 4}, {}, []),  # 1248 weights
    "first bytes": (
        {"memory_bytes": 624, "weight_bits": 4, "first_weight_bits": 8},
        {},
        [("network", "memory_bytes")],
    ),
    "side": ({"output_side": 7}, {}, [("1", "output_side")]),
    "read side": ({"input_side": 7}, {}, [("0", "input_side")]),
    "channels": ({"channels": 5}, {}, [("4", "channels"), ("output", "channels")]),
    "fan-in": ({"fan_in": 36}, {}, [("6", "fan_in")]),  # 96 of the matrix
    "fan-out": ({"fan_out": 1}, {"module": Residual(), "shape": IMAGE}, [("relu0", "fan_out")]),
    "matrix": ({"dense_inputs": 95}, {}, [("6", "dense_inputs")]),
    "kernel": ({"kernels": [1, 5]}, {}, [("0", "kernels"), ("3", "kernels")]),
    "first kernel": ({"kernels": [1], "first_kernels": [3]}, {}, [("3", "kernels")]),
    "matrix as kernel": (
        {"kernels": [3], "dense_as_convolution": True},
        {},
        [("6", "kernels")],  # 4 x 4, the whole map
    ),
    "stride": ({"strides": [2]}, {}, [("0", "strides"), ("3", "strides")]),
    "padding": ({"paddings": [0]}, {}, [("0", "paddings"), ("3", "paddings")]),
    "same": ({"same_padding": True}, {"module": plain(padding=0)}, []),  # the first is free
    "one axis": (
        {"square_kernels": True},
        {"module": nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3))}
        | {"shape": (1, 8)},
        [("0", "square_kernels")],  # 1 x 3
    ),
    "strided": (
        {"strided_kernels": [3]},
        {
            "module": nn.Sequential(
                nn.Conv2d(2, 2, 1),
                nn.ReLU(),
                nn.Conv2d(2, 2, 5, 2, 2),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(32, 3),
            )
        },
        [("2", "strided_kernels")],
    ),
    "first of all": (
        {"first_channels": [1, 3], "first_sides": [9, 20], "first_filters": [[2, 3, 3]]},
        {},
        [("input", "first_channels"), ("input", "first_sides"), ("0", "first_filters")],
    ),
    "max": ({"pools": ["sum"]}, {"module": plain(MAX)}, [("2", "pools")]),
    "average": ({"pools": ["max"]}, {}, [("2", "pools")]),
    "window": ({"pools": ["sum"], "pool_sizes": [4]}, {}, [("2", "pool_sizes")]),
    "overlap": (
        {"pools": ["sum"], "pool_sizes": [2]},
        {"module": plain(nn.AvgPool2d(2, 1))},
        [("2", "pool_sizes")],
    ),
    "global": (
        {"pools": ["global-average"], "global_average_side": 7},
        {"module": plain(nn.AdaptiveAvgPool2d(1))},
        [("2", "global_average_side")],
    ),
    "global as a sum": (
        {"pools": ["sum"], "pool_sizes": [1, 2, 4]},
        {"module": plain(nn.AdaptiveAvgPool2d(1))},
        [("2", "pool_sizes")],
    ),
    "shortcut": (
        {"one_convolution": True},
        {"module": Residual(), "shape": (2, 6, 6)},
        [("relu2", "one_convolution"), ("relu3", "one_convolution")],
    ),
    "function": (
        {},
        {"module": nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 2))}
        | {"shape": (4,)},
        [("2", "operations")],
    ),
    "nothing is known": ({}, {}, []),
}


@pytest.mark.parametrize("case", BROKEN)
def test_each_rule(case):
    figures, network, wanted = BROKEN[case]
    found = misfits(target(**figures), asked(**network))
    assert [(each.place, each.rule) for each in found] == wanted
    assert all(each.found and each.allowed and each.remedy for each in found)


def test_memories_of_powers_of_two():
    """As sinabs counts: c 2^(ceil(log2 kx ky) + ceil(log2 f)), f 2^(ceil(log2 fx) + ...)."""
    chip = target(powers_of_two=True, dense_as_convolution=True)
    first, second, output = asked().layers
    assert needed(chip, first) == {
        "weight_memory": 2 * 16 * 4,
        "neuron_memory": 4 * 64,
        "bias_memory": 4,
    }
    assert needed(chip, second)["weight_memory"] == 4 * 16 * 8
    assert needed(chip, output) == {
        "weight_memory": 6 * 16 * 16,
        "neuron_memory": 10,
        "bias_memory": 10,
    }
    assert needed(target(), second)["weight_memory"] == 216


def test_a_layer_takes_the_smallest_core_with_room():
    """The matrix of 960 weights has one core with room, so it comes first."""
    memories = {"weight_memory": [100, 1000, 300], "neuron_memory": [300, 300, 100]}
    chip = target(cores=3, one_layer_per_core=True, **memories)
    found = mapped(chip, asked())
    assert found.cores == {"1": [0], "4": [2], "output": [1]}
    assert found.used[2] == {"weight_memory": 216, "neuron_memory": 96, "bias_memory": 6}
    assert not found.misfits
    assert "greedily" in found.how


def test_what_has_no_place_is_named():
    small = {"weight_memory": [100, 960], "neuron_memory": [300, 90]}
    chip = target(cores=2, one_layer_per_core=True, **small)
    found = mapped(chip, asked())
    assert [(each.place, each.rule) for each in found.misfits] == [
        ("network", "cores"),
        ("4", "weight_memory"),  # 216 weights and 96 neurons: no core has room for both
        ("4", "neuron_memory"),
    ]
    assert found.cores == {"1": [0], "output": [1]}
    tiny = target(cores=2, one_layer_per_core=True, weight_memory=[10, 80], neuron_memory=[999] * 2)
    places = [(each.place, each.rule) for each in mapped(tiny, asked()).misfits]
    assert ("output", "weight_memory") in places


def test_cores_share_a_layer():
    found = mapped(target(cores=3, neurons_per_core=200, synapses_per_core=500), asked())
    assert found.cores == {"1": [0, 1], "4": [2], "output": [3, 4]}
    assert found.used[0] == {"neurons": 128, "weights": 36}
    assert [each.rule for each in found.misfits] == ["cores"]
    assert mapped(target(cores=3), asked()).how == ""  # nobody says what a core holds
