"""The command line. Signatures come from :mod:`snnconv.config`; only a stage imports torch."""

import importlib
import inspect
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from snnconv import config as configs
from snnconv.errors import ExitCode, SnnconvError, UsageError, guarding, said
from snnconv.progress import Progress, Quiet
from snnconv.render.terminal import Terminal
from snnconv.reports import Report
from snnconv.validated import refusal
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
        raise refusal(model, error, lambda name: f"option --{name.replace('_', '-')}") from error


def _guarded(action: Callable[[Progress], BaseModel], as_json: bool, debug: bool) -> None:
    """Run a command: print its report, or its error; turn either into an exit code."""
    terminal = Terminal(as_json)
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    try:
        with guarding(f"`{shlex.join(['snnconv', *sys.argv[1:]])}`"):
            report = action(terminal if first else Quiet())
            if first:
                _show(report, terminal)
    except SnnconvError as error:
        if debug:
            raise
        terminal.error(error)
        raise typer.Exit(error.code) from error
    except KeyboardInterrupt as error:
        terminal.interrupted()
        raise typer.Exit(ExitCode.INTERRUPTED) from error
    if isinstance(report, Report) and report.code():
        raise typer.Exit(report.code())


def _show(report: BaseModel, terminal: Terminal) -> None:
    """Print a report.

    Raises:
        UsageError: standard output takes no more.
    """
    try:
        terminal.show(report)
        sys.stdout.flush()
    except OSError as error:
        # or Python would try again at its end, and say so in a traceback
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UsageError(
            "the report can't be printed",
            f"standard output: {said(error)}",
            "send it to a place with room; the files that the command writes are whole",
        ) from error


def _signature(model: type[configs.StageConfig], command: Callable[..., None]) -> None:
    """Give a command the options of a configuration, and ``--json`` and ``--debug``."""
    parameters = [_parameter(key, field) for key, field in model.model_fields.items()]
    parameters += [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for key, kind in (("as_json", _JSON), ("debug", _DEBUG))
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__doc__ = model.__doc__


def _add(name: str, model: type[configs.StageConfig], where: str, function: str = "run") -> None:
    """Add the command of a configuration.

    Args:
        name: the command's.
        model: its options.
        where: the module that does it, imported when the command runs.
        function: its name there; takes the configuration and a terminal, gives a report.
    """

    def command(**options: Any) -> None:
        as_json, debug = options.pop("as_json"), options.pop("debug")

        def action(terminal: Progress) -> BaseModel:
            config = build(model, options)
            report: BaseModel = getattr(importlib.import_module(where), function)(config, terminal)
            return report

        _guarded(action, as_json, debug)

    _signature(model, command)
    app.command(name)(command)


for _name, _model in configs.STAGES.items():
    if _name == "report":
        _add("report", _model, "snnconv.pipeline", "report")
    else:
        _add(_name, _model, f"snnconv.stages.{_name}")
_add("inspect", configs.InspectConfig, "snnconv.stages.inspect")
_add("demo", configs.DemoConfig, "snnconv.pipeline", "demo")
_add("doctor", configs.DoctorConfig, "snnconv.stages.doctor")


@app.command("run")
def run_recipe(
    recipe: Annotated[Path, typer.Argument(help="TOML file: a table for each stage")],
    settings: Annotated[
        list[str], typer.Option("--set", metavar="STAGE.OPTION=VALUE", help="over the recipe")
    ] = [],  # noqa: B006 (Typer's way to say "none given")
    run: Annotated[Path | None, typer.Option(help="run folder")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of everything random")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ... or auto")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan only")] = False,
    as_json: _JSON = False,
    debug: _DEBUG = False,
) -> None:
    """Run a whole pipeline from a recipe, skipping stages whose inputs have not changed."""
    flags = {"run": run, "seed": seed, "device": device, "threads": threads}

    def action(terminal: Progress) -> BaseModel:
        from snnconv.pipeline import run_recipe

        return run_recipe(recipe, settings, flags, dry_run, terminal)

    _guarded(action, as_json, debug)


@app.command("ls")
def ls(
    room: Annotated[
        str, typer.Argument(help="models, datasets, neurons, statistics, metrics or operations")
    ],
    as_json: _JSON = False,
    debug: _DEBUG = False,
) -> None:
    """List what there is to choose from."""

    def action(terminal: Progress) -> BaseModel:
        from snnconv.listing import listing

        return listing(room)

    _guarded(action, as_json, debug)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("snnconv"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    pass


SPINS = "5000"  # as measured: from 1000 down the ANN suffers, from 20000 up events do


def main() -> None:
    """The entry point: exit codes as :class:`snnconv.errors.ExitCode` has them.

    Torch's own threads spin for milliseconds after each of its operations, on the cores that events
    and scans want: with two threads these took as long as with one. So they wait for a tenth of a
    millisecond here, in which the next dense operation comes, if one does; not at all, and an ANN
    takes twice as long. GNU's OpenMP reads it when torch is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    app()
