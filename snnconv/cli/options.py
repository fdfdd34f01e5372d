"""The fields of a configuration as options of a command: name, help, default, panel, completion.

Values reach the configuration as text. So only the configuration reads them and refuses them.
"""

import inspect
import types
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from rich.markup import escape

from snnconv import config as configs
from snnconv.core.registry import REGISTRIES
from snnconv.core.validation import checked, choices, parse_pairs, spelled

OUTPUT = "Output"
_PANELS = {"run": OUTPUT, "out": OUTPUT}
_LAST = ("Data", "Model", "Training", "Simulation", OUTPUT, "Common")
RUN_VARIABLE = "SNNCONV_RUN"
"""The environment variable that names a run folder, as ``--run`` does."""


def _talking(*names: str, means: str) -> Any:
    return typer.Option(*names, help=means, metavar="", rich_help_panel=OUTPUT)


_JSON = "print the report or the error as JSON on stdout, and the rest on stderr"
AsJson = Annotated[bool, _talking("--json", means=_JSON)]
IsQuiet = Annotated[bool, _talking("-q", "--quiet", means="print only errors and JSON")]
IsVerbose = Annotated[
    bool, _talking("-v", "--verbose", means="also print options, files and versions")
]
Debug = Annotated[bool, _talking("--debug", means="show the traceback of an error")]
TALK: dict[str, Any] = {"as_json": AsJson, "quiet": IsQuiet, "verbose": IsVerbose, "debug": Debug}
"""How a command talks: options of every command."""


def signature(model: type[configs.StageConfig]) -> inspect.Signature:
    """Return the options of a configuration, panel by panel, and those on how to talk."""
    fields = sorted(model.model_fields.items(), key=lambda item: _order(panel(model, item[0])))
    context = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    parameters = [context, *(_parameter(model, name, field) for name, field in fields)]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in TALK.items()
    ]
    return inspect.Signature(parameters)


def given(context: typer.Context) -> set[str]:
    """Return the options that the user gave, on the command line or in the environment."""
    found = set()
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP"):
            found.add(name)
    return found


def build(
    model: type[configs.StageConfig], options: dict[str, Any], named: Set[str] | None = None
) -> configs.StageConfig:
    """Return the configuration of a stage from what the command line gave.

    Args:
        model: the class of the configuration.
        options: all options, as Typer gives them.
        named: the options that the user gave, on which the defaults of others may depend. All by
            default.

    Raises:
        UsageError: a value is out of its range.
    """
    if named is not None:
        options = {name: value for name, value in options.items() if name in named}
    values = {
        name: parse_pairs(value) if model.model_fields[name].annotation == dict[str, Any] else value
        for name, value in options.items()
    }
    given = spelled(model, values)
    return checked(model, given, lambda name: f"option {flag(name)}", "these options")


def flag(name: str) -> str:
    """Return how a field is spelled on the command line."""
    return f"--{name.replace('_', '-')}"


def panel(model: type[configs.StageConfig], name: str) -> str:
    """Return the heading of an option in the help: that of the class that defines it."""
    if name in _PANELS:
        return _PANELS[name]
    owners = [owner for owner in model.__mro__ if name in getattr(owner, "model_fields", {})]
    found: str = getattr(owners[-1], "panel", model.panel)
    return found


def _order(title: str) -> int:
    return _LAST.index(title) if title in _LAST else -1


def _parameter(model: type[configs.StageConfig], name: str, field: FieldInfo) -> inspect.Parameter:
    kind, default = _kind(field)
    info: Any = {
        "help": escape(field.description or ""),
        "rich_help_panel": panel(model, name),
        "autocompletion": completion(field),
    }
    if field.json_schema_extra == configs.ARGUMENT:
        info = typer.Argument(**info | {"rich_help_panel": None}, metavar=name.upper())
    else:
        variable = RUN_VARIABLE if name == "run" else None
        info = typer.Option(flag(name), **info, metavar=_metavar(field), envvar=variable)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info]
    )


def _types(field: FieldInfo) -> tuple[Any, ...]:
    """Return the types that a field may have, without None."""
    kind: Any = field.annotation
    united = get_origin(kind) in (Union, types.UnionType)
    return tuple(k for k in (get_args(kind) if united else (kind,)) if k is not type(None))


def _kind(field: FieldInfo) -> tuple[Any, Any]:
    """Return the type and the default for Typer, which knows flags, texts and lists of texts."""
    (kind, *_), default = _types(field), field.default
    if kind is bool:
        return bool, default
    if kind == dict[str, Any]:
        return list[str], []
    if get_origin(kind) is tuple:
        return list[str], [str(one) for one in default]
    return (str | None, None) if default is None else (str, str(default))


def _metavar(field: FieldInfo) -> str:
    (kind, *_) = _types(field)
    if named := choices(field):
        return "|".join(named)
    if kind is bool:
        return ""
    if kind == dict[str, Any]:
        return "NAME=VALUE"
    if isinstance(field.json_schema_extra, dict) and "registry" in field.json_schema_extra:
        return "NAME"
    return {int: "N", float: "X", Path: "PATH", tuple[float, ...]: "X,..."}.get(kind, "TEXT")


def completion(field: FieldInfo) -> Callable[[str], Sequence[str]] | None:
    """Return the known names that start with a word; files, if the option takes no names."""
    extra = field.json_schema_extra
    registry = REGISTRIES.get(str(extra.get("registry"))) if isinstance(extra, dict) else None
    fixed = choices(field)
    if not registry and not fixed:
        return None

    def complete(incomplete: str) -> list[str]:
        names = registry.names() if registry else fixed
        return [name for name in names if name.startswith(incomplete.lower())]

    return complete
