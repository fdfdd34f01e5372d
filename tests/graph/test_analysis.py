from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.nets import Calls, randomised
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snnconv.frontends.torch.capture import capture
from snnconv.graph.analysis import Analysis
from snnconv.graph.fold import fold
from snnconv.graph.signals import Signal


def graph_of(module, shape=(2, 6, 6)):
    return fold(*capture(randomised(module), shape, analog=True)[:2])


def kinds_of(module, shape=(2, 6, 6)):
    graph, _ = graph_of(module, shape)
    signals = Analysis(graph, {}).signals
    return {node.name: str(signals[node.name]) for node in graph.nodes}


def in_order(module, shape=(2, 6, 6)):
    return list(kinds_of(module, shape).values())


def conv(inputs=2, outputs=2):
    return nn.Conv2d(inputs, outputs, 3, padding=1)


# What a node carries

CONST, SPIKES, CURRENT = Signal.CONSTANT, Signal.SPIKES, Signal.CURRENT


def test_a_chain():
    net = nn.Sequential(
        conv(), nn.ReLU(), nn.AvgPool2d(2), conv(), nn.ReLU(), nn.Flatten(), nn.Linear(18, 3)
    )
    assert in_order(net) == [CONST, SPIKES, SPIKES, CURRENT, SPIKES, SPIKES, CURRENT]


def test_what_stands_before_the_first_site_is_constant():
    net = nn.Sequential(nn.MaxPool2d(2), conv(), conv(), nn.ReLU(), nn.Flatten(), nn.Linear(18, 3))
    assert in_order(net) == [CONST, CONST, CONST, SPIKES, SPIKES, CURRENT]
    assert [node.op for node in Analysis(graph_of(net)[0], {}).emitters] == ["relu"]


def test_max_pooling_of_spikes_emits_spikes():
    net = nn.Sequential(conv(), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3))
    assert in_order(net) == [CONST, SPIKES, SPIKES, SPIKES, CURRENT]
    assert [node.op for node in Analysis(graph_of(net)[0], {}).emitters] == ["relu", "max_pool"]


def test_max_pooling_of_currents_emits_currents():
    net = nn.Sequential(
        conv(),
        nn.ReLU(),
        conv(),
        nn.MaxPool2d(2),
        conv(),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(18, 3),
    )
    assert in_order(net) == [CONST, SPIKES, CURRENT, CURRENT, CURRENT, SPIKES, SPIKES, CURRENT]
    assert [node.op for node in Analysis(graph_of(net)[0], {}).emitters] == ["relu", "relu"]


def test_layers_without_a_site_between_them_are_fed_by_currents():
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.ReLU(), nn.Linear(5, 4), nn.Linear(4, 3))
    assert in_order(net) == [CONST, CONST, SPIKES, CURRENT, CURRENT]


def test_batch_norm_that_cannot_be_folded_passes_spikes_on():
    net = nn.Sequential(conv(), nn.ReLU(), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 3))
    assert [node.op for node in graph_of(net)[0].nodes][2] == "affine"
    assert in_order(net) == [CONST, SPIKES, SPIKES, SPIKES, CURRENT]


# Where the mean over time is enough


def means(module, averaging=None):
    """By place in the graph: the sites that may give their mean, and what is computed once."""
    graph, _ = graph_of(module)
    places = {node.name: place for place, node in enumerate(graph.nodes)}
    sites = [site.name for site in graph.sites]
    analysis = Analysis(graph, {})
    means = analysis.mean_sites({sites[i] for i in (averaging or range(len(sites)))})
    once = analysis.time_invariant(means) & set(places)
    return sorted(places[name] for name in means), sorted(places[name] for name in once)


def test_before_neurons_that_average_the_mean_is_enough():
    net = nn.Sequential(conv(), nn.ReLU(), conv(), nn.ReLU(), conv(), nn.ReLU(), nn.Flatten())
    assert means(net) == ([1, 3], [0, 1, 2, 3, 4])
    assert means(net, [0, 2]) == ([3], [0, 3, 4])
    assert means(net, [0, 1]) == ([1], [0, 1, 2])


