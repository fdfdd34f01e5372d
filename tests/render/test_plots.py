"""Scales, ticks, histograms, lines: the arithmetic under the plots."""

import math
from xml.etree import ElementTree

import pytest
from helpers.pages import box, coordinates, labels, shown
from hypothesis import given
from hypothesis import strategies as st

from snnconv.render.svg.elements import coordinate, fit, fit_all, tag, text_width
from snnconv.render.svg.histogram import BINS, Panel, histogram_plot, power, rebin
from snnconv.render.svg.plot import Axis, Frame, Rule, Series, line_plot, thin
from snnconv.render.svg.scale import Scale, linear, linear_ticks, log, nice_step
from snnconv.render.svg.small import Cloud, Picture, pictures_plot, scatter_plot
from snnconv.render.svg.styles import MARKERS, Style, marker, run_style

finite = st.floats(-1e12, 1e12).map(lambda v: float(f"{v:.9g}"))


@pytest.mark.parametrize(
    ("span", "count", "step"),
    [(1, 5, 0.2), (100, 5, 20), (100, 4, 25), (0.3, 3, 0.1), (7, 5, 2), (1e-7, 5, 2e-8)],
)
def test_steps_are_round(span, count, step):
    assert nice_step(span, count) == pytest.approx(step)


def test_linear_ticks_are_exact():
    assert [f"{t:.10g}" for t in linear_ticks(0, 0.3, 3)] == ["0", "0.1", "0.2", "0.3"]


@given(st.lists(finite, min_size=1, max_size=5))
def test_linear_scales_hold_their_values(values):
    scale = linear(values)
    assert scale.lo < scale.hi
    assert all(-1e-9 <= scale.at(v) <= 1 + 1e-9 for v in values)
    ticks = scale.ticks(5)
    assert 2 <= len(ticks) <= 13
    assert ticks == sorted(set(ticks))


@given(st.lists(st.floats(1e-9, 1e15), min_size=1, max_size=5))
def test_logarithmic_scales_hold_their_values(values):
    scale = log("log10", values)
    assert all(-1e-6 <= scale.at(v) <= 1 + 1e-6 for v in values)
    ticks = scale.ticks(6)
    assert 1 <= len(ticks) <= 12
    assert all(-1e-6 <= scale.at(t) <= 1 + 1e-6 for t in ticks)


@pytest.mark.parametrize(
    ("T", "ticks"),
    [
        (1, [1]),
        (2, [1, 2]),
        (3, [1, 2, 3]),
        (32, [1, 2, 4, 8, 16, 32]),
        (112, [1, 2, 4, 8, 16, 32, 64, 112]),
        (70, [1, 2, 4, 8, 16, 32, 64]),
    ],
)
def test_steps_are_ticked_at_powers_of_two_and_at_T(T, ticks):
    assert log("log2", [1, T]).ticks(12) == ticks


def test_crowded_powers_of_two_keep_T():
    assert log("log2", [1, 4096]).ticks(7) == [1, 4, 16, 64, 256, 1024, 4096]


def test_a_scale_without_values_is_still_a_scale():
    assert (linear([]).lo, linear([]).hi) == (0, 1)
    assert log("log10", [0.0, -1.0]).lo < log("log10", []).hi
    assert linear([100.0], hi=100.0) == Scale("linear", 90.0, 100.0)
    assert linear([0.0], lo=0.0) == Scale("linear", 0.0, 1.0)


def test_coordinates_refuse_what_is_not_finite():
    assert [coordinate(v) for v in (1.0, 1.25, -0.01)] == ["1", "1.2", "0"]
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="finite"):
            coordinate(value)


def test_attributes_are_escaped():
    assert tag("a", class_='"<&>') == '<a class="&quot;&lt;&amp;&gt;"/>'


@given(st.text(max_size=60), st.floats(30, 300))
def test_fitted_text_fits(text, width):
    assert text_width(fit(text, width)) <= max(width, text_width(f"{text[:1]}\u2026"))


