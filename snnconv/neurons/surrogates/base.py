"""What a surrogate is: the step function of a spike, with a derivative to train by.

A spike ``H(v - V)``, 1 where ``v >= V``, has no derivative that is of use. In the backward pass a
surrogate stands for it: ``dH/dv = f(u)/V``, where ``u = (v - V)/V`` is the distance from the
threshold in units of the threshold. A surrogate is the function ``f``.

``f`` is stated twice: :meth:`Surrogate.derivative` of tensors, and ``derivative_at`` of one number,
which the engine compiles into the backward pass of neurons
(:mod:`snnconv.engine.neurons.scan_back`). A surrogate without ``derivative_at`` has neurons trained
by their own ``run``, which is slower.

Shape:
    Potentials and thresholds broadcast against each other.
"""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from snnconv.core.metadata import Parameters, SurrogateInfo
from snnconv.core.registry import REGISTRIES, Registry
from snnconv.core.validation import parameters

Shape = Annotated[float, Field(gt=0, le=1e6)]
"""The number that a derivative's width or steepness depends on."""


class Adapts(NamedTuple):
    """How a surrogate follows the finite differences of the loss, epoch by epoch.

    Attributes:
        step: by which its value may change.
        epsilon: by which weights change for a difference.
        weights: of the first layer, by which there are differences.
    """

    step: float
    epsilon: float
    weights: int


class SurrogateParams(Parameters):
    """Parameters of a surrogate; distances are in units of the threshold."""

    layers: dict[str, Shape] = Field(
        {}, description="the first parameter, for some layers: '{\"relu1\": 2}'"
    )


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(potential: Tensor, threshold: Tensor, surrogate: "Surrogate") -> Tensor:
        return (potential >= threshold).to(potential.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        potential, threshold, ctx.surrogate = inputs
        ctx.save_for_backward(potential, threshold)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None]:
        if not ctx.needs_input_grad[0]:
            return None, None, None
        return grad * ctx.surrogate.slope(*ctx.saved_tensors), None, None


class Surrogate(nn.Module, ABC):
    """A surrogate, for one layer of neurons.

    Args:
        value: of its first parameter, in this layer.
        params: all its parameters; what it needs of them is there by default.

    Attributes:
        shape: the parameter's name that ``layers`` may give for a layer of its own.
        derivative_at: ``f(u, numbers)`` of one number, plain code in ``np.float32`` for the
            compiler, numbers being those of :meth:`numbers`; none if there is no such code.
        adapts: how training changes the value; none if it does not.
    """

    params_type: ClassVar[type[SurrogateParams]]
    shape: ClassVar[str]
    derivative_at: ClassVar[Any] = None
    adapts: Adapts | None = None

    def __init__(self, value: float, params: SurrogateParams | None = None) -> None:
        super().__init__()
        self.value = value

    @abstractmethod
    def derivative(self, distance: Tensor) -> Tensor:
        """Return ``f(u)``, which is at least 0, for any shape."""

    def numbers(self) -> tuple[float, ...]:
        """Return what ``derivative_at`` has to know of the layer."""
        return (self.value,)

    def slope(self, potential: Tensor, threshold: Tensor) -> Tensor:
        """Return what stands for the derivative of a spike by the potential."""
        found = self.derivative((potential - threshold) / threshold)
        # an adaptive threshold may underflow to 0: the slope is 0 there, not 0/0
        return torch.where(threshold > 0, found / threshold, 0)

    def forward(self, potential: Tensor, threshold: Tensor) -> Tensor:
        """Return 1 where the potential has reached the threshold, else 0, in the potential's type.

        The threshold takes no gradient: an adaptive one is a detached function of the state.
        """
        fired: Tensor = _Spike.apply(potential, threshold, self)
        return fired


def _fault(found: object) -> str:
    """Say what is wrong with a surrogate from outside; empty if nothing is."""
    if not (isinstance(found, type) and issubclass(found, Surrogate)):
        return f"{found!r:.40}, which is no subclass of {__name__}.Surrogate"
    if missing := sorted(found.__abstractmethods__):
        return f"a class without {', '.join(missing)}"
    kind = getattr(found, "params_type", None)
    if not (isinstance(kind, type) and issubclass(kind, SurrogateParams)):
        return f"no params_type, a subclass of {__name__}.SurrogateParams"
    if getattr(found, "shape", None) not in kind.model_fields:
        return "no shape, the name of one of its parameters"
    return ""


SURROGATES: Registry[type[Surrogate]] = replace(REGISTRIES["surrogates"], fault=_fault)


def make_surrogate(info: SurrogateInfo, layer: str = "") -> Surrogate:
    """Return the surrogate of a layer, from what a checkpoint says of it."""
    kind = SURROGATES.recall(info.name)
    params = parameters(kind.params_type, info.params, f"surrogate '{info.name}'")
    return kind(params.layers.get(layer, getattr(params, kind.shape)), params)
