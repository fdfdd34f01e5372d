import pytest
import torch
from torch import nn

from snnconv.calibration.calibrate import describe, find_thresholds, site_tensors
from snnconv.calibration.collector import Collector
from snnconv.calibration.histogram import STATISTICS, Histogram
from snnconv.calibration.memory import CHANNEL_BITS, LAYER_BITS
from snnconv.errors import ExitCode, UnsupportedError
from snnconv.frontends.torch.capture import capture
from snnconv.graph.analysis import Analysis
from snnconv.graph.fold import fold
from snnconv.graph.network import Network

IMAGE = (1, 8, 8)

GRANULARITIES = ["layer", "channel"]


def small():
    """A network whose sums are exact in float32 in any order: weights are halves."""
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU6(),
        nn.Flatten(),
        nn.Linear(64, 6),
        nn.ReLU(),
        nn.Linear(6, 3),
    )
    for parameter in module.parameters():
        parameter.data = torch.randint(-2, 3, parameter.shape) / 2
    return module


def images(n):
    return torch.randint(0, 9, (n, *IMAGE)) / 4


def ready(module, granularity="layer"):
    graph, tensors = fold(*capture(module.eval(), IMAGE)[:2])
    return Network(graph, tensors).eval(), Collector(Analysis.of(graph, tensors), granularity)


def collected(module, batches, granularity="layer"):
    network, collector = ready(module, granularity)
    for x in batches:
        collector.collect(network, x)
    return network.graph, collector


def thresholds(graph, collector, name="max"):
    statistic = STATISTICS.load(name)
    return find_thresholds(graph, collector.histograms, statistic, statistic.params())


def activations(module, x):
    found, value = {}, x
    for name, part in module.named_children():
        value = part(value)
        if isinstance(part, nn.ReLU | nn.ReLU6):
            found[name] = value.detach()
    return found


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_max_is_the_largest_activation(granularity):
    module, x = small(), images(20)
    found = thresholds(*collected(module, [x], granularity))
    expected = activations(module, x)
    assert list(found) == ["1", "4", "7"]
    for name, values in expected.items():
        by_channel = values.movedim(1, 0).flatten(1).amax(1)
        if granularity == "layer":
            assert torch.equal(found[name], by_channel.amax()[None])
        else:
            assert torch.equal(found[name], torch.where(by_channel > 0, by_channel, values.max()))
        assert found[name].dtype == torch.float32


@pytest.mark.parametrize("name", STATISTICS.names())
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_neither_order_nor_batch_size_matter(name, granularity):
    module, x = small(), images(24)
    expected = thresholds(*collected(module, [x], granularity), name)
    shuffled = x[torch.randperm(24)].split([1, 1, 5, 10, 7])
    found = thresholds(*collected(module, shuffled, granularity), name)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[site], expected[site]) for site in found)


@pytest.mark.parametrize("name", STATISTICS.names())
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_thresholds_are_positive_and_finite(name, granularity):
    graph, collector = collected(small(), [images(20)], granularity)
    found = thresholds(graph, collector, name)
    channels = {"1": 4, "4": 4, "7": 6} if granularity == "channel" else dict.fromkeys("147", 1)
    assert {site: len(theta) for site, theta in found.items()} == channels
    assert all((theta.isfinite() & (theta > 0)).all() for theta in found.values())


def test_precision_follows_the_granularity():
    by_layer, by_channel = (collected(small(), [], g)[1].histograms["1"] for g in GRANULARITIES)
    for histogram, least in ((by_layer, LAYER_BITS), (by_channel, CHANNEL_BITS)):
        histogram.update(torch.tensor([[2.0**-20], [2.0]]).expand(2, len(histogram.zeros)))
        assert (histogram.bits == least).all()
    assert (by_layer.relative_error < 0.0005).all()
    assert (by_channel.relative_error < 0.008).all()


def test_a_channel_is_calibrated_as_a_layer_of_its_own():
    module, x = small(), images(10)
    _, collector = collected(module, [x], "channel")
    values = activations(module, x)["4"]
    for channel in range(4):
        histogram = collector.histograms["4"]
        assert histogram.zeros[channel] == (values[:, channel] == 0).sum()
        assert histogram.counts[channel].sum() == (values[:, channel] > 0).sum()


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("name", STATISTICS.names())
def test_dead_sites_are_named(granularity, name):
    module = small()
    for part in (module[3], module[6]):
        part.weight.data.zero_()
        part.bias.data.fill_(-1)
    with pytest.raises(UnsupportedError, match=r"2 site\(s\) can't be calibrated") as caught:
        thresholds(*collected(module, [images(5)], granularity), name)
    assert caught.value.code == ExitCode.UNSUPPORTED
    assert caught.value.found == "activations that are all zero at 4, 7"


