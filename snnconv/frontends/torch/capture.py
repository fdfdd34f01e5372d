"""From a live ``nn.Module`` to a graph, by symbolic tracing (torch.fx), else by torch.export.

torch.export takes ten times as long, and every network of torchvision can be traced without it. It
is used if tracing fails, as on control flow that depends on the input's sizes, and if a call of the
trace is refused, because the call may consist of operators that convert.

Module, functional and method forms of an operation give the same node. Every operation that the
graph's closed list does not hold is collected, and all of them are reported at once. The captured
graph is compared with the module on random inputs before it is handed out.
"""

import builtins
import copy
import inspect
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any, NamedTuple

import torch
import torch.fx
from torch import Tensor, nn

from snnconv.data.layout import OTHER_SAMPLES
from snnconv.errors import (
    CheckFailedError,
    Obstacle,
    ObstaclesError,
    SnnconvError,
    UnsupportedError,
    one_line,
)
from snnconv.frontends.lowering.contract import BATCH
from snnconv.frontends.outputs import choose, leaves, with_output
from snnconv.frontends.torch.export import exported
from snnconv.frontends.torch.translate import Translated, translate
from snnconv.frontends.torch.watch import obstacles_of_run, user_line
from snnconv.graph.ir import Graph
from snnconv.graph.network import Network
from snnconv.graph.remedies import ANALOG, DATA_DEPENDENT, IN_OTHER_WORDS

_ALONE = Lock()
"""One capture at a time: a trace of torch.fx replaces ``nn.Module.__call__``."""

TOLERANCE = 1e-4  # largest allowed difference of graph and module, relative to the largest output

_WRAPPERS = (
    nn.DataParallel,
    nn.parallel.DistributedDataParallel,
    torch.optim.swa_utils.AveragedModel,
)
_SPIKING = (
    "snntorch",
    "spikingjelly",
    "norse",
    "sinabs",
    "bindsnet",
    "lava",
    "braincog",
    "rockpool",
)
"""Libraries whose modules are spiking neurons, or need them."""

_PLAIN = (bool, int, float, str, type(None))


class Verdict(NamedTuple):
    """A captured graph, and the module that it was captured from.

    Attributes:
        referee: the package that ran that.
        difference: the largest, relative to the largest output, on random inputs.
        tolerance: the largest that is allowed.
    """

    referee: str
    difference: float
    tolerance: float


class Captured(NamedTuple):
    """A network's graph, its tensors, and how far they are from their origin."""

    graph: Graph
    tensors: dict[str, Tensor]
    verdict: Verdict


def capture(
    module: nn.Module,
    input_shape: tuple[int, ...],
    analog: bool = False,
    tokens: int | None = None,
    output: str | None = None,
) -> Captured:
    """Return a module's graph and tensors, in float32 on the CPU.

    Args:
        module: takes ``[B, *input_shape]``, gives ``[B, *out]``, or several; it is put into
            evaluation mode.
        input_shape: the shape of one sample.
        analog: whether to take operations that no neuron stands for.
        tokens: of a network on texts, how many token numbers there are.
        output: which of several outputs is meant, by name or number.

    Raises:
        UsageError: there is no such output.
        UnsupportedError: several outputs, and none of them chosen; control flow that depends on
            data, an input of another shape, NaN or Inf, no weights, TorchScript, or operations
            outside the closed list, each with its place.
        CheckFailedError: the graph's output is not the module's.
    """
    module = _plain(module)
    _check_spikes(module)
    module = module.eval()
    if any(p.dtype != torch.float32 or p.device.type != "cpu" for p in module.parameters()):
        module = copy.deepcopy(module).cpu().float()
    example = random_input(BATCH, input_shape, tokens)
    with _ALONE:
        try:
            module, expected = _with_output(module, example.clone(), output)
        except UnsupportedError:
            if tokens is None:
                raise
            example = example.long()  # as an embedding takes tokens
            module, expected = _with_output(module, example.clone(), output)
        graph, tensors, ending = _translated(module, example, analog)
        check_finite(tensors)
        if not torch.isfinite(expected).all():
            raise UnsupportedError(
                "the network's output can't be used",
                "NaN or Inf for random inputs",
                "look for huge values in its weights",
            )
        with torch.no_grad():
            got = Network(graph, tensors).eval()(example.float())
    got = got if ending is None else ending(got)
    if got.numel() == expected.numel():
        got = got.reshape(expected.shape)  # one number a sample: [B, 1] here, may be [B] there
    difference = largest_difference(got, expected)
    if not difference <= TOLERANCE:
        raise CheckFailedError(
            f"the graph captured from {type(module).__name__} does not compute what it computes",
            f"outputs differ by {difference:.2e} of the largest (allowed {TOLERANCE:.0e})",
            "look for values changed in place, hooks and randomness in it, or report the network",
        )
    return Captured(graph, tensors, Verdict("torch", difference, TOLERANCE))


