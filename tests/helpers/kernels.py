"""Compile the kernels of every neuron, which tests that run side by side would each compile.

PYTHONPATH=tests python -m helpers.kernels
"""

import torch

from helpers.layers import EVERY_LAYER, layer, run

T, B, C = 4, 2, 3


def main():
    """Run a layer of every kind and switch, and its gradient."""
    for name, params in EVERY_LAYER:
        neurons = layer(name, 0.5, steps=T, **params)
        with torch.no_grad():
            run(neurons, torch.rand(T, B, C), None, None)
        currents = torch.rand(T, B, C, requires_grad=True)
        run(neurons, currents, None, None)[0].values.sum().backward()


if __name__ == "__main__":
    main()