@pytest.mark.parametrize("name", STATISTICS.names())
def test_a_dead_channel_takes_the_largest_threshold_of_its_site(name):
    module = small()
    module[0].weight.data[2], module[0].bias.data[2] = 0, -1
    theta = thresholds(*collected(module, [images(5)], "channel"), name)["1"]
    assert theta[2] == theta[[0, 1, 3]].max()


@pytest.mark.parametrize("name", STATISTICS.names())
def test_a_ceiling_caps_the_threshold(name):
    graph, collector = collected(small(), [])
    for histogram in collector.histograms.values():
        histogram.update(torch.full((10, 1), 9.0))
    found = thresholds(graph, collector, name)
    assert found["4"].tolist() == [6]
    assert found["1"].item() == pytest.approx(9, rel=0.05)


@pytest.mark.parametrize("bad", [float("nan"), -float("nan"), float("inf")])
@pytest.mark.parametrize(("part", "site"), [(0, "1"), (6, "7")])
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_activations_that_are_no_numbers_name_their_site(bad, part, site, granularity):
    network, collector = ready(small(), granularity)
    network.tensor(f"{part}.bias").data[1] = bad
    with pytest.raises(UnsupportedError, match=f"site '{site}' can't be calibrated") as caught:
        collector.collect(network, images(2))
    assert caught.value.code == ExitCode.UNSUPPORTED
    assert caught.value.found == "NaN or Inf among its activations"


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_what_is_said_of_a_site(granularity):
    module, x = small(), images(30)
    graph, collector = collected(module, [x], granularity)
    for name, theta in thresholds(graph, collector).items():
        values = activations(module, x)[name].double()
        info = describe(collector.histograms[name], theta)
        assert info.max == values.max()
        assert info.mean == pytest.approx(values.mean().item(), rel=0.01)
        assert info.zero_share == pytest.approx((values == 0).double().mean().item())
        assert info.clipped_share == 0
        assert info.threshold == pytest.approx(theta.mean().item())


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_what_is_clipped_is_said(granularity):
    module, x = small(), images(30)
    _, collector = collected(module, [x], granularity)
    values = activations(module, x)["7"]
    theta = torch.full((6 if granularity == "channel" else 1,), values.max().item() / 3)
    share = (values > theta[0]).double().mean().item()
    assert 0 < share < 1
    info = describe(collector.histograms["7"], theta)
    assert info.clipped_share == pytest.approx(share, abs=0.02)


def test_what_a_checkpoint_keeps_of_a_site():
    graph, collector = collected(small(), [images(10)])
    theta = thresholds(graph, collector)["4"]
    kept = site_tensors("4", collector.histograms["4"], theta)
    assert list(kept) == ["4/threshold", "4/edges", "4/counts"]
    assert torch.equal(kept["4/threshold"], theta)
    assert kept["4/counts"].sum() == collector.histograms["4"].counts.sum()
    assert len(kept["4/edges"]) == len(kept["4/counts"]) + 1


@pytest.mark.parametrize("name", STATISTICS.names())
def test_a_scale_multiplies_what_is_found_below_a_ceiling(name):
    graph, collector = collected(small(), [images(20)])
    statistic = STATISTICS.load(name)
    plain, less = (
        find_thresholds(graph, collector.histograms, statistic, statistic.params(scale=scale))
        for scale in (1, 0.5)
    )
    for site, theta in plain.items():
        expected = theta / 2 if theta.item() < 6 else less[site].clamp(max=6)
        torch.testing.assert_close(less[site], expected)
    more = find_thresholds(graph, collector.histograms, statistic, statistic.params(scale=4))
    assert more["4"] <= 6


def test_what_is_computed_of_a_histogram_does_not_depend_on_how_many_channels_are_at_once():
    """So that a wide layer takes no more memory beside its histogram than a narrow one."""
    histogram = Histogram(7, CHANNEL_BITS)
    histogram.update(torch.randn(300, 7).relu() * torch.logspace(-3, 3, 7))
    one, each = [list(histogram.parts(at_once)) for at_once in (2**22, 1)]
    assert (len(one), len(each)) == (1, 7)
    for name in ("counts", "rests", "extremes"):
        assert torch.equal(getattr(one[0], name), torch.cat([getattr(of, name) for of in each]))
    for of in ("bins", "mean", "totals"):
        found = [getattr(part, of)() for part in each]
        whole = getattr(histogram, of)()
        if of == "bins":
            found, whole = [bins.rows for bins in found], whole.rows
        assert torch.equal(whole, torch.cat(found))
    drawn = histogram.drawn(20)[1]
    assert drawn.sum() == histogram.counts.sum()
