"""The arguments of an API function as the configuration of its stage."""

from collections.abc import Mapping
from typing import Any, TypeVar

from snnconv.config import StageConfig
from snnconv.core.validation import parameters
from snnconv.data.objects.held import hold
from snnconv.errors import UsageError

DATA = ("data", "calibration_data")
"""Options that name data, in whose place a function takes an object that has them."""

ConfigType = TypeVar("ConfigType", bound=StageConfig)


def config_of(
    model: type[ConfigType], stage: str, config: object, options: Mapping[str, Any]
) -> ConfigType:
    """Return the options of a stage; the keywords override those of the config object."""
    if config is not None and not isinstance(config, model):
        raise UsageError(
            f"stage '{stage}' can't take this config",
            f"a {type(config).__name__}",
            f"give a snnconv.{model.__name__}",
        )
    names = config.model_fields_set if config else ()
    given = {name: getattr(config, name) for name in names}
    given |= {name: value for name, value in options.items() if value is not None}
    for name in DATA:
        if not isinstance(given.get(name, ""), str):
            given[name] = hold(given[name])
    return parameters(model, given, f"stage '{stage}'", "option")