def test_fitted_text_keeps_both_ends():
    assert fit("layer1.block2.conv3.relu", 90) == "layer1.\u2026v3.relu"


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (
            ["features.10.block.act", "features.11.block.act"],
            ["features.10\u2026", "features.11\u2026"],
        ),
        (["a.long.path.to.one", "a.long.path.to.two"], ["\u2026one", "\u2026two"]),
        (["one", "two"], ["one", "two"]),
        (["same.name.of.two.layers"] * 2, ["same.n\u2026layers"] * 2),
        (["a run of a cnn, if", "a run of a cnn, msat", "ANN"], ["\u2026if", "\u2026msat", "ANN"]),
    ],
)
def test_what_all_names_share_goes_first(names, short):
    assert fit_all(names, 90) == short


def test_thinning_keeps_extremes():
    frame = Frame(0, 0, 10, 100, Scale("linear", 0, 1000), Scale("linear", 0, 1))
    points = [(float(t), 0.5 if t != 333 else 1.0) for t in range(1000)]
    thinned = thin(points, frame)
    assert len(thinned) <= 4 * 11
    assert min(y for _, y in thinned) == 0


def test_looks_differ_in_more_than_colour():
    styles = [run_style(i) for i in range(16)]
    assert len(set(styles)) == 16
    assert len({(style.dash, style.marker) for style in styles[:8]}) == 8


@pytest.mark.parametrize("shape", [*MARKERS, "star", ""])
def test_every_marker_draws(shape):
    drawn = ElementTree.fromstring(f"<svg>{marker(Style('s0', marker=shape), 5, 5)}</svg>")
    assert coordinates(drawn)


def test_a_line_plot_says_what_its_points_are():
    axis = Axis("t", log("log2", [1, 4]), exact=lambda t: f"t = {t:.0f}")
    series = Series("a & b", ((1, 10), (2, 20), (4, 40)), run_style(0), frozenset({1.0, 4.0}))
    y = Axis("y (%)", linear([10, 40]))
    drawn = line_plot("p", "T", "D", axis, y, [series], 352, [Rule("ANN", 30, run_style(1))])
    svg = ElementTree.fromstring(drawn)
    hovers = [title.text for title in svg.iter("title")]
    assert hovers == ["T", "ANN", "a & b", "a & b: t = 1, 10.0", "a & b: t = 4, 40.0"]
    assert [shown(text) for text in labels(svg, "legend")] == ["a & b", "ANN"]
    assert [shown(text) for text in labels(svg, "axis-label")] == ["y (%)", "t"]


def test_a_line_leaves_the_frame_only_by_its_clip():
    y = Axis("y", Scale("linear", -3, 0))
    x = Axis("t", log("log2", [1, 4]))
    series = Series("s", ((1, -90), (4, 0)), run_style(0))
    drawn = line_plot("p", "T", "D", x, y, [series], 592)
    svg = ElementTree.fromstring(drawn)
    (line,) = [path for path in svg.iter("path") if path.get("class") == "s0 line"]
    assert line.get("clip-path") == "url(#p-clip)"
    assert 'id="p-clip"' in drawn


def test_markers_on_the_edge_are_whole_and_those_beyond_it_are_not_there():
    y, x = Axis("y", Scale("linear", -3, 0)), Axis("t", log("log2", [1, 4]))
    points = ((1.0, -90.0), (2.0, -3.0), (3.0, 0.0), (4.0, 0.1))
    drawn = line_plot("p", "T", "D", x, y, [Series("s", points, run_style(0))], 592)
    found = [e for e in ElementTree.fromstring(drawn).iter("circle") if e.find("title") is not None]
    assert [e.find("title").text for e in found] == ["s: 2.00, -3.00", "s: 3.00, 0"]
    assert not any(e.get("clip-path") for e in found)


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=300),
    st.floats(0.1, 50),
)
def test_rebinning_keeps_every_count(counts, top):
    edges = [top * i / len(counts) for i in range(len(counts) + 1)]
    assert sum(rebin(edges, counts, top)) == pytest.approx(sum(counts), rel=1e-6, abs=1e-6)


def test_rebinning_cuts_at_the_end():
    assert sum(rebin([0, 1, 2], [10, 10], 1.0)) == pytest.approx(10)
    assert len(rebin([0, 1, 2], [10, 10], 1.0)) == BINS


