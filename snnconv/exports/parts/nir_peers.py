"""Runs a NIR graph in the simulators that read NIR, as far as they are installed.

They have rules of their own. So each runs twice: as it reads NIR itself, and with its neurons set
to the rules that the file names; what differs is told with its cause.

Shape:
    Samples ``[f, B, *input]``, logits ``[T, B, classes]``, spikes ``[T, B, *N]``.

Reference:
    sinabs, snnTorch and norse, by ``nirtorch``.
"""

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnconv.errors import one_line
from snnconv.exports.base import Peer, RunResult
from snnconv.exports.parts.nir_run import is_neuron, over_time, read, tensor, text, window


def peers(
    file: Path, names: Mapping[str, str], x: Tensor, timesteps: int, hold: int
) -> Iterator[Peer]:
    """Run the file in the simulators that are installed; say why one can't read it.

    Each runs twice: as it reads NIR itself, and with its neurons set to the rules of this file.
    """
    for name, run in (("sinabs", _sinabs), ("snntorch", _snntorch), ("norse", _norse)):
        for set_to_rules in (False, True):
            called = f"{name} {version(name)}" if _there(name) else ""
            if not called:
                continue
            called += ", its neurons set to the rules of the file" if set_to_rules else ""
            cause = (_WITH_RULES if set_to_rules else _CAUSES)[name]
            try:
                with _quiet():
                    result = run(read(file), names, x, timesteps, hold, set_to_rules)
            except Exception as error:  # whatever another program raises on a file
                yield Peer(called, None, f"it can't run this: {one_line(error)}")
                continue
            yield Peer(called, result, cause)


