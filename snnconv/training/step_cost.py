"""What a training step costs: the time of one batch, and the memory of its tensors.

Memory is counted tensor by tensor, so it depends neither on what the process did before nor on what
its allocator keeps. What a library takes within one operation and returns is not counted, except on
a GPU, whose allocator counts all.
"""

import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from snnconv.core import runtime


class StepCost(NamedTuple):
    """Of one training step; the names are those of :class:`.EpochRow`."""

    step_seconds: float | None = None
    step_cpu_seconds: float | None = None
    step_memory_mib: float | None = None


def timed(work: Callable[[], None], device: torch.device, weigh: bool = False) -> StepCost:
    """Do one step, and say what it cost; to weigh it makes it slower, so it has no time then."""
    if weigh:
        return StepCost(step_memory_mib=peak_bytes(work, device) / 2**20)
    wall, processor = runtime.clock(device), time.process_time()
    work()
    return StepCost(runtime.clock(device) - wall, time.process_time() - processor)


def least(costs: Iterable[StepCost]) -> StepCost:
    """Return the least of each cost: what else a machine does makes steps slower, never faster."""
    columns = zip(*costs, strict=True)
    return StepCost(*(min((x for x in row if x is not None), default=None) for row in columns))


def peak_bytes(work: Callable[[], None], device: torch.device) -> int:
    """Return the most bytes that some work's tensors take at one time, beyond those before."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return int(torch.cuda.max_memory_allocated(device) - before)
    with _Tensors() as tensors:
        work()
    return int(tensors.most)


class _Tensors(TorchDispatchMode):
    """Counts the storages that operations make, each until nobody holds it any more."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held, self.most = 0, 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {self._key(tensor) for tensor in _tensors((args, kwargs))}
        made = func(*args, **(kwargs or {}))
        for tensor in _tensors(made):
            key = self._key(tensor)
            if key not in given and key not in self._alive:
                self._begin(key, tensor)
        return made

    def _key(self, tensor: Tensor) -> int:
        return int(tensor.untyped_storage()._cdata)

    def _begin(self, key: int, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        size = storage.nbytes()

        def end(_: Any) -> None:
            self.held -= size
            self._alive.pop(key, None)

        self.held += size
        self.most = max(self.most, self.held)
        self._alive[key] = weakref.ref(storage, end)


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]
