"""The command line. Signatures come from :mod:`snnconv.config`; only a stage imports torch."""

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from snnconv import config as configs
from snnconv.errors import ExitCode, SnnconvError, UsageError
from snnconv.render.terminal import Terminal
from snnconv.values import parse_pairs

app = typer.Typer(
    name="snnconv",
    help="Turn a trained neural network into a spiking one, and prove what was done.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_JSON = Annotated[bool, typer.Option("--json", help="report on stdout, everything else on stderr")]
_DEBUG = Annotated[bool, typer.Option("--debug", help="show the traceback of an error")]


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    """A configuration's field as a parameter that Typer understands."""
    kind: Any = field.annotation
    default: Any = field.default
    metavar = None
    if kind == dict[str, Any]:
        kind, default, metavar = list[str], [], "NAME=VALUE"
    elif kind in (tuple[str, ...], tuple[Path, ...]):
        kind, default = list[kind.__args__[0]], list(default)
    info: Any
    if field.json_schema_extra == configs.ARGUMENT:
        info = typer.Argument(help=field.description, metavar=name.upper())
    else:
        info = typer.Option(f"--{name.replace('_', '-')}", help=field.description, metavar=metavar)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info]
    )


def build(model: type[configs.StageConfig], options: dict[str, Any]) -> configs.StageConfig:
    """A stage's configuration from what the command line gave.

    Raises:
        UsageError: a value out of its range.
    """
    given = {
        name: parse_pairs(value) if model.model_fields[name].annotation == dict[str, Any] else value
        for name, value in options.items()
    }
    try:
        return model(**given)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise UsageError(
            f"option {option} can't be taken",
            f"{first['input']!r}",
            f"{first['msg'][0].lower()}{first['msg'][1:]}",
        ) from error


def _guarded(action: Callable[[Terminal], BaseModel | None], as_json: bool, debug: bool) -> None:
    """Run a command: print its report, or its error; turn either into an exit code."""
    terminal = Terminal(as_json)
    try:
        report = action(terminal)
        if report is not None:
            terminal.show(report)
    except SnnconvError as error:
        if debug:
            raise
        terminal.error(error)
        raise typer.Exit(error.code) from error
    except KeyboardInterrupt as error:
        terminal.interrupted()
        raise typer.Exit(ExitCode.INTERRUPTED) from error


def _command(name: str, model: type[configs.StageConfig]) -> None:
    """Add a stage's command, with a signature made from its configuration."""

    def command(**options: Any) -> None:
        as_json, debug = options.pop("as_json"), options.pop("debug")

        def action(terminal: Terminal) -> BaseModel | None:
            config = build(model, options)
            stage = importlib.import_module(f"snnconv.stages.{name}")
            report: BaseModel | None = stage.run(config, terminal)
            return report

        _guarded(action, as_json, debug)

    parameters = [_parameter(key, field) for key, field in model.model_fields.items()]
    parameters += [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for key, kind in (("as_json", _JSON), ("debug", _DEBUG))
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__doc__ = model.__doc__
    app.command(name)(command)


for _name, _model in configs.STAGES.items():
    _command(_name, _model)


def main() -> None:
    """The entry point: exit codes as :class:`snnconv.errors.ExitCode` has them."""
    app()
