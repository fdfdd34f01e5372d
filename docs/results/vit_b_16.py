"""The time and memory of ViT-B/16 with transfer sites, beside as many forward passes of the ANN.

python docs/results/vit_b_16.py         # minutes; random weights, images of 224 x 224
python docs/results/vit_b_16.py 512     # one simulation within so many MiB (Linux)
"""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import get_model

from snnconv.frontends.torch.capture import capture
from snnconv.graph.fold import fold
from snnconv.graph.network import Network, ann_inputs
from snnconv.graph.transfer import with_transfer_sites
from snnconv.neurons.signed import Params, Signed
from snnconv.simulation.memory import BatchPlan, bytes_per_sample, plan_batch
from snnconv.simulation.network import SpikingNetwork
from snnconv.simulation.simulate import simulate

BATCH, STEPS, AT_ONCE, THREADS = 4, 8, 4, 2
SHAPE = (3, 224, 224)


def seconds(compute: Callable[[], object]) -> float:
    """CPU time of all threads."""
    started = time.process_time()
    compute()
    return time.process_time() - started


def spiking(ann: torch.nn.Module) -> SpikingNetwork:
    """The network with signed neurons at its transfer sites; thresholds are of one sample."""
    graph, tensors = fold(*capture(ann, SHAPE, analog=True)[:2])
    network = Network(with_transfer_sites(graph, tensors), tensors).eval()
    inputs = ann_inputs(network, torch.randn(1, *SHAPE))[1]
    neurons = {
        name: Signed(Params(spikes=4), value[0].abs().flatten(1).amax(1).clamp(min=1e-3) * 0.7)
        for name, value in inputs.items()
    }
    return SpikingNetwork(network, neurons, 0, None).eval()


def held(which: str) -> int:
    """MiB of the process, now (``VmRSS``) or at most (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(which))


def bounded(snn: SpikingNetwork, x: Tensor, mebibytes: int) -> None:
    """Simulate as much at once as the bound allows, and say what that takes."""
    plan = plan_batch(snn.analysis, BatchPlan(len(x), STEPS), mebibytes << 20, timesteps=STEPS)
    counted = plan.samples * bytes_per_sample(snn.analysis, plan.steps, timesteps=STEPS) >> 20
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak from now on
    before = held("VmRSS")
    first = torch.arange(plan.samples)
    simulate(snn, x[None, : plan.samples], first, STEPS, plan.steps)
    taken = held("VmHWM") - before
    print(f"{plan}: {counted} MiB counted, {taken} MiB taken of {mebibytes}")


@torch.no_grad()
def main() -> None:
    """Half of the ANN's passes, the simulation, the other half; or the memory alone."""
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    ann = get_model("vit_b_16", weights=None).eval()
    snn, x, samples = spiking(ann), torch.randn(BATCH, *SHAPE), torch.arange(BATCH)
    simulate(snn, x[None, :1], samples[:1], 1, 1)  # compiles
    if sys.argv[1:]:
        bounded(snn, x, int(sys.argv[1]))
        return
    ann(x[:1])
    half = range(STEPS // 2)
    passes = seconds(lambda: [ann(x) for _ in half])
    simulated = seconds(lambda: simulate(snn, x[None], samples, STEPS, AT_ONCE))
    passes += seconds(lambda: [ann(x) for _ in half])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"ANN {passes:.1f} s, SNN {simulated:.1f} s: {simulated / passes:.2f}; peak {memory} MiB")


if __name__ == "__main__":
    main()
