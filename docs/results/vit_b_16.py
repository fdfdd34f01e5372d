"""The time and memory of ViT-B/16 with transfer sites, beside as many forward passes of the ANN.

python docs/results/vit_b_16.py    # minutes; random weights, images of 224 x 224
"""

import resource
import time
from collections.abc import Callable

import torch
from torchvision.models import get_model

from snnconv.frontends.torch.capture import capture
from snnconv.graph.fold import fold
from snnconv.graph.network import Network, ann_inputs
from snnconv.graph.transfer import with_transfer_sites
from snnconv.neurons.signed import Params, Signed
from snnconv.simulation.network import SpikingNetwork
from snnconv.simulation.simulate import simulate

BATCH, STEPS, AT_ONCE, THREADS = 4, 8, 4, 2
SHAPE = (3, 224, 224)


def seconds(compute: Callable[[], object]) -> float:
    """CPU time of all threads."""
    started = time.process_time()
    compute()
    return time.process_time() - started


@torch.no_grad()
def main() -> None:
    """Half of the ANN's passes, the simulation, the other half."""
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    ann = get_model("vit_b_16", weights=None).eval()
    graph, tensors = fold(*capture(ann, SHAPE, analog=True)[:2])
    network = Network(with_transfer_sites(graph, tensors), tensors).eval()
    x, samples = torch.randn(BATCH, *SHAPE), torch.arange(BATCH)
    inputs = ann_inputs(network, x[:1])[1]
    neurons = {
        name: Signed(Params(spikes=4), value[0].abs().flatten(1).amax(1).clamp(min=1e-3) * 0.7)
        for name, value in inputs.items()
    }
    snn = SpikingNetwork(network, neurons, 0, None).eval()
    simulate(snn, x[None, :1], samples[:1], 1, 1)  # compiles
    ann(x[:1])
    half = range(STEPS // 2)
    passes = seconds(lambda: [ann(x) for _ in half])
    spiking = seconds(lambda: simulate(snn, x[None], samples, STEPS, AT_ONCE))
    passes += seconds(lambda: [ann(x) for _ in half])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"ANN {passes:.1f} s, SNN {spiking:.1f} s: {spiking / passes:.2f}; peak {memory} MiB")


if __name__ == "__main__":
    main()