def test_logits_want_every_step():
    net = nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    assert means(net) == ([], [0])


def test_max_pooling_wants_every_step_and_average_pooling_does_not():
    def net(pool):
        return nn.Sequential(conv(), nn.ReLU(), pool, conv(), nn.ReLU(), nn.Flatten())

    assert means(net(nn.AvgPool2d(2))) == ([1], [0, 1, 2, 3])
    assert means(net(nn.MaxPool2d(2))) == ([], [0])


def test_one_reader_that_wants_every_step_is_enough():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = conv(), conv(), nn.Linear(72, 3)

        def forward(self, x):
            x = torch.relu(self.first(x))
            return self.last((torch.relu(self.second(x)) + x).flatten(1))

    assert means(Net()) == ([], [0])


def residual(shortcut, n=2):
    def forward(net, x):
        x = F.relu(net.stem(x))
        return net.out(F.relu(net.conv(x) + net.short(x)).flatten(1))

    return Calls(
        forward, stem=conv(2, n), conv=conv(n, n), short=shortcut, out=nn.Linear(36 * n, 3)
    )


@pytest.mark.parametrize("shortcut", [nn.Identity(), nn.Conv2d(2, 2, 1)])
def test_a_residual_sum_is_a_current(shortcut):
    graph, _ = graph_of(residual(shortcut))
    kinds = Analysis(graph, {}).signals
    assert [kinds[node.name] for node in graph.nodes if node.op == "add"] == [CURRENT]
    assert [kinds[node.name] for node in graph.sites] == [SPIKES, SPIKES]


def joined(*parts):
    def forward(net, x):
        x = net.stem(x)
        y = torch.cat([part(net, x) for part in parts], 1)
        return net.out(F.relu(net.mix(y)).flatten(1))

    stem, extra = nn.Sequential(conv(), nn.ReLU()), conv()
    return Calls(forward, stem=stem, extra=extra, mix=conv(4, 2), out=nn.Linear(72, 3))


def concat_of(module):
    graph, _ = graph_of(module)
    kinds = Analysis(graph, {}).signals
    return next(kinds[node.name] for node in graph.nodes if node.op == "concat")


def test_a_concatenation_carries_spikes_if_all_its_parts_do():
    spikes, currents = (lambda net, x: x), (lambda net, x: net.extra(x))
    assert concat_of(joined(spikes, spikes)) == SPIKES
    assert concat_of(joined(spikes, lambda net, x: F.relu(net.extra(x)))) == SPIKES
    assert concat_of(joined(spikes, currents)) == CURRENT


# What a spike costs, against loops


def places(sizes):
    return product(*map(range, sizes))


def conv_paths(size, weight, stride, padding, dilation, groups, cost=None):
    """For each input the synapses it drives, and the sizes of the output; ``cost`` weighs them."""
    outputs, each, *kernel = weight
    out = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    ]
    count = np.zeros((each * groups, *size))
    for o, c, place, tap in product(range(outputs), range(each), places(out), places(kernel)):
        at = tuple(
            a * s - p + k * d
            for a, s, p, k, d in zip(place, stride, padding, tap, dilation, strict=True)
        )
        if all(0 <= a < n for a, n in zip(at, size, strict=True)):
            channel = o // (outputs // groups) * each + c
            count[(channel, *at)] += 1 if cost is None else cost[(o, *place)]
    return count, out


def costs(module, shape):
    """Fan-out by source, in the graph's order."""
    graph, tensors = graph_of(module, shape)
    found = Analysis.of(graph, tensors).fan_out
    return [found[node.name].numpy() for node in Analysis(graph, {}).emitters]


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_fan_out_is_found_where_gradients_are_off(off):
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    analysis = Analysis.of(*graph_of(module, (3,)))
    with off():
        found = analysis.fan_out
    for here, there in zip(found.values(), costs(module, (3,)), strict=True):
        np.testing.assert_array_equal(here.numpy(), there)


