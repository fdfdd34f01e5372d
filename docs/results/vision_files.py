"""A network of vision.py as files: its weights, and the images that it is measured on.

python docs/results/vision_files.py resnet18 runs/resnet18    # weights.safetensors, images.npz

The weights are random, so the data have no labels: what counts is how near the logits are.
"""

import sys
from pathlib import Path

import numpy as np
from safetensors.torch import save_file
from vision import images, network


def main() -> None:
    """Write both files into a folder."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    train, test = images(64)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network(name, train).state_dict(), folder / "weights.safetensors")
    np.savez(folder / "images.npz", x_train=train.numpy(), x_test=test.numpy())


if __name__ == "__main__":
    main()