def random_input(count: int, shape: tuple[int, ...], tokens: int | None, seed: int = 0) -> Tensor:
    """Return samples to compare a graph with its origin on; for texts, token numbers as floats."""
    random = torch.Generator().manual_seed(seed)
    if tokens is None:
        return torch.randn(count, *shape, generator=random)
    return torch.randint(tokens, (count, *shape), generator=random).float()


def _plain(module: nn.Module) -> nn.Module:
    """Unwrap a network that is wrapped for speed.

    Raises:
        UnsupportedError: TorchScript, or weights that are not there.
    """
    while True:
        if isinstance(module, _WRAPPERS):
            module = module.module
        elif isinstance(original := getattr(module, "_orig_mod", None), nn.Module):
            module = original  # of torch.compile, which would compile before it is traced
        else:
            break
    kind = type(module).__name__
    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        raise UnsupportedError(
            f"{kind} can't be traced",
            "TorchScript, which hides how the network is written",
            "give the module that torch.jit made it from, or export it: network.pt2, network.onnx",
        )
    own = [*module.named_parameters(), *module.named_buffers()]
    if missing := [name for name, tensor in own if tensor.is_meta]:
        raise UnsupportedError(
            f"{kind} has no weights",
            f"{len(missing)} tensors on the meta device, the first '{missing[0]}'",
            "make it on the CPU",
        )
    return module


def _check_spikes(module: nn.Module) -> None:
    """Refuse a network that spikes already, and one that torch.export made.

    Raises:
        UnsupportedError: either.
    """
    for name, part in module.named_modules():
        library = type(part).__module__.partition(".")[0]
        if library in _SPIKING:
            raise UnsupportedError(
                f"{type(module).__name__} spikes already",
                f"{name or 'itself'}: {type(part).__name__} of {library}",
                "give the network with ReLU in place of these neurons: snnconv converts an ANN "
                "that was trained without spikes",
            )
    if isinstance(module, torch.fx.GraphModule) and "eval" in vars(module):
        raise UnsupportedError(
            f"{type(module).__name__} can't be traced",
            "the module of an exported program, which can't be put into evaluation mode",
            "save the program as .pt2, and give that file: "
            "torch.export.save(program, 'network.pt2')",
        )


def _with_output(
    module: nn.Module, example: Tensor, wanted: str | None
) -> tuple[nn.Module, Tensor]:
    """Return the module with one output, and what it gives."""
    kind = type(module).__name__
    try:
        with torch.no_grad():
            value = module(example)
    except (Exception, SystemExit) as error:  # whatever the user's forward raises
        raise UnsupportedError(
            f"{kind} can't take an input of shape {list(example.shape[1:])}",
            f"{one_line(error)}{_line(error)}",
            OTHER_SAMPLES,
        ) from error
    if not isinstance(value, Tensor) or wanted is not None:
        found = {name: one for name, one in leaves(value).items() if isinstance(one, Tensor)}
        if found:
            name = choose(list(found), wanted, kind)
            module, value = with_output(module, name), found[name]
    if isinstance(value, Tensor) and value.dim() and len(value) == BATCH:
        return module, value
    raise UnsupportedError(f"{kind} gives no output [B, ...]", *_no_output(value))


