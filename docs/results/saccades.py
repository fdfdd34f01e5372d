"""A small event set, made of images that an event camera sees while it moves.

python docs/results/saccades.py OUT.npz [FRAMES]   # half a minute on one core, 21 MB; 8 frames
snnconv train resnet20 --data npz:OUT.npz

Each image is moved along three straight saccades, the sides of a triangle, as Orchard et al. 2015
moved their camera in front of MNIST. A pixel fires an ON event each time its log-intensity has
risen by a threshold, an OFF event each time it has fallen by one. Events are counted by polarity
in frames of equal duration. The images are the first 10,000 train and the first 2,000 test images
of Fashion-MNIST. No noise and nothing random: the same images make the same events.
"""

import io
import itertools
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snnconv.data.dataset import Dataset, load_dataset
from snnconv.data.split import Split

CORNERS = ((-2.0, -2.0), (2.0, 0.0), (-2.0, 2.0), (-2.0, -2.0))  # pixels (down, right)
STEPS = 16  # views of a saccade: a quarter of a pixel from one to the next
FRAMES = 8
DARK = 0.1  # added to intensities 0..1, whose logarithm a pixel sees
THRESHOLD = 0.25  # of log-intensity: 9 events from black to white
FULL = 15  # events that a frame counts as 1.0; what is above them is cut
MARGIN = 3  # black pixels around an image, more than it moves
BATCH = 500


def view(images: Tensor, down: float, right: float) -> Tensor:
    """Images ``[n, H, W]`` moved by parts of a pixel, black beyond their borders."""
    padded = torch.nn.functional.pad(images, [MARGIN] * 4)
    height, width = images.shape[1:]
    y, x = int(MARGIN - down // 1 - 1), int(MARGIN - right // 1 - 1)
    b, r = down % 1, right % 1  # how far towards the pixel above, and to the left
    corner = padded[:, y : y + height + 1, x : x + width + 1]
    rows = (1 - b) * corner[:, 1:] + b * corner[:, :-1]
    return (1 - r) * rows[:, :, 1:] + r * rows[:, :, :-1]


def path() -> list[tuple[float, float]]:
    """Where the image is at each step, the start included."""
    places = [CORNERS[0]]
    for (y0, x0), (y1, x1) in itertools.pairwise(CORNERS):
        shares = [k / STEPS for k in range(1, STEPS + 1)]
        places += [(y0 + s * (y1 - y0), x0 + s * (x1 - x0)) for s in shares]
    return places


def events(images: Tensor, frames: int = FRAMES) -> Tensor:
    """Events of images ``[n, H, W]`` in 0..1, counted: ``[n, frames, 2, H, W]``, ON then OFF."""
    first, *places = path()
    level = (view(images, *first) + DARK).log()  # at which a pixel fired last
    counts = torch.zeros(len(images), frames, 2, *images.shape[1:])
    for step, place in enumerate(places):
        # rounded, so that no last bit of a logarithm makes an event
        change = (((view(images, *place) + DARK).log() - level) / THRESHOLD).mul(1e4).round() / 1e4
        fired = change.trunc()
        level = level + fired * THRESHOLD
        frame = step * frames // len(places)
        counts[:, frame, 0] += fired.clamp(min=0)
        counts[:, frame, 1] += (-fired).clamp(min=0)
    return counts


def part(split: Split, count: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """The first samples of a split as frames of bytes, and their labels."""
    indices = torch.arange(min(count, len(split.labels)))
    made = [
        (events(split.images(some)[:, 0].double(), frames).clamp(max=FULL) * (255 // FULL)).byte()
        for some in indices.split(BATCH)
    ]
    return torch.cat(made).numpy(), split.labels[indices].numpy()


def make(
    out: Path, data: Dataset, train: int = 10_000, test: int = 2_000, frames: int = FRAMES
) -> None:
    """Write the set as ``npz:FILE`` reads it."""
    (x_train, y_train), (x_test, y_test) = (
        part(split, count, frames) for split, count in ((data.train, train), (data.test, test))
    )
    file = io.BytesIO()
    np.savez_compressed(
        file,
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        classes=np.array(data.info.classes),
        layout=np.array("TCHW"),
        mean=np.zeros(1),  # a silent pixel stays 0
        std=np.full(1, 0.1),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(file.getvalue())


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python docs/results/saccades.py OUT.npz [FRAMES]")
    many = int(sys.argv[2]) if len(sys.argv) == 3 else FRAMES
    make(Path(sys.argv[1]), load_dataset("fashion-mnist"), frames=many)
