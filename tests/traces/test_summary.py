"""What a page shows of a trace: a few numbers of it, the right ones."""

import base64
import io

import numpy as np
import pytest
from helpers import examples
from helpers.pages import box, drawings, html, labels
from PIL import Image

from snnconv.render.svg.styles import run_style
from snnconv.traces.arrays import Array
from snnconv.traces.reader import Trace
from snnconv.traces.store import Store
from snnconv.traces.summary import POINTS, ROWS, STEPS, spread, summary

N, T, SHAPE = 2, 3, (2, 2, 3)
EACH = ("sample", "step", "channel", "row", "column")


def written(folder, arrays, sites, timesteps=T):
    """A trace file of these arrays, put block by block, the last sample first."""
    store = Store(
        folder, [Array(k, EACH[: v.ndim], v.shape, v.dtype.str) for k, v in arrays.items()]
    )
    for name, values in arrays.items():
        for k in reversed(range(len(values))):
            for t in range(values.shape[1] if values.ndim > 1 else 1):
                block = values[k : k + 1, t : t + 1] if values.ndim > 1 else values[k : k + 1]
                store.put(name, block, k, t)
    with (folder / "trace.npz").open("wb") as handle:
        store.write_npz(handle, {"timesteps": timesteps, "sites": sites})
    return Trace(folder / "trace.npz")


@pytest.fixture
def trace(tmp_path):
    spikes = np.zeros((N, T, *SHAPE), np.int8)
    spikes[0, :, 0, 0, 0] = [1, -2, 0]
    spikes[0, 2, 1, 1, 2] = 1
    spikes[1] = 1
    decoded = np.arange(N * T * 12, dtype=np.float32).reshape(spikes.shape)
    arrays = {
        "a/spikes": spikes,
        "a/potentials": decoded / 8,
        "a/thresholds": np.full((1, 1, 2, 1, 1), 0.5, np.float32),
        "a/activations": decoded,
        "a/ann": decoded[:, -1] + 1,
        "samples": np.array([7, 9]),
    }
    return written(tmp_path, arrays, [{"name": "a", "shape": list(SHAPE)}])


def test_blocks_come_back_where_they_were_put(trace):
    for name, shape in (("a/spikes", (T, *SHAPE)), ("a/ann", SHAPE), ("samples", ())):
        samples = list(trace.samples(name))
        assert [sample.shape for sample in samples] == [shape] * N
        assert np.array_equal(np.load(trace.file)[name], np.stack(samples))
    assert (trace.has("a/spikes"), trace.has("a/currents")) == (True, False)


def test_the_numbers_that_are_drawn(trace):
    found = summary(trace, "cnn, if", run_style(0))
    (site,) = found.sites
    assert (found.samples, found.sample, found.steps) == (N, 7, T)
    assert sorted(site.raster) == [(0, 1, 1), (0, 2, -2), (1, 3, 1)]
    assert site.rates == {0: 10, 1: 1, 3: 13}  # 12 neurons with 3 spikes, and one of 1 and -2
    assert [course.name for course in site.courses] == ["0, 0, 0", "1, 1, 2"]
    assert site.courses[0].potentials == (0.0, 1.5, 3.0)
    assert site.courses[0].thresholds == (0.5,) * T
    assert [course.fired for course in site.courses] == [{1, 2}, {3}]
    assert len(site.points) == site.values == 12 * N
    assert all(ann == snn + 1 for ann, snn in site.points)
    assert [each.channel for each in site.maps] == [0, 1]
    assert (len(site.maps[0].ann), len(site.maps[0].ann[0])) == SHAPE[1:]
    assert [each.ends for each in site.maps] == [(24.0, 30.0), (30.0, 36.0)]
    assert site.axes == EACH[2:]


def test_all_of_it_is_on_the_page(trace):
    page = html([examples.evaluation()], traced=[summary(trace, "cnn, if", run_style(0))])
    titles = {svg.find("title").text for svg in drawings(page)}
    assert titles >= {
        "Spikes of sample 7",
        "Potentials at a",
        "Activation of the ANN and rate of the spikes",
        "Firing rates by layer",
        "Activations at a",
    }
    assert "Neurons are named by channel, row, column, from 0." in page
    for svg in drawings(page):  # nothing on an axis is cut
        if svg.find("title").text in ("Spikes of sample 7", "Potentials at a"):
            ticks = [box(text) for text in labels(svg, "tick")]
            assert ticks and all(left >= 0 for left, *_ in ticks)
            assert "0" not in {t.text for t in labels(svg, "tick")} or "Potentials" in svg[0].text
    assert "img-src data:" in page
    images = [image.get("href") for svg in drawings(page) for image in svg.iter("image")]
    assert len(images) == 2 * 2 * 2  # widths, channels, ANN and SNN
    for address in images:
        head, _, content = address.partition("base64,")
        assert head == "data:image/png;"
        assert Image.open(io.BytesIO(base64.b64decode(content))).size == SHAPE[:0:-1]


def test_large_traces_are_thinned(tmp_path):
    spikes = np.ones((1, 2 * STEPS, 500), np.int8)
    arrays = {
        "big/spikes": spikes,
        "big/activations": spikes.astype(np.float32),
        "big/ann": spikes[:, 0].astype(np.float32),
        "samples": np.zeros(1, np.int64),
    }
    trace = written(tmp_path, arrays, [{"name": "big", "shape": [500]}], 2 * STEPS)
    (site,) = summary(trace, "x", run_style(0)).sites
    assert (site.rows, len(site.raster)) == (ROWS, ROWS * STEPS)
    assert len(site.points) == POINTS
    assert site.courses == ()  # no potentials were recorded
    assert spread(5, 3) == [0, 2, 4]
    assert spread(2, 3) == [0, 1]
