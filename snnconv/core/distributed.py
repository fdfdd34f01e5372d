"""Divide work among the processes that ``torchrun`` starts; usually there is one.

Each process takes every n-th sample. Sums are added up over all processes, exactly if they are
integers. Only rank 0 writes files and prints.

Reference:
    SyncBatchNorm as PyTorch's own, which has no CPU form: statistics of the whole batch by sums.

Deviations:
    None.
"""

import atexit
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as through
from torch import Tensor

from snnconv.errors import UsageError, one_line


def start(device: torch.device) -> None:
    """Meet the other processes, if there are any.

    Raises:
        UsageError: the environment names other processes, and they can't be met.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1" or dist.is_initialized():
        return
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (ValueError, RuntimeError) as error:
        size = os.environ["WORLD_SIZE"]
        raise UsageError(
            f"the other processes can't be met (WORLD_SIZE={size})",
            one_line(error),
            "start all of them with torchrun, or take WORLD_SIZE out of the environment",
        ) from error
    atexit.register(dist.destroy_process_group)


_ALONE: ContextVar[bool] = ContextVar("alone", default=False)


@contextmanager
def alone() -> Iterator[None]:
    """Work as the only process, which writes files and waits for no other."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def size() -> int:
    """Return how many processes there are."""
    if _ALONE.get():
        return 1
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if size() > 1 else 0


def wait() -> None:
    """Wait for all other processes."""
    if size() > 1:
        dist.barrier()


def gathered(found: dict[Any, Any]) -> dict[Any, Any]:
    """Return what each of the processes has found, in one."""
    if size() == 1:
        return found
    every: list[dict[Any, Any]] = [{} for _ in range(size())]
    dist.all_gather_object(every, found)
    return {key: value for each in every for key, value in each.items()}


def share(order: Tensor) -> Tensor:
    """Return this process's part of a list of samples."""
    return order[rank() :: size()]


def share_batches(order: Tensor, batch: int) -> Tensor:
    """Return this process's part of a list of samples: whole batches, as one process has them.

    In float32, a sample's activations round differently if other samples share its batch. So
    results that have to equal those of one process, bit by bit, are computed on its batches.

    Args:
        order: all samples ``[n]``.
        batch: samples of a batch; the last one of all may have fewer.
    """
    return torch.cat([order[:0], *order.split(batch)[rank() :: size()]])


def total(values: Iterable[float], device: torch.device) -> list[float]:
    """Return sums over all processes, in float64: exact for integers below 2**53."""
    sums = torch.tensor(list(values), dtype=torch.float64)
    added: list[float] = add(sums, device).tolist()
    return added


def add(value: Tensor, device: torch.device) -> Tensor:
    """Return the sum over all processes."""
    return _reduced(value, device, dist.ReduceOp.SUM)


def largest(value: Tensor, device: torch.device) -> Tensor:
    """Return the largest over all processes, element by element."""
    return _reduced(value, device, dist.ReduceOp.MAX)


def _reduced(value: Tensor, device: torch.device, how: Any) -> Tensor:
    if size() == 1:
        return value
    there = value.detach().to(device).clone()
    dist.all_reduce(there, how)
    return there.to(value.device)


def summed(state: Any, device: torch.device) -> Any:
    """Return numbers, tensors, and mappings of them, added up over all processes."""
    if isinstance(state, Tensor):
        return add(state, device)
    if isinstance(state, dict):
        return {key: summed(value, device) for key, value in state.items()}
    (number,) = total([state], device)
    return int(number) if isinstance(state, int) else number


def batch_norm(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
) -> Tensor:
    """Return BatchNorm in training by the statistics of all processes' batches ``[B, C, ...]``.

    The running ones, ``mean`` and ``var``, are moved in place, by the unbiased variance.
    """
    axes = [axis for axis in range(x.dim()) if axis != 1]
    places = [1, -1, *[1] * (x.dim() - 2)]
    own = torch.tensor([x.numel() / x.shape[1]], device=x.device)
    count = add(own, x.device)
    centre = through.all_reduce(x.sum(axes)) / count
    spread = through.all_reduce((x - centre.view(places)).square().sum(axes)) / count
    with torch.no_grad():
        mean.lerp_(centre.to(mean.dtype), momentum)
        var.lerp_((spread * count / (count - 1)).to(var.dtype), momentum)
    y = (x - centre.view(places)) * torch.rsqrt(spread + eps).view(places)
    if weight is not None:
        y = y * weight.view(places)
    shifted: Tensor = y if bias is None else y + bias.view(places)
    return shifted