@st.composite
def convolutions(draw):
    dims = draw(st.integers(1, 3))
    groups, each, per = draw(st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 2)))

    def numbers(low, high):
        return draw(st.tuples(*[st.integers(low, high)] * dims))

    kernel, stride, padding, dilation = numbers(1, 3), numbers(1, 3), numbers(0, 2), numbers(1, 2)
    # the smallest size that a kernel covers, and some more
    size = tuple(
        max(1, d * (k - 1) + 1 - 2 * p) + more
        for k, d, p, more in zip(kernel, dilation, padding, numbers(0, 3), strict=True)
    )
    return dims, groups * each, groups * per, groups, size, kernel, stride, padding, dilation


def first_relu_then(*layers):
    return nn.Sequential(nn.ReLU(), *layers)


@settings(max_examples=40, deadline=None)
@given(convolutions())
def test_a_convolution(drawn):
    dims, inputs, outputs, groups, size, kernel, stride, padding, dilation = drawn
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    layer = kind(inputs, outputs, kernel, stride, padding, dilation, groups)
    weight = (outputs, inputs // groups, *kernel)
    expected, out = conv_paths(size, weight, stride, padding, dilation, groups)
    net = first_relu_then(layer, nn.Flatten())
    (cost,) = costs(net, (inputs, *size))
    assert (cost == expected).all()
    graph, tensors = graph_of(net, (inputs, *size))
    (convention,) = Analysis.of(graph, tensors).macs.values()
    (without_padding,) = Analysis.of(graph, tensors).exact_macs.values()
    assert without_padding == expected.sum()
    assert convention == outputs * np.prod(out) * (inputs // groups) * np.prod(kernel)


def test_a_linear_layer_costs_its_outputs():
    (cost,) = costs(first_relu_then(nn.Linear(5, 7)), (5,))
    assert (cost == 7).all()


CONV = nn.Conv2d(2, 3, 3, padding=1, stride=2)


def windows_of(sizes, windows):
    """Adds to each input the cost of the windows that hold it."""

    def spread(cost):
        count = np.zeros((cost.shape[0], *sizes))
        for place in places(cost.shape[1:]):
            for at in places(sizes):
                if all(a in w(p) for a, w, p in zip(at, windows, place, strict=True)):
                    count[(slice(None), *at)] += cost[(slice(None), *place)]
        return count

    return spread


def after_conv(size):
    return conv_paths(size, (3, 2, 3, 3), (2, 2), (1, 1), (1, 1), 1)[0]


def test_average_pooling_before_a_synapse_is_part_of_it():
    def window(place):
        return range(place * 2 - 1, place * 2 + 2)

    spread = windows_of((7, 7), [window, window])
    (cost,) = costs(first_relu_then(nn.AvgPool2d(3, 2, 1), CONV, nn.Flatten()), (2, 7, 7))
    assert (cost == spread(after_conv((4, 4)))).all()


def test_overlapping_windows_of_adaptive_pooling():
    def window(place):  # three windows over seven: [0, 3), [2, 5), [4, 7)
        return range(place * 7 // 3, -(-(place + 1) * 7 // 3))

    spread = windows_of((7, 7), [window, window])
    (cost,) = costs(first_relu_then(nn.AdaptiveAvgPool2d(3), CONV, nn.Flatten()), (2, 7, 7))
    assert (cost == spread(after_conv((3, 3)))).all()
    assert cost[0, 2, 2] > cost[0, 1, 1]


def test_average_pooling_behind_a_synapse_adds_nothing():
    (cost,) = costs(first_relu_then(CONV, nn.AvgPool2d(2), nn.Flatten()), (2, 7, 7))
    assert (cost == after_conv((7, 7))).all()


@pytest.mark.parametrize("between", [nn.Identity(), nn.AdaptiveAvgPool2d(1)])
def test_flattened_into_a_linear_layer(between):
    size = 2 if isinstance(between, nn.AdaptiveAvgPool2d) else 2 * 9
    (cost,) = costs(first_relu_then(between, nn.Flatten(), nn.Linear(size, 5)), (2, 3, 3))
    assert (cost == 5).all()


def test_a_mean_over_places():
    net = Calls(lambda n, x: n.fc(F.relu(x).mean((2, 3))), fc=nn.Linear(2, 5))
    (cost,) = costs(net, (2, 3, 3))
    assert (cost == 5).all()


def inner(shape, outputs):
    return conv_paths(shape, (outputs, 2, 3, 3), (1, 1), (1, 1), (1, 1), 1)[0]


def test_an_identity_shortcut_costs_one():
    stem, last = costs(residual(nn.Identity()), (2, 6, 6))
    assert (stem == inner((6, 6), 2) + 1).all()
    assert (last == 3).all()


def test_a_shortcut_with_weights_costs_its_synapses():
    stem, _ = costs(residual(nn.Conv2d(2, 2, 1)), (2, 6, 6))
    assert (stem == inner((6, 6), 2) + 2).all()


def test_a_value_read_twice_costs_twice():
    (stem, _) = costs(joined(lambda net, x: x, lambda net, x: x), (2, 6, 6))
    assert (stem == 2 * inner((6, 6), 2)).all()


def test_max_pooling_takes_in_for_nothing_and_emits_for_its_synapses():
    net = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 5))
    site, pool = costs(net, (2, 6, 6))
    assert (site == 0).all()
    assert (pool == 5).all()


def test_a_spike_that_reaches_a_logit_costs_one():
    (cost,) = costs(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), (4,))
    assert (cost == 1).all()


