"""The compiled loops of kernels: their contract, and their door."""

import os
import re
import statistics
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.layers import EVERY_LAYER, layer, run, same

from snnconv.engine.dispatch import compiled, fire
from snnconv.engine.layer_output import Wants, WeightedSum
from snnconv.engine.neurons.memory_layout import checked
from snnconv.errors import UnsupportedError
from snnconv.neurons import if_, lif
from snnconv.neurons.base import NEURONS
from snnconv.neurons.if_ import IF
from snnconv.neurons.kernel import ONE, Kernel, Number
from snnconv.neurons.lif import LIF

WITH_A_KERNEL = [(n, p) for n, p in EVERY_LAYER if vars(NEURONS.load(n)).get("KERNEL")]


@pytest.mark.parametrize(("name", "params"), WITH_A_KERNEL)
def test_a_kernel_is_a_function_of_plain_numbers(name, params):
    """Without a compiler, one neuron at a time, it gives what the class gives."""
    neurons = layer(name, 0.75, steps=12, **params)
    currents = torch.randn(12, 1, 1)
    kernel, start = type(neurons).KERNEL, neurons.initial(currents[0])
    seen, omega = neurons.seen(currents, start), neurons.mixing(start, 12)
    mixed = seen if omega is None else neurons.charge(currents)
    state = tuple(np.float32(getattr(start, field).item()) for field in kernel.states)
    constants = tuple(np.float32(x.item()) for x in neurons.constants(currents[0]))
    found = []
    for current, now in zip(mixed, neurons.schedule(start, 12).detach().numpy(), strict=True):
        given = np.float32(current.item()), ONE, constants, tuple(now), state
        count, value, state = kernel.step(*given)
        found.append((count, value))
    spikes, _ = neurons.run(currents, start, None)
    for ours, theirs in zip(zip(*found, strict=True), spikes, strict=True):
        assert np.array_equal(ours, theirs.detach().flatten().numpy())


def double(current, keep, constants, schedule, state):
    """A step that forgets that 0.5 is a float64."""
    return keep, current * 0.5, state


def one_too_few(current, keep, constants, schedule, state):
    """A step without the state behind it."""
    return keep, current, ()


def unknown(current, keep, constants, schedule, state):
    """A step that calls what numba does not know."""
    return keep, statistics.median([current]), state


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (double, "a kernel gives .*float64.*, where .*float32.* is wanted"),
        (one_too_few, r"a kernel gives Tuple\(\), where .*float32.* is wanted"),
        (unknown, "Unknown attribute 'median'"),
    ],
)
def test_a_step_that_cannot_be_compiled_is_refused(step, says):
    kind = type(step.__name__, (LIF,), {"KERNEL": Kernel(step)})
    with torch.no_grad(), pytest.raises(UnsupportedError) as refused:
        run(kind(lif.Params(), torch.ones(1)), torch.randn(3, 2, 5), None, None)
    assert refused.value.problem.endswith(f"the KERNEL of {step.__name__} neurons")
    place = f"in '{step.__name__}', {__file__}, line {step.__code__.co_firstlineno}: "
    assert refused.value.found.startswith(place)
    assert re.search(says, refused.value.found)
    assert "leave KERNEL out" in refused.value.remedy


def test_a_gradient_that_cannot_be_compiled_is_refused():
    def lost(current, keep, constants, schedule, state, of_count, of_value, of_state):
        return of_value, (), ()

    kind = type("Lost", (LIF,), {"KERNEL": replace(LIF.KERNEL, gradient=lost)})
    currents = torch.randn(3, 2, 5).requires_grad_()
    spikes, _ = run(kind(lif.Params(), torch.ones(1)), currents, None, None)
    with pytest.raises(UnsupportedError, match=r"the KERNEL of Lost neurons\n.*in 'lost'"):
        spikes.values.sum().backward()


def surely_below(current, constants, schedule, state):
    return bool(state[0] + current < constants[0] - Number(0.25))


def settled_by(value, current, constants, schedule, state):
    return (state[0] + current - value,)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [1, 15, 64, 700])
def test_neurons_that_surely_stay_silent_take_no_step_and_nothing_changes(masked, size):
    kernel = replace(IF.KERNEL, silent=surely_below, settled=settled_by)
    kind, params, theta = type("Silent", (IF,), {"KERNEL": kernel}), if_.Params(), torch.ones(1)
    currents = torch.randn(9, 3, size) / 2 + 0.3
    keep = (torch.rand(currents.shape) < 0.6).float() if masked else None
    weighted = WeightedSum(torch.ones(1, size), 1)
    for wants in (Wants(), Wants(counts=False), Wants(False, weighted), Wants(False, mean=True)):
        with torch.no_grad():
            found, expected = (
                fire(each(params, theta), currents, None, keep, wants) for each in (kind, IF)
            )
        assert same(found, expected)
    assert expected[0].mean.any()