def test_powers_of_ten_have_short_names():
    assert [power(k) for k in range(8)] == ["1", "10", "100", "1k", "10k", "100k", "1M", "10M"]


@pytest.mark.parametrize("top", [1e-4, 3e-3, 0.7, 15, 1e4, 2e7])
@pytest.mark.parametrize("width", [352, 592, 1232])
def test_panels_do_not_write_over_one_another(top, width):
    panels = [Panel(f"layer{i}", (0.0, top / 2, top), (9.0, 3.0), (0.9 * top,)) for i in range(9)]
    drawn = histogram_plot("p", "T", "D", panels, [("theta", run_style(0))], width)
    boxes = sorted(box(text) for text in ElementTree.fromstring(drawn).iter("text"))
    for i, (_, right, top_, bottom) in enumerate(boxes):
        assert right <= width
        beside = [b for b in boxes[i + 1 :] if b[2] < bottom and top_ < b[3]]
        assert all(left >= right for left, *_ in beside)


@pytest.mark.parametrize(
    "panel",
    [
        Panel("empty", (0.0, 1.0), (0.0,), (None,)),
        Panel("zero", (0.0, 0.0), (5.0,), (0.0,)),
        Panel("odd", (0.0, math.nan, math.inf), (1.0, 1.0), (math.nan,)),
        Panel("beyond", (0.0, 1.0), (5.0,), (7.0,)),
    ],
)
def test_odd_histograms_draw(panel):
    drawn = histogram_plot("h", "T", "D", [panel], [("threshold", Style("s1"))], 352)
    assert all(map(math.isfinite, coordinates(ElementTree.fromstring(drawn))))


def test_a_number_beyond_all_bounds_has_no_place_on_a_logarithmic_scale():
    scale = log("log10", [1e-320, 1.0, 10.0, 1e300], 0.04)
    assert 0.9 < scale.lo < 1.0 < 10.0 < scale.hi < 11.0
    assert not scale.holds(1e-320)
    assert not scale.holds(1e300)


def test_a_histogram_of_few_values_has_a_bar_for_each():
    counts = (40.0, 0.0, 10.0, 20.0, 5.0)
    panel = Panel("a", tuple(k / 4 for k in range(6)), counts, (), len(counts))
    drawn = ElementTree.fromstring(histogram_plot("h", "T", "D", [panel], [], 352))
    (shape,) = [each.get("d") for each in drawn.iter("path") if each.get("class") == "shape"]
    assert shape.count("H") == len(counts)


@pytest.mark.parametrize("width", [352, 592])
@pytest.mark.parametrize("top", [0.013, 7.3, 123456.0])
def test_points_beside_the_networks_have_whole_labels(width, top):
    clouds = [Cloud(f"layer{k}", ((0.2 * top, 0.1 * top), (top, 0.8 * top))) for k in range(3)]
    heads = ("Decoded from spikes (ANN's units)", "Activation of the ANN (ANN's units)")
    drawn = ElementTree.fromstring(scatter_plot("p", "T", "D", clouds, width, heads))
    texts = list(drawn.iter("text"))
    assert {heads[0], heads[1], *(cloud.name for cloud in clouds)} <= {t.text for t in texts}
    for text in texts:  # a shortened text has its whole as a title
        left, right, top_, _ = box(text)
        assert text.find("title") is None
        assert left >= 0 and right <= width and top_ >= 0


@pytest.mark.parametrize("width", [352, 760])
def test_images_say_which_row_is_the_networks_and_which_the_spikes(width):
    image = (b"\x00\xff", b"\xff\x00")
    drawn = pictures_plot("p", "T", "D", [Picture("channel 3", image, image, (-0.5, 2.25))], width)
    assert ">Above: the ANN. Below: the spikes.</text>" in drawn
    assert ">-0.5 to 2.25</text>" in drawn
    root = ElementTree.fromstring(drawn)
    told = [float(each.get("y", 0)) for each in root.iter() if each.get("class") == "axis-label"]
    bottom = max(
        float(each.get("y", 0)) + float(each.get("height", 0))
        for each in root.iter()
        if each.tag.endswith("image")
    )
    assert bottom < told[0] < float(root.get("height", 0))
