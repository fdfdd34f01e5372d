"""What a function of the API was given, as the configuration of its stage."""

from collections.abc import Mapping
from typing import Any, TypeVar

from snnconv.config import StageConfig
from snnconv.core.validation import parameters
from snnconv.errors import UsageError

ConfigType = TypeVar("ConfigType", bound=StageConfig)


def config_of(
    model: type[ConfigType], stage: str, config: object, options: Mapping[str, Any]
) -> ConfigType:
    """The options of a stage: those that are given, over those of a config object."""
    if config is not None and not isinstance(config, model):
        raise UsageError(
            f"stage '{stage}' can't take this config",
            f"a {type(config).__name__}",
            f"give a snnconv.{model.__name__}",
        )
    names = config.model_fields_set if config else ()
    given = {name: getattr(config, name) for name in names}
    given |= {name: value for name, value in options.items() if value is not None}
    return parameters(model, given, f"stage '{stage}'", "option")