def test_a_spike_that_joins_a_current_before_a_max_pooling_costs_nothing_there():
    def forward(net, x):
        x = F.relu(x)
        return net.out(net.pool(x + net.conv(x)).flatten(1))

    net = Calls(forward, conv=conv(), pool=nn.MaxPool2d(2), out=nn.Linear(18, 3))
    (cost,) = costs(net, (2, 6, 6))
    assert (cost == inner((6, 6), 2)).all()


def test_a_spike_that_a_pooling_and_a_synapse_read_costs_the_synapse():
    def forward(net, x):
        x = F.relu(x)
        return net.out(torch.cat([net.pool(x), net.conv(x)], 1).flatten(1))

    conv = nn.Conv2d(2, 2, 3, 2, 1)
    net = Calls(forward, conv=conv, pool=nn.MaxPool2d(2), out=nn.Linear(36, 3))
    site, _ = costs(net, (2, 6, 6))
    assert (site == conv_paths((6, 6), (2, 2, 3, 3), (2, 2), (1, 1), (1, 1), 1)[0]).all()


def test_a_spike_that_enters_a_function_costs_nothing_there():
    net = nn.Sequential(nn.ReLU(), nn.Sigmoid(), nn.Linear(4, 2))
    (cost,) = costs(net, (4,))
    assert (cost == 0).all()


def test_a_product_of_spikes_costs_nothing_and_their_synapses_do():
    net = Calls(
        lambda n, x: n.out(n.fc(F.relu(x)) * F.relu(-x)), fc=nn.Linear(4, 4), out=nn.Linear(4, 3)
    )
    site, other = costs(net, (4,))
    assert (site == 4).all()
    assert (other == 0).all()


def test_synapses_fed_by_currents_are_no_spikes_business():
    net = nn.Sequential(nn.ReLU(), nn.Linear(4, 3), nn.Linear(3, 2))
    (cost,) = costs(net, (4,))
    assert (cost == 3).all()


def test_a_transposed_convolution_costs_each_input_its_taps():
    net = nn.Sequential(
        conv(), nn.ReLU(), nn.ConvTranspose2d(2, 3, 3, 2, 1), nn.Flatten(), nn.Linear(363, 2)
    )
    graph, tensors = graph_of(net)
    (site,) = graph.sites
    reach = Analysis.of(graph, tensors).fan_out[site.name]
    # three output channels; a corner has 2 x 2 of the 3 x 3 taps inside, the middle all nine
    assert reach[0, 0, 0] == 3 * 4
    assert reach[0, 2, 2] == 3 * 9
    assert Analysis.of(graph, tensors).macs["2"] == 2 * 36 * 3 * 9
    assert Analysis.of(graph, tensors).exact_macs["2"] == int(reach.sum())
