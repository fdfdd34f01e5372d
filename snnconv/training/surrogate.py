"""The surrogate that the options of a training name."""

from collections.abc import Iterable

from snnconv.config.training import NeuronTrainingConfig
from snnconv.core.metadata import SurrogateInfo
from snnconv.core.validation import parameters
from snnconv.errors import UsageError, did_you_mean
from snnconv.neurons.surrogates.base import SURROGATES


def named_surrogate(config: NeuronTrainingConfig, sites: Iterable[str]) -> SurrogateInfo | None:
    """Return what the options name, its parameters complete; None if they name none.

    Args:
        config: the options.
        sites: the names of the network's sites.

    Raises:
        UsageError: there is no such surrogate, or it has no such parameters.
    """
    if config.surrogate is None:
        if config.surrogate_param:
            raise UsageError(
                "there is no surrogate to have a parameter",
                "--surrogate-param",
                "name one: --surrogate triangle (snnconv ls surrogates)",
            )
        return None
    kind, whose = SURROGATES.load(config.surrogate), f"surrogate '{config.surrogate}'"
    params = parameters(kind.params_type, config.surrogate_param, whose)
    for layer in params.layers:
        if layer not in (known := list(sites)):
            raise UsageError(
                f"parameter layers of {whose} names no layer of neurons",
                f"'{layer}'",
                did_you_mean(layer, known),
            )
    return SurrogateInfo(name=config.surrogate, params=params.model_dump())