_CAUSES = {
    "sinabs": "its IF may elicit several spikes a step, and bounds the potential at -1 threshold",
    "snntorch": "it reads IF as a neuron that keeps 0.9 of its potential, and resets LIF to zero",
    "norse": "it resets IF and LIF to zero, and leaves out the resistance of LIF",
}
_WITH_RULES = {
    "sinabs": "the same rules; sums may come in another order",
    "snntorch": "its soft reset takes a threshold off a potential that is still above it before it "
    "may fire again",
    "norse": "the same rules; a potential has to be above its threshold, and sums may come in "
    "another order",
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what other programs say of themselves, which helps no user."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _there(name: str) -> bool:
    return all(importlib.util.find_spec(each) for each in (name, "nirtorch"))


def _sinabs(
    graph: Any,
    names: Mapping[str, str],
    x: Tensor,
    timesteps: int,
    hold: int,
    set_to_rules: bool,
) -> RunResult:
    """Run all steps of all samples at once, because sinabs merges batch and time."""
    import sinabs.activation as rules
    from sinabs import layers
    from sinabs.nir import from_nir

    def neuron(node: Any) -> Any:
        threshold = tensor(node.v_threshold)
        hard = text(node.metadata["reset"]) == "zero"
        how = {
            "spike_threshold": threshold,
            "spike_fn": rules.SingleSpike,
            "reset_fn": rules.MembraneReset() if hard else rules.MembraneSubtract(),
            "min_v_mem": None,
            "num_timesteps": timesteps,
        }
        if type(node).__name__ == "IF":
            return layers.IAFSqueeze(**how)
        decay = 1 - tensor(node.metadata["dt"]) / tensor(node.tau).flatten()[0]
        return layers.LIFSqueeze(tau_mem=-1 / decay.log(), norm_input=False, **how)

    if set_to_rules:
        module = _module(graph, neuron)
    else:
        for node in graph.nodes.values():
            if is_neuron(node):
                node.v_threshold = tensor(node.v_threshold)  # it computes with tensors
        module = from_nir(graph, num_timesteps=timesteps).eval()
    values: dict[str, Tensor] = {}
    _watch(module, names, values)
    order = torch.arange(timesteps) // hold % len(x)
    batch = x.shape[1]
    with torch.no_grad():
        found = module(x[order].transpose(0, 1).flatten(0, 1))
    found = found[0] if isinstance(found, tuple) else found

    def unmerged(value: Tensor) -> Tensor:
        return value.unflatten(0, (batch, timesteps)).transpose(0, 1)  # type: ignore[no-any-return]

    steps = torch.arange(1, timesteps + 1).reshape(-1, 1, 1)
    return RunResult(
        _logits(unmerged(found), graph).double().cumsum(0) / steps,
        {own: unmerged(values[name]) for own, name in names.items()},
    )


def _snntorch(
    graph: Any,
    names: Mapping[str, str],
    x: Tensor,
    timesteps: int,
    hold: int,
    set_to_rules: bool,
) -> RunResult:
    """Sample by sample, because its Flatten takes the batch in."""
    import snntorch
    from snntorch.import_nir import import_from_nir

    def neuron(node: Any) -> Any:
        hard, share = text(node.metadata["reset"]) == "zero", 0.0
        if type(node).__name__ == "LIF":
            share = float(node.metadata["dt"]) / float(node.tau.flat[0])
        return snntorch.Leaky(
            beta=1 - share,
            threshold=float(node.v_threshold.flat[0]),
            init_hidden=True,
            reset_delay=False,
            reset_mechanism="zero" if hard else "subtract",
        )

    def module() -> Any:
        return _module(graph, neuron) if set_to_rules else import_from_nir(graph).eval()

    return _sample_by_sample(module, graph, names, x, timesteps, hold)


def _norse(
    graph: Any,
    names: Mapping[str, str],
    x: Tensor,
    timesteps: int,
    hold: int,
    set_to_rules: bool,
) -> RunResult:
    """Sample by sample, because its Flatten takes the batch in."""
    from norse.torch import IAFCell, IAFParameters, LIFBoxCell, LIFBoxParameters
    from norse.torch.functional.reset import reset_subtract, reset_value
    from norse.torch.utils.import_nir import from_nir

    class Resisting(LIFBoxCell):  # type: ignore[misc]
        """LIF with the resistance that norse leaves out."""

        def forward(self, given: Tensor, state: Any = None) -> Any:
            return super().forward(self.resistance * given, state)

    def neuron(node: Any) -> Any:
        hard, threshold = text(node.metadata["reset"]) == "zero", tensor(node.v_threshold)
        if type(node).__name__ == "IF":
            if not hard:
                raise ValueError("its IF resets to a value, and never by subtraction")
            return IAFCell(IAFParameters(v_th=threshold))
        rules = {"v_th": threshold, "reset_method": reset_value if hard else reset_subtract}
        made = Resisting(
            LIFBoxParameters(tau_mem_inv=1 / tensor(node.tau), **rules),
            dt=float(node.metadata["dt"]),
        )
        made.resistance = tensor(node.r)
        return made

    def module() -> Any:
        return _module(graph, neuron) if set_to_rules else from_nir(graph).eval()

    return _sample_by_sample(module, graph, names, x, timesteps, hold)


def _sample_by_sample(
    module: Callable[[], Any],
    graph: Any,
    names: Mapping[str, str],
    x: Tensor,
    timesteps: int,
    hold: int,
) -> RunResult:
    """Run a program that takes one sample and one step at a time."""

    def of_one(sample: Tensor) -> RunResult:
        made, values = module(), dict[str, Tensor]()
        _watch(made, names, values)
        state: Any = None

        def step(shown: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
            nonlocal state
            found, state = made(shown, state)
            return _logits(found, graph), values

        return over_time(step, names, sample, timesteps, hold)

    results = [of_one(x[:, b]) for b in range(x.shape[1])]
    return RunResult(
        torch.stack([each.logits for each in results], 1),
        {own: torch.stack([each.spikes[own] for each in results], 1) for own in results[0].spikes},
    )


def _module(graph: Any, neuron: Callable[[Any], Any]) -> Any:
    """Return the graph in torch, with neurons of another program."""
    import nir
    import nirtorch
    from torch import nn

    def weighted(made: Any, node: Any) -> Any:
        made.weight.data, made.bias.data = tensor(node.weight), tensor(node.bias)
        return made

    def conv(kind: Any, node: Any) -> Any:
        outputs, inputs, *kernel = node.weight.shape
        where = [
            tuple(int(n) for n in torch.as_tensor(each).flatten())
            for each in (node.stride, node.padding, node.dilation)
        ]
        return weighted(kind(inputs, outputs, tuple(kernel), *where), node)

    def pool(node: Any, divisor: int | None) -> Any:
        return nn.AvgPool2d(*window(node), divisor_override=divisor)

    kinds = {
        nir.IF: neuron,
        nir.LIF: neuron,
        nir.Affine: lambda node: weighted(nn.Linear(*node.weight.shape[::-1]), node),
        nir.Conv1d: lambda node: conv(nn.Conv1d, node),
        nir.Conv2d: lambda node: conv(nn.Conv2d, node),
        nir.AvgPool2d: lambda node: pool(node, None),
        nir.SumPool2d: lambda node: pool(node, 1),
        nir.Flatten: lambda node: nn.Flatten(-len(node.input_type["input"])),
    }
    return nirtorch.nir_to_torch(graph, kinds).eval()


def _logits(found: Any, graph: Any) -> Tensor:
    """Return what a program gives, if it has the shape of the graph's output.

    Raises:
        ValueError: it has another.
    """
    (wanted,) = (tuple(shape) for shape in graph.output_type.values())
    if not isinstance(found, Tensor) or tuple(found.shape[-len(wanted) :]) != wanted:
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"it gives {shape}, where the graph's output is {list(wanted)}")
    return found


def _watch(module: Any, names: Mapping[str, str], values: dict[str, Tensor]) -> None:
    """Keep what the modules of neurons give, by their names in the file."""
    modules = dict(module.named_modules())

    def keep(name: str) -> Callable[..., None]:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            values[name] = output[0] if isinstance(output, tuple) else output

        return hook

    for name in names.values():
        modules[name].register_forward_hook(keep(name))