def _no_output(value: object) -> tuple[str, str]:
    """Say what a network gives instead of a tensor of samples, and what to do about it."""
    if isinstance(value, Tensor):
        found = f"shape {list(value.shape)} for {BATCH} samples"
        return found, "keep the batch as the first axis: [B, classes]"
    return f"a {type(value).__name__}", "return the logits, as a tensor"


def _translated(module: nn.Module, example: Tensor, analog: bool) -> Translated:
    """Translate the module by the first trace in which no call is refused."""
    refused: SnnconvError
    try:
        traced = _traced(module)
    except (Exception, SystemExit) as error:  # whatever the user's forward raises in a trace
        refused = UnsupportedError(
            f"{type(module).__name__} can't be traced",
            f"{one_line(error)}{_line(error)}",
            DATA_DEPENDENT,
        )
        refused.__cause__ = error
    else:
        try:
            return translate(traced, example.clone(), analog)
        except ObstaclesError as error:
            if all(ANALOG in obstacle.remedy for obstacle in error.obstacles):
                raise  # functions that are known: another trace has them as well
            refused = error
    try:
        program = exported(module, example.clone())
    except (Exception, SystemExit):  # the same; the first error is the plainer one
        raise _all_known(refused, module, example, analog)  # noqa: B904 - its cause is set
    try:
        return translate(program, example.clone(), analog)
    except ObstaclesError as error:
        if isinstance(refused, ObstaclesError) and _vagueness(refused) <= _vagueness(error):
            raise refused from None
        raise


def _vagueness(error: ObstaclesError) -> tuple[int, int]:
    """Count the obstacles whose reason is only that they are unknown, and all of them.

    A trace may know a module only by its name, where a program has the call in it that is refused.
    """
    unknown = sum(obstacle.remedy == IN_OTHER_WORDS for obstacle in error.obstacles)
    return unknown, len(error.obstacles)


def _all_known(
    refused: SnnconvError, module: nn.Module, example: Tensor, analog: bool
) -> SnnconvError:
    """Return the error for a network that can't be traced: its first line, and all a run shows."""
    if isinstance(refused, ObstaclesError):
        return refused
    try:
        found = obstacles_of_run(module, example.clone(), analog)
    except (Exception, SystemExit):  # whatever the user's forward raises when it is watched
        return refused
    line = refused.found[refused.found.rfind(" (") :]
    if not any(obstacle.found.endswith(line) for obstacle in found):
        found.insert(0, Obstacle("forward", refused.found, refused.remedy))
    if len(found) == 1:
        return refused
    error = ObstaclesError("the network", found)
    error.__cause__ = refused.__cause__
    return error


def _traced(module: nn.Module) -> torch.fx.GraphModule:
    """Trace the module's calls; arguments of ``forward`` that have a default keep it."""
    parameters = inspect.signature(module.forward).parameters.values()
    defaults = {p.name: p.default for p in parameters if isinstance(p.default, _PLAIN)}
    with _lengths_of_symbols():
        return torch.fx.symbolic_trace(module, concrete_args=defaults)


@contextmanager
def _lengths_of_symbols() -> Iterator[None]:
    """Record ``len(x)`` of a symbol as a call; Python itself accepts only a number.

    ``torch.fx.wrap("len")`` does the same, but the user's own modules would have to call it.
    Lengths of anything else stay as they were, in other threads too.
    """
    plain = builtins.len

    def traced(x: Any) -> Any:
        if isinstance(x, torch.fx.Proxy):
            return x.tracer.create_proxy("call_function", plain, (x,), {})
        return plain(x)

    builtins.len = traced
    try:
        yield
    finally:
        builtins.len = plain


def _line(error: BaseException) -> str:
    """Return the place in the user's code that raised an error, if it was there."""
    return user_line(traceback.extract_tb(error.__traceback__))


def largest_difference(got: Tensor, expected: Tensor) -> float:
    """Return the largest difference of two outputs, relative to the largest expected value."""
    largest = expected.abs().max().clamp(min=1e-12)
    return float((got - expected).abs().max() / largest)


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights that are no numbers.

    Raises:
        UnsupportedError: NaN or Inf, with the tensors' names.
    """
    bad = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise UnsupportedError(
            "the network's weights can't be used",
            f"NaN or Inf in {', '.join(bad)}",
            "train it again",
        )
