"""The event set that docs/results makes of images: its events are what a camera would see."""

import math
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from snnconv.data.dataset import load_dataset

MAKER = runpy.run_path(str(Path(__file__).parents[2] / "docs/results/saccades.py"))


def blob(size=12):
    """A square in the middle, grey, far enough from the border to move."""
    image = torch.zeros(1, size, size, dtype=torch.float64)
    image[0, 4:8, 4:8] = 0.8
    return image


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, -1), (-3, 2), (0.5, 0), (-0.25, 1.75)])
def test_a_view_is_the_image_moved(down, right):
    found = MAKER["view"](blob(), down, right)[0]
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    assert found.sum() == pytest.approx(16 * 0.8)  # nothing leaves this image
    assert (found * rows).sum() / found.sum() == pytest.approx(5.5 + down)
    assert (found * columns).sum() / found.sum() == pytest.approx(5.5 + right)


def brute(image, frames):
    """Pixel by pixel, step by step."""
    first, *places = MAKER["path"]()
    counts = np.zeros((frames, 2, *image.shape))
    views = [MAKER["view"](image[None], *place)[0] for place in (first, *places)]
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            level = math.log(float(views[0][i, j]) + MAKER["DARK"])
            for step, seen in enumerate(views[1:]):
                now = math.log(float(seen[i, j]) + MAKER["DARK"])
                while now - level >= MAKER["THRESHOLD"] - 1e-5:
                    level += MAKER["THRESHOLD"]
                    counts[step * frames // len(places), 0, i, j] += 1
                while level - now >= MAKER["THRESHOLD"] - 1e-5:
                    level -= MAKER["THRESHOLD"]
                    counts[step * frames // len(places), 1, i, j] += 1
    return counts


@pytest.mark.parametrize("frames", [3, 8])
def test_events_are_those_of_a_pixel_by_pixel_simulation(frames):
    image = torch.rand(7, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = MAKER["events"](image[None], frames)[0].numpy()
    assert found.sum() > 500
    assert np.array_equal(found, brute(image, frames))


def test_the_triangle_is_closed_so_every_rise_has_its_fall():
    on, off = MAKER["events"](blob())[0].sum(0)
    assert (on - off).abs().max() <= 1
    assert on.sum() > 0


def test_it_is_written_as_frames(tmp_path):
    for name in ("a", "b"):
        MAKER["make"](tmp_path / name / "set.npz", load_dataset("digits"), 30, 20, 4)
    data = load_dataset(f"npz:{tmp_path / 'a' / 'set.npz'}")
    assert (data.info.shape, data.info.frames) == ((2, 8, 8), 4)
    assert (data.info.mean, data.info.std) == ((0.0,), (0.1,))
    assert (len(data.train.labels), len(data.test.labels)) == (30, 20)
    x = data.train.images(torch.arange(30))
    digits = load_dataset("digits").train
    assert torch.equal(data.train.labels, digits.labels[:30])
    counts = MAKER["events"](digits.images(torch.arange(30))[:, 0].double(), 4)
    torch.testing.assert_close(x, counts.clamp(max=15).float() / 15)
    assert 0 < x.mean() < 0.5
    one, other = (np.load(tmp_path / name / "set.npz") for name in ("a", "b"))
    assert all(np.array_equal(one[key], other[key]) for key in one.files)