def test_a_kernel_that_tells_who_is_silent_tells_how_they_go_on():
    with pytest.raises(TypeError, match="both silent and settled, or neither"):
        replace(LIF.KERNEL, silent=surely_below)


def test_a_subclass_does_not_inherit_the_kernel_of_another_step():
    class Twice(LIF):
        def step(self, current, state, keep):
            return super().step(2 * current, state, keep)

    assert compiled(Twice, False) is None
    currents, params = torch.randn(5, 2, 7), lif.Params()
    with torch.no_grad():
        found, expected = (
            run(kind(params, torch.ones(1)), x, None, None)
            for kind, x in ((Twice, currents), (LIF, 2 * currents))
        )
    assert same(found, expected)


def test_a_kernel_without_a_gradient_trains_by_the_neuron_itself():
    kind = type("Forth", (LIF,), {"KERNEL": replace(LIF.KERNEL, gradient=None)})
    assert compiled(kind, True) is None
    found = []
    for made in (kind, LIF):
        currents = torch.linspace(-1, 2, 30).view(3, 2, 5).requires_grad_()
        spikes, _ = run(made(lif.Params(), torch.ones(1)), currents, None, None)
        found.append(torch.autograd.grad(spikes.values.square().sum(), currents)[0])
    torch.testing.assert_close(*found)


def helped(v):
    return v + ONE


def with_a_helper(current, keep, constants, schedule, state):
    (v,) = state
    return keep, current, (helped(v),)


def test_a_step_may_call_plain_functions_of_its_module():
    kind = type("Helped", (LIF,), {"KERNEL": Kernel(with_a_helper)})
    with torch.no_grad():
        _, state = run(kind(lif.Params(v0=0), torch.ones(1)), torch.zeros(4, 1, 3), None, None)
    assert torch.equal(state.potential, torch.full((1, 3), 4.0))


OUTSIDE = """
from snnconv.errors import UnsupportedError
from snnconv.neurons import if_, lif
from snnconv.neurons.kernel import Kernel, Number


def step(current, keep, constants, schedule, state):
    (theta,), (v,) = constants, state
    potential = v + Number({factor}) * current
    count = keep if potential >= theta else Number(0)
    return count, count * theta, (potential - count * theta,)


class Mine(lif.LIF):
    KERNEL = Kernel(step)
"""

RUN = """
import sys
import torch
from snnconv.engine.dispatch import fire
from snnconv.errors import UnsupportedError
from snnconv.neurons import if_, lif
from snnconv.neurons.base import NEURONS

kind = NEURONS.load(sys.argv[1])
neurons, currents = kind(lif.Params(v0=0), torch.ones(1)), torch.full((8, 1, 2), 0.25)
with torch.no_grad():
    output, _ = fire(neurons, currents, None, None)
print(int(output.counts.sum()))
"""


def test_a_users_file_has_the_same_fast_path(tmp_path):
    """Compiled once; what was compiled before an edit is not taken again."""
    file, kept = tmp_path / "mine.py", tmp_path / "kept"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(kept)}
    command = [sys.executable, "-c", RUN, f"{file}:Mine"]
    seen = []
    for factor in (1, 1, 2):
        file.write_text(OUTSIDE.format(factor=factor))
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert int(done.stdout) == 2 * 2 * factor
        seen.append({code: code.stat().st_mtime_ns for code in kept.rglob("*Mine_forward*.nbc")})
    first, second, edited = seen
    assert first == second
    assert len(first) == 1
    assert edited != first


@pytest.mark.parametrize(
    ("array", "error", "says"),
    [
        (np.zeros((2, 3)), TypeError, "reads float32, contiguous; not float64"),
        (np.zeros((3, 2), np.float32).T, TypeError, "not contiguous"),
        (np.zeros((2, 4), np.float32), ValueError, r"not of \(2, 4\)"),
        (np.zeros(6, np.float32), ValueError, r"not of \(6,\)"),
        (np.broadcast_to(np.zeros((2, 3), np.float32), (2, 3)), TypeError, "read-only"),
    ],
)
def test_the_door_refuses_what_compiled_code_would_misread(array, error, says):
    with pytest.raises(error, match=says):
        checked(array, (2, 3), writeable=True)


def test_the_door_lets_in_what_fits():
    array = np.zeros((2, 3), np.float32)
    assert checked(array, ((1, 2), range(3, 9)), writeable=True) is array
