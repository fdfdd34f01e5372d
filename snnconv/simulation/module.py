"""A spiking network as a module: logits of a batch, or one step after another.

:func:`snnconv.load_network` gives one that runs on this package's engine; a file that ``snnconv
export --to torch`` writes has one that stands alone. Both are used in the same way.

Shape:
    ``[B, *input] -> [B, classes]``, or ``[T, B, classes]`` for every step.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from snnconv.data.frames import frames_in_turn
from snnconv.errors import UsageError


class SpikingModule(nn.Module):
    """A spiking network that runs for T steps and averages the currents of its last layer.

    Args:
        timesteps: the T for which it was made.
        fixed: whether its neurons run for this T alone.
        causal: whether it can run one step at a time.
        mean: the mean of the scaled training data: one number, or one for each channel.
        std: the standard deviation of the scaled training data, likewise.
        scale: the number by which raw values are divided.
        input_shape: the shape of a sample, or of a frame.

    Attributes:
        chunk: how many steps to compute at once if the network is causal; it bounds memory.
    """

    def __init__(
        self,
        *,
        timesteps: int,
        fixed: bool = False,
        causal: bool = True,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        scale: float = 1.0,
        input_shape: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.timesteps = timesteps
        self.input_shape = tuple(input_shape)
        self.fixed = fixed
        self.causal = causal
        self.mean, self.std, self.scale = tuple(mean), tuple(std), scale
        self.chunk = 32

    def steps(
        self, x: Tensor, timesteps: int, state: Any = None, samples: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Run the next steps.

        Args:
            x: the frames to show in turn, ``[f, B, *input]``; ``f`` is 1 for a constant input.
            timesteps: how many steps to run.
            state: the state that the call before returned; None at the start.
            samples: the numbers of the samples ``[B]``, which seed spike confidence.

        Returns:
            The currents of the last layer ``[timesteps, B, classes]``, and the state after them.
        """
        raise NotImplementedError

    def normalise(self, raw: Tensor) -> Tensor:
        """Normalise raw values ``[B, C, ...]``: ``(raw / scale - mean) / std``.

        Unless the user gave another scale, data sets hand out values in 0..1, and the scale is 1.
        """
        shape = (1, -1, *[1] * (raw.dim() - 2))
        mean, std = (raw.new_tensor(v).reshape(shape) for v in (self.mean, self.std))
        return (raw / self.scale - mean) / std

    def shown(self, x: Tensor, timesteps: int) -> Tensor:
        """Return the frames to show in turn, ``[B, *input] -> [f, B, *input]``: one for all."""
        self.check(x)
        return x[None]

    def check(self, x: Tensor, axes: int = 1) -> None:
        """Refuse samples of another shape, which might be broadcast.

        Args:
            x: ``[B, *input]``, or ``[B, F, *input]``.
            axes: how many there are before those of ``input``.

        Raises:
            UsageError: they have another shape.
        """
        if tuple(x.shape[axes:]) != self.input_shape:
            wanted = ", ".join([*"BF"[:axes], *map(str, self.input_shape)])
            raise UsageError(
                "the samples do not fit the network",
                f"a tensor of shape {list(x.shape)}",
                f"give one of shape [{wanted}], normalised",
            )

    def averages(
        self, x: Tensor, timesteps: int | None = None, samples: Tensor | None = None
    ) -> Tensor:
        """Return the logits after every step: means over steps 1..t, ``[T, B, classes]`` float64.

        Args:
            x: normalised samples, as for :meth:`forward`.
            timesteps: T; the one it was made for by default.
            samples: numbers of the samples ``[B]``, which spike confidence draws by; 0, 1, ... by
                default.

        Raises:
            UsageError: its neurons can't run for this T.
        """
        T = self.timesteps if timesteps is None else timesteps
        if T < 1:
            raise UsageError("the network can't run", f"timesteps={T}", "give 1 step or more")
        if self.fixed and self.timesteps != T:
            raise UsageError(
                f"the network can't run for T = {T} steps",
                f"it was made for T = {self.timesteps} alone",
                f"drop timesteps, or make it again for T = {T}",
            )
        if samples is None:
            samples = torch.arange(len(x), device=x.device)
        x = self.shown(x, T)
        state, total, averages = None, None, []
        chunk = self.chunk if self.causal else T
        for start in range(0, T, chunk):
            currents, state = self.steps(x, min(chunk, T - start), state, samples)
            for t, current in enumerate(currents.double(), start=start + 1):
                total = current if total is None else total + current
                averages.append(total / t)
        return torch.stack(averages)

    def forward(
        self,
        x: Tensor,
        timesteps: int | None = None,
        every_step: bool = False,
        samples: Tensor | None = None,
    ) -> Tensor:
        """Compute logits.

        Args:
            x: normalised samples ``[B, *input]``, as the network that was converted takes them; see
                :meth:`normalise` for raw ones.
            timesteps: T; the one it was made for by default.
            every_step: whether the logits after every step are wanted.
            samples: numbers of the samples ``[B]``, which spike confidence draws by; 0, 1, ... by
                default.

        Returns:
            ``[B, classes]`` after T steps, or ``[T, B, classes]`` after each step, in the type of
            the weights.

        Raises:
            UsageError: its neurons can't run for this T, or x has another shape.
        """
        averages = self.averages(x, timesteps, samples).to(self.dtype)
        return averages if every_step else averages[-1]

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return next(self.parameters()).dtype

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run one step; return the last layer's currents ``[B, classes]``, and the state after it.

        Args:
            x: normalised samples at this step, ``[B, *input]``.
            state: the state that the step before returned; None at the start. It is not changed.

        Raises:
            UsageError: its neurons need all steps at once.
        """
        if not self.causal:
            raise UsageError(
                "the network can't run one step at a time",
                "neurons that need all T steps at once",
                "convert to neurons that stream, or reparameterize with vanilla",
            )
        self.check(x)
        samples = torch.arange(len(x), device=x.device)
        currents, state = self.steps(x[None], 1, state, samples)
        return currents[0], state

    def stream(self) -> "Stream":
        """Start a stream, which runs one step at a time for an input without an end."""
        return Stream(self)


class FramesModule(SpikingModule):
    """A spiking network for samples of several frames, of which each step shows one.

    Args:
        frames: F, the frames of a sample.
        hold: for how many steps each frame is shown.
        given: the arguments of :class:`SpikingModule`.
    """

    def __init__(self, *, frames: int, hold: int, **given: Any) -> None:
        super().__init__(**given)
        self.frames = frames
        self.hold = hold

    def shown(self, x: Tensor, timesteps: int) -> Tensor:
        """Return the frames to show in turn, ``[B, F, *input] -> [f, B, *input]``."""
        self.check(x, axes=2)
        return frames_in_turn(x, self.frames, timesteps, self.hold)


class Stream:
    """A network that runs one step after another.

    Attributes:
        network: the network.
        state: the state of the network after the last step; None before the first.
        total: the sum of the currents so far, ``[B, classes]`` float64.
        steps: how many steps are done.
    """

    def __init__(self, network: SpikingModule) -> None:
        self.network = network
        self.restart()

    def restart(self) -> None:
        """Forget all steps."""
        self.state: Any = None
        self.total: Tensor | None = None
        self.steps = 0

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Run a step with normalised samples ``[B, *input]``; return the logits, ``[B, classes]``.

        Raises:
            UsageError: its neurons need all steps at once, or B is not that of the steps before.
        """
        if self.total is not None and len(x) != len(self.total):
            raise UsageError(
                f"the stream can't go on with {len(x)} samples",
                f"{len(self.total)} samples at the steps before",
                "give as many, or start again: stream.restart()",
            )
        current, self.state = self.network.step(x, self.state)
        self.total = current.double() if self.total is None else self.total + current.double()
        self.steps += 1
        return (self.total / self.steps).to(self.network.dtype)

    def state_dict(self) -> dict[str, Any]:
        """Return everything the next step depends on: tensors and numbers, for ``torch.save``."""
        return {"steps": self.steps, "total": self.total, "state": pytree.tree_leaves(self.state)}

    @torch.no_grad()
    def load_state_dict(self, kept: Mapping[str, Any]) -> None:
        """Go on where the :meth:`state_dict` of a stream of the same network was taken.

        Raises:
            UsageError: it is of another network.
        """
        self.restart()
        if (total := kept["total"]) is None:
            return
        x = torch.zeros(len(total), *self.network.input_shape, device=total.device)
        _, example = self.network.step(x.to(self.network.dtype))
        leaves, form = pytree.tree_flatten(example)
        if [_form(leaf) for leaf in leaves] != [_form(leaf) for leaf in kept["state"]]:
            raise UsageError(
                "the stream can't be loaded",
                "a state of another network",
                "load it into a stream of the network that it was saved from",
            )
        self.state = pytree.tree_unflatten(kept["state"], form)
        self.total, self.steps = total, kept["steps"]


def _form(leaf: Any) -> Any:
    """Return what a part of a state has in common with that of another step."""
    return leaf.shape if isinstance(leaf, Tensor) else type(leaf)
