"""Whole numbers: the file is read back, simulated, and run by a C program."""

import json
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.exports import BATCH, IF, Residual, T, subject, wave
from helpers.networks import NETS, checkpoint
from torch import nn

from snnconv.checkpoint import save
from snnconv.errors import UsageError
from snnconv.exports.base import Subject
from snnconv.exports.integer import Integer, Params
from snnconv.exports.parts.integer_measure import IntegerMeasure
from snnconv.exports.parts.integer_network import LayoutError, packed, unpacked
from snnconv.exports.parts.integer_quantize import Widths, fitted_unit, quantized
from snnconv.exports.parts.integer_run import logits, run
from snnconv.simulation.build import spiking_network
from snnconv.simulation.simulate import simulate

PROGRAM = Path(__file__).parents[2] / "docs" / "guide" / "snni.c"
FINE = Widths(16, 16, 32, True)
HALF = {"neuron": "if", "params": {"v0": 0.5}}
SIGNED = {"neuron": "signed", "params": {"spikes": 3}}


def brute(network, x):
    """The outputs of one sample by loops over Python's own whole numbers."""
    potentials, totals, outputs = {}, {}, []
    largest = 2 ** (network.state_bits - 1) - 1
    values = {0: quantized_input(network, x)}
    for _ in range(network.timesteps):
        for number, layer in enumerate(network.layers, 1):
            c, h, w = layer.given
            given = [sum(values[s].ravel()[i] for s in layer.sources) for i in range(c * h * w)]
            given = [int(each) for each in given]
            found = np.zeros(layer.gives, np.int64)
            for d, i, j in np.ndindex(*layer.gives):
                if layer.kind in ("gains", "neurons"):
                    here = given[(d * h + i) * w + j]
                if layer.kind == "gains":
                    found[d, i, j] = here * int(layer.bias[d])
                elif layer.kind == "neurons":
                    key, theta = (number, d, i, j), int(layer.bias[d])
                    v = potentials.get(key, int(layer.initial[d])) + here
                    v = max(-largest, min(largest, v))
                    n = max(-layer.spikes if layer.negative else 0, min(layer.spikes, v // theta))
                    if layer.negative:
                        n = max(n, -totals.get(key, 0))
                        n = 0 if -int(layer.dead[d]) < v < 0 else n
                    potentials[key], totals[key] = v - n * theta, totals.get(key, 0) + n
                    found[d, i, j] = n
                else:
                    total = 0
                    for b in range(c) if layer.kind == "weights" else [d]:
                        for p, q in np.ndindex(*layer.kernel):
                            y = i * layer.stride[0] - layer.padding[0] + p * layer.dilation[0]
                            z = j * layer.stride[1] - layer.padding[1] + q * layer.dilation[1]
                            if 0 <= y < h and 0 <= z < w:
                                u = given[(b * h + y) * w + z]
                                total += u * (
                                    int(layer.weight[d, b, p, q]) if layer.weight.size else 1
                                )
                    bias = int(layer.bias[d]) if layer.kind == "weights" else 0
                    found[d, i, j] = total * 2**layer.shift + bias
            values[number] = found
        outputs.append(sum(values[each].ravel() for each in network.output))
    return np.stack(outputs)


def quantized_input(network, x):
    largest = 2 ** (network.input_bits - 1) - 1
    whole = np.round(x.astype(np.float32) / np.float32(network.input_scale)).astype(np.int64)
    return whole.clip(-largest, largest).reshape(network.shape)


def pooled():
    """Poolings between weights and what takes their sums."""
    return nn.Sequential(
        *(nn.Conv2d(2, 6, 3), nn.AvgPool2d(2), nn.ReLU()),
        *(nn.Conv2d(6, 4, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


def flattened():
    """Weights of channels, and neurons of single places."""
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.ReLU(), nn.Linear(48, 4))


def places():
    """Outputs at every place, whose class each is."""
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1))


CASES = {
    "residual": (Residual, (2, 6, 6), HALF),
    "signed": (Residual, (2, 6, 6), SIGNED),
    "wave": (wave, (1, 20), IF),
    "pooled": (pooled, (2, 6, 6), HALF),
    "flattened": (flattened, (2, 6, 6), HALF),
    "places": (places, (2, 6, 6), HALF),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("widths", [Widths(4, 4, 12, True), Widths(8, 8, 24, False)])
def test_the_simulator_equals_a_loop_over_whole_numbers(case, widths):
    make, shape, how = CASES[case]
    network, _ = quantized(subject(make(), shape, **how), widths)
    x = torch.rand(1, 2, *shape).double().numpy() * 3
    found = run(network, x, T, T)
    for b in range(2):
        np.testing.assert_array_equal(found.outputs[:, b], brute(network, x[0, b]))


@pytest.mark.parametrize("bits", [2, 4])
def test_weights_reach_as_far_below_zero_as_above(bits):
    network, _ = quantized(subject(Residual(), (2, 6, 6), **HALF), Widths(bits, 8, 24, True))
    sizes = [abs(layer.weight).max() for layer in network.layers if layer.kind == "weights"]
    assert max(sizes) == 2 ** (bits - 1) - 1


def test_weights_far_above_a_threshold_leave_it_a_unit():
    """As those of a channel that never fires, whose threshold is next to nothing."""
    made = checkpoint(NETS["mlp"](), theta=1e-6, neuron="if", timesteps=T)
    one = Subject(made, spiking_network(made, engine="dense").eval(), "A network", "0" * 64)
    network, _ = quantized(one, Widths(4, 8, 24, True))
    thresholds = [layer.bias for layer in network.layers if layer.kind == "neurons"]
    assert all((theta >= 1).all() for theta in thresholds)


FEW = ("flattened", "places")
"""Cases in which a single spike is a large share of an output."""


@pytest.mark.parametrize("case", CASES)
def test_wide_numbers_are_the_network_itself(case, tmp_path):
    make, shape, how = CASES[case]
    one = subject(make(), shape, **how)
    form = Integer(Params(bits=12, input_bits=16, state_bits=32))
    assert form.obstacles(one) == []
    for suffix, content in form.files(one, "net").items():
        (tmp_path / f"net{suffix}").write_bytes(content)
    x = torch.rand(1, BATCH, *shape)
    own = simulate(one.network, x, torch.arange(BATCH), T, T)
    found = form.run(tmp_path / "net.snni", one, x, torch.arange(BATCH), T, T)
    assert found.counted["potentials_clipped"] == found.counted["inputs_clipped"] == 0
    assert found.counted["inputs"] == x.numel()
    assert found.logits.shape == own.shape
    apart = (found.logits - own).abs() / own.abs().max()
    most = apart.max() if case not in FEW else apart.quantile(0.9)
    assert most < 0.02  # a potential at its threshold may fall on either side


@pytest.mark.parametrize("case", ["pooled", "flattened"])
@pytest.mark.parametrize("input_bits", [8, 12])
def test_gains_of_fine_weights_are_no_zeros(case, input_bits):
    """Which they were, where an input of many bits makes units small: nothing got through."""
    make, shape, how = CASES[case]
    torch.manual_seed(0)
    one, x = subject(make(), shape, **how), torch.rand(1, 50, *shape)
    own = simulate(one.network, x, torch.arange(50), T, T)[-1]
    network, _ = quantized(one, Widths(8, input_bits, 24, True))
    gains = [layer.bias for layer in network.layers if layer.kind == "gains"]
    assert gains
    assert all((gain >= 1).all() for gain in gains)
    found = logits(network, run(network, x.double().numpy(), T, T).outputs)[-1]
    assert np.abs(found - own.numpy()).mean() < 0.1 * own.std()


def test_widths_that_leave_nothing_of_a_layer_are_refused():
    one = subject(Residual(), (2, 6, 6), **HALF)
    with pytest.raises(UsageError, match="leave nothing of a layer") as caught:
        quantized(one, Widths(8, 16, 8, True))
    assert (
        "first: all its weights are rounded to 0, with bits=8, state_bits=8" in caught.value.found
    )
    quantized(one, Widths(8, 4, 12, True))


@pytest.mark.parametrize("case", CASES)
def test_the_file_comes_back(case):
    make, shape, how = CASES[case]
    network, _ = quantized(subject(make(), shape, **how), FINE)
    content = packed(network)
    again = unpacked(content)
    assert packed(again) == content
    for k in range(0, len(content) - 1, max(1, len(content) // 40)):
        with pytest.raises(LayoutError):
            unpacked(content[:k])
    with pytest.raises(LayoutError, match="behind the last layer"):
        unpacked(content + b"\0\0\0\0")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_c_program_finds_the_same_classes(tmp_path):
    subprocess.run(
        ["cc", "-O2", "-o", str(tmp_path / "snni"), str(PROGRAM), "-lm"], check=True, timeout=60
    )
    assert len(PROGRAM.read_text(encoding="utf-8").splitlines()) <= 60, "as the guide says"
    foreign = subprocess.run([tmp_path / "snni", PROGRAM], capture_output=True, check=False)
    assert foreign.returncode == 1
    assert foreign.stderr.startswith(b"usage: snni NETWORK.snni")
    seen = set()
    for name, (make, shape, how) in CASES.items():
        network, _ = quantized(subject(make(), shape, **how), Widths(8, 8, 24, True))
        (tmp_path / "net.snni").write_bytes(packed(network))
        x = torch.rand(1, 20, *shape)
        wanted = run(network, x.double().numpy(), T, T).outputs.sum(0).argmax(1)
        done = subprocess.run(
            [str(tmp_path / "snni"), str(tmp_path / "net.snni")],
            input=struct.pack(f"<{x.numel()}f", *x.flatten().tolist()),
            capture_output=True,
            check=True,
            timeout=60,
        )
        assert [int(each) for each in done.stdout.split()] == wanted.tolist(), name
        seen |= set(wanted.tolist())
    assert len(seen) > 1


def test_potentials_that_are_clipped_are_counted():
    network, _ = quantized(subject(Residual(), **HALF), Widths(8, 3, 8, True))
    x = torch.rand(1, 2, 2, 6, 6).double().numpy() * 50
    found = run(network, x, T, T)
    assert found.saturation.potentials > 0
    assert found.saturation.inputs > 0
    assert found.saturation.of_potentials > found.saturation.potentials


def test_the_unit_has_the_least_error_by_brute_force():
    weights = torch.randn(5, 200, dtype=torch.float64)
    weights[0, 0] = 30  # an outlier that is worth clipping

    def error(unit, bits):
        largest = 2 ** (bits - 1) - 1
        found = (weights / unit[:, None]).round().clamp(-largest, largest) * unit[:, None]
        return (found - weights).square().sum(1)

    for bits in (3, 4, 8):
        most = weights.abs().amax(1) / (2 ** (bits - 1) - 1)
        finest = torch.stack([error(most * k / 1000, bits) for k in range(300, 1001)]).amin(0)
        assert (error(fitted_unit(weights, bits), bits) <= 1.05 * finest).all()


def test_what_has_no_whole_numbers_is_named():
    for neuron in ("msat", "lm-ht", "lif"):
        made = checkpoint(NETS["vgg"](), theta=0.5, neuron=neuron, timesteps=T)
        one = Subject(made, spiking_network(made, engine="dense").eval(), "A network", "0" * 64)
        found = Integer(Params()).obstacles(one)
        assert any(each.place == f"neuron '{neuron}'" for each in found)
        assert all(each.remedy for each in found)


def test_an_evaluation_in_whole_numbers_is_the_exported_file(tmp_path):
    one = subject(Residual(), **SIGNED)
    file = tmp_path / "net.safetensors"
    save(one.checkpoint, file)
    narrow = {"bits": 8, "state_bits": 10, "input_bits": 3}
    measured = IntegerMeasure(one.checkpoint, file, narrow, T, 1, lambda network, count: None)
    again = Subject(one.checkpoint, spiking_network(one.checkpoint, engine="dense").eval(), "", "")
    form, samples = Integer(Params(**narrow)), torch.arange(40)
    (tmp_path / "net.snni").write_bytes(form.files(again, "net")[".snni"])
    x, labels = torch.rand(1, 40, 2, 6, 6) * 50, torch.randint(4, (40,))
    own = simulate(again.network, x, samples, T, T)
    for part in samples.split(15):
        measured.add(x[:, part], own[:, part], labels[part])
    found = measured.use(dict)
    wanted = form.run(tmp_path / "net.snni", again, x, samples, T, T)
    classes = wanted.logits.argmax(2)
    assert found.accuracy == pytest.approx((classes == labels).double().mean(1).tolist())
    assert found.same_class == int((classes[-1] == own[-1].argmax(1)).sum())
    assert {name: getattr(found, name) for name in wanted.counted} == wanted.counted
    assert 0 < found.inputs_clipped < found.inputs
    gained = found.against_itself.only_this_right - found.against_itself.only_other_right
    assert gained == round(found.accuracy[-1] * 40) - int((own[-1].argmax(1) == labels).sum())


def test_an_evaluation_of_places_in_whole_numbers(tmp_path):
    """A sample has the same classes if all places have them."""
    one = subject(places(), (2, 6, 6), **HALF)
    file = tmp_path / "net.safetensors"
    file.write_bytes(b"")  # its SHA-256 is all that is read
    measured = IntegerMeasure(one.checkpoint, file, {"bits": 3}, T, 1, lambda network, count: None)
    again = Subject(one.checkpoint, spiking_network(one.checkpoint, engine="dense").eval(), "", "")
    x, samples = torch.rand(1, 20, 2, 6, 6), torch.arange(20)
    own = simulate(again.network, x, samples, T, T)
    measured.add(x, own, torch.zeros(20, 6, 6, dtype=torch.int64))
    form = Integer(Params(bits=3))
    (tmp_path / "net.snni").write_bytes(form.files(again, "net")[".snni"])
    found = form.run(tmp_path / "net.snni", again, x, samples, T, T)
    same = (found.logits[-1].argmax(1) == own[-1].argmax(1)).flatten(1)
    use = measured.use(dict)
    assert use.accuracy is None
    assert use.same_class == int(same.all(1).sum()) < same.float().sum() / 36 < 20


def test_permuted_samples_give_permuted_outputs():
    network, _ = quantized(subject(Residual(), **SIGNED), Widths(4, 8, 12, True))
    x, order = torch.rand(1, 6, 2, 6, 6).double().numpy(), np.array([3, 1, 5, 0, 2, 4])
    found = run(network, x, T, T).outputs
    np.testing.assert_array_equal(run(network, x[:, order], T, T).outputs, found[:, order])


def test_logits_from_a_later_step():
    network, _ = quantized(subject(Residual(), **HALF), FINE)
    outputs = np.array([[[1]], [[3]], [[8]]])
    scale = network.output_scale
    np.testing.assert_allclose(logits(network, outputs).ravel() / scale, [1, 2, 4])
    np.testing.assert_allclose(logits(network, outputs, 2).ravel() / scale, [0, 3, 5.5])


def test_the_header_has_the_sizes(tmp_path):
    one = subject(nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.ReLU(), nn.Linear(5, 3)), **IF)
    files = Integer(Params()).files(one, "net")
    defined = dict(
        line.split()[1:] for line in files[".h"].decode().splitlines() if "SNNI_" in line
    )
    assert defined["SNNI_OUTPUTS"] == "3"
    assert int(defined["SNNI_BYTES"]) == len(files[".snni"])
    assert json.loads(defined["SNNI_MAGIC"]) == "SNNI"
