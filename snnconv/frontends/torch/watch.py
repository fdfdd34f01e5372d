"""Run a network that can't be traced, and name every obstacle that the run shows.

A trace ends at the first line that it can't follow. A run goes on. PyTorch tells a mode about every
function that is called, so the run names every line that takes a number out of a value that depends
on the input, and every call that the closed list has no operation for.
"""

import operator
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from snnconv.errors import Obstacle
from snnconv.frontends.lowering.contract import (
    Activation,
    Lowering,
    NodeSpec,
    Refused,
    Stored,
)
from snnconv.frontends.lowering.table import FUNCTIONS, METHODS, MODULES
from snnconv.frontends.torch.interpreter import OF_SHAPES, attributes
from snnconv.graph.ops import OPS, Role
from snnconv.graph.remedies import BATCH_FIRST, DATA_DEPENDENT, IN_OTHER_WORDS, of_function

_NUMBERS = ("__bool__", "__int__", "__float__", "__index__", "item", "tolist", "numpy", "__array__")
_NOT_THE_USERS = (Path(torch.__file__).parent, Path(__file__).parent)


def obstacles_of_run(module: nn.Module, example: Tensor, analog: bool) -> list[Obstacle]:
    """Return what a run of a module shows, in the order of the run.

    Args:
        module: the module, in evaluation mode.
        example: an input ``[B, *input_shape]`` that it takes.
        analog: whether operations are taken that no neuron stands for.
    """
    watch = _Watch(example, analog)
    with torch.no_grad(), watch.at_modules(module), watch:
        module(example)
    return list(watch.found.values())


def user_line(frames: Iterable[traceback.FrameSummary]) -> str:
    """Return the last line of the user's own code, in brackets; nothing if there is none."""
    for frame in reversed(list(frames)):
        file = Path(frame.filename)
        if not any(file.is_relative_to(path) for path in _NOT_THE_USERS):
            return f" ({file.name}, line {frame.lineno}: {frame.line})"
    return ""


class _Watch(TorchFunctionMode):
    """Sees every function that is called.

    Attributes:
        found: the obstacles, by where they are and what they are.
    """

    def __init__(self, example: Tensor, analog: bool) -> None:
        super().__init__()
        self.found: dict[tuple[str, str], Obstacle] = {}
        self._analog = analog
        self._depends = {id(example): example}  # on the input; held, so that no id comes again
        self._paths = [""]  # of the modules that run, the innermost last
        self._known = 0  # how many of them have a lowering of their own

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        value = func(*args, **(kwargs or {}))
        if self._on_input((args, kwargs)):
            self._see(func, args, kwargs or {}, value)
        return value

    @contextmanager
    def at_modules(self, module: nn.Module) -> Iterator[None]:
        """Note which module runs, while a network does."""
        hooks = []
        for path, part in module.named_modules():
            hooks += [
                part.register_forward_pre_hook(partial(self._enter, path)),
                part.register_forward_hook(self._leave, with_kwargs=True),
            ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, path: str, part: nn.Module, args: Any) -> None:
        self._paths.append(path)
        self._known += type(part) in MODULES

    def _leave(self, part: nn.Module, args: Any, kwargs: Any, value: Any) -> None:
        self._known -= type(part) in MODULES
        if type(part) in MODULES and not self._known and self._on_input((args, kwargs)):
            lowering, names = MODULES[type(part)]
            keywords = attributes(self._paths[-1], part, names) | kwargs
            called = f"module {type(part).__name__}"
            self._judge(lowering, called, self._paths[-1], (args, keywords), value)
        self._paths.pop()

    def _see(self, func: Any, args: Any, kwargs: Any, value: Any) -> None:
        name = getattr(func, "__name__", "?")
        if name in _NUMBERS:
            line = user_line(traceback.extract_stack())
            self._note(self._paths[-1] or "forward", f"a number out of data{line}", DATA_DEPENDENT)
            return
        values = [x for x in tree_leaves(value) if isinstance(x, Tensor)]
        if not values or name in OF_SHAPES:
            return
        self._depends |= {id(x): x for x in values}
        if self._known:
            return
        if name == "__get__":  # of an attribute, for example x.T
            name = func.__self__.__name__
        place = f"{self._paths[-1]}.{name}" if self._paths[-1] else name
        if lowering := _lowering(func, name):
            if not name.startswith("__"):  # their operands may stand the other way round
                self._judge(lowering, f"function '{name}'", place, (args, kwargs), value)
            return
        line = user_line(traceback.extract_stack())
        self._note(place, f"function '{name}'{line}", IN_OTHER_WORDS)

    def _judge(self, known: Lowering, called: str, place: str, given: Any, value: Any) -> None:
        """Note a call that its lowering refuses, or that no neuron stands for."""
        first = next(x for x in tree_leaves(value) if isinstance(x, Tensor))
        if not first.is_floating_point() or not first.dim():
            return  # a comparison or one number, which is judged where it is used
        args, kwargs = tree_map(self._operand, given)
        try:
            made = known.make(tuple(first.shape), *args, **kwargs)
        except Refused as refusal:
            if refusal.remedy != BATCH_FIRST:  # which other calls may put right
                self._note(place, str(refusal), refusal.remedy)
            return
        except (TypeError, ValueError, LookupError, ArithmeticError, RuntimeError):
            return  # its arguments tell no more here
        functions = [] if self._analog else list(_functions(made))
        if functions:
            self._note(place, called, of_function(functions[0]))

    def _operand(self, value: Any) -> Any:
        if id(value) in self._depends:
            return Activation("", tuple(value.shape))
        return Stored("", value) if isinstance(value, Tensor) else value

    def _on_input(self, given: Any) -> bool:
        return any(id(x) in self._depends for x in tree_leaves(given) if isinstance(x, Tensor))

    def _note(self, place: str, found: str, remedy: str) -> None:
        self.found.setdefault((place, found), Obstacle(place, found, remedy))


def _lowering(func: Any, name: str) -> Lowering | None:
    """Return the lowering of a function, a method, or an operator of Python's: ``__radd__``."""
    base = name.strip("_")
    for known in (FUNCTIONS.get(func), METHODS.get(name), METHODS.get(base)):
        if known is not None:
            return known
    for one in (base, base[1:] if base[:1] in ("r", "i") else base):
        if found := FUNCTIONS.get(getattr(operator, one, None) or func):
            return found
    return None


def _functions(made: Any) -> Iterator[str]:
    """Yield the operations that no neuron stands for; a softmax at the end is dropped."""
    if isinstance(made, list | tuple):
        for one in made:
            yield from _functions(one)
    elif isinstance(made, NodeSpec):
        if OPS[made.op].role is Role.ANALOG:
            yield made.op
        yield from _functions(list(made.sources))
