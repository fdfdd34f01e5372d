"""The command line. Signatures come from :mod:`snnconv.config`; only a stage imports torch."""

import importlib
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from snnconv import config as configs
from snnconv.cli.commands import Commands, error_report, spelling
from snnconv.cli.options import (
    RUN_VARIABLE,
    AsJson,
    Debug,
    IsQuiet,
    IsVerbose,
    build,
    given,
    signature,
)
from snnconv.core import interruption
from snnconv.core.progress import Progress, Quiet
from snnconv.errors import ExitCode, SnnconvError, guarding
from snnconv.render.terminal import Terminal
from snnconv.reports import Report

app = typer.Typer(
    name="snnconv",
    cls=Commands,
    help="Turn a trained neural network into a spiking one, and prove what was done.",
    epilog="Example: snnconv demo. Pages to read: snnconv docs",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": spelling},
)


class Talk:
    """How a command shows its progress, its report and its errors, according to its options.

    Args:
        run: the run folder that the user named. Remedies name it, too.
        options: the options of the command; those that say how it talks are taken out.
    """

    def __init__(self, run: str | None, options: dict[str, Any]) -> None:
        self.run = run
        self.debug: bool = options.pop("debug")
        self.quiet: bool = options.pop("quiet")
        first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
        self.first = first
        self.terminal = Terminal(options.pop("as_json"), options.pop("verbose"))

    @property
    def progress(self) -> Progress:
        """Return the reader of progress."""
        return self.terminal if self.first and not self.quiet else Quiet()

    def show(self, report: BaseModel) -> None:
        """Print a report, unless the user asked for silence."""
        if self.first and (self.terminal.as_json or not self.quiet):
            self.terminal.show(report)


def _at_work() -> None:
    """Prepare the process for a stage; the Python API leaves its host process alone."""
    from snnconv.core.runtime import keep_freed_memory

    interruption.at_work()
    keep_freed_memory()


def _guarded(action: Callable[[Progress], BaseModel], talk: Talk) -> None:
    """Run a command, print its report or its error, and end with its exit code."""
    try:
        with guarding(f"`{shlex.join(['snnconv', *sys.argv[1:]])}`"):
            report = action(talk.progress)
            talk.show(report)
    except (SnnconvError, KeyboardInterrupt) as error:
        if talk.debug and isinstance(error, SnnconvError):
            raise
        told = error_report(error, talk.run)
        talk.terminal.error(told)
        raise typer.Exit(told.code) from error
    if isinstance(report, Report) and report.code():
        raise typer.Exit(report.code())


def _add(name: str, model: type[configs.StageConfig], where: str, function: str = "run") -> None:
    """Add the command of a configuration.

    Args:
        name: the name of the command.
        model: the class of its options.
        where: the module of its function, which is imported when the command runs.
        function: the function's name. It takes the configuration and a terminal, and returns a
            report.
    """
    usual = str(model.model_fields["run"].default)

    def command(context: typer.Context, **options: Any) -> None:
        talk = Talk(options["run"] if options["run"] != usual else None, options)

        def action(progress: Progress) -> BaseModel:
            config = build(model, options, given(context))
            work = getattr(importlib.import_module(where), function)
            _at_work()
            report: BaseModel = work(config, progress)
            return report

        _guarded(action, talk)

    command.__signature__ = signature(model)  # type: ignore[attr-defined]
    command.__doc__ = model.__doc__
    app.command(name, epilog=f"Example: {model.example}")(command)


for _name, _model in configs.STAGES.items():
    if _name == "convert":  # it may search among methods, which stand above the stages
        _add(_name, _model, "snnconv.pipeline", _name)
    else:
        _add(_name, _model, f"snnconv.stages.{_name}")
_add("compare", configs.CompareConfig, "snnconv.pipeline", "compare")
_add("inspect", configs.InspectConfig, "snnconv.stages.inspect")
_add("demo", configs.DemoConfig, "snnconv.pipeline", "demo")
_add("doctor", configs.DoctorConfig, "snnconv.stages.doctor")


@app.command("run", epilog="Example: snnconv run recipe.toml --set convert.timesteps=32")
def run_recipe(
    recipe: Annotated[Path, typer.Argument(help="TOML file with a table for each stage")],
    settings: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="STAGE.OPTION=VALUE",
            help="option that overrides the recipe; repeat it for several",
        ),
    ] = [],  # noqa: B006 (Typer's way to say "none given")
    run: Annotated[
        str | None, typer.Option(help="run folder", metavar="PATH", envvar=RUN_VARIABLE)
    ] = None,
    seed: Annotated[
        str | None, typer.Option(help="seed of everything that is drawn at random", metavar="N")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, ... or auto", metavar="TEXT")
    ] = None,
    threads: Annotated[str | None, typer.Option(help="number of CPU threads", metavar="N")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="print the plan, and run nothing")
    ] = False,
    as_json: AsJson = False,
    quiet: IsQuiet = False,
    verbose: IsVerbose = False,
    debug: Debug = False,
) -> None:
    """Run a whole pipeline from a recipe, skipping stages whose inputs have not changed."""
    flags = {"run": run, "seed": seed, "device": device, "threads": threads}

    def action(progress: Progress) -> BaseModel:
        from snnconv.pipeline import run_recipe

        _at_work()
        return run_recipe(recipe, settings, flags, dry_run, progress)

    talk = {"as_json": as_json, "quiet": quiet, "verbose": verbose, "debug": debug}
    _guarded(action, Talk(run, talk))


@app.command("ls", epilog="Example: snnconv ls neurons")
def ls(
    room: Annotated[
        str,
        typer.Argument(
            help="models, datasets, neurons, surrogates, norms, losses, codings, statistics, "
            "corrections, metrics, tasks, exports, operations, presets (of compare), "
            "training-presets, targets (of fit) or runs"
        ),
    ],
    run: Annotated[
        Path, typer.Option(help="run folder, for `snnconv ls runs`", envvar="SNNCONV_RUN")
    ] = Path("snnconv-run"),
    as_json: AsJson = False,
    quiet: IsQuiet = False,
    verbose: IsVerbose = False,
    debug: Debug = False,
) -> None:
    """List what there is to choose from, or what is in a run folder."""

    def action(progress: Progress) -> BaseModel:
        if room.lower() == "runs":
            from snnconv.stages.runs import runs

            return runs(run)
        from snnconv.stages.listing import listing

        return listing(room)

    talk = {"as_json": as_json, "quiet": quiet, "verbose": verbose, "debug": debug}
    _guarded(action, Talk(None, talk))


@app.command("docs", epilog="Example: snnconv docs quickstart | less")
def docs(
    page: Annotated[
        str | None,
        typer.Argument(
            help="page, for example quickstart or guide/data; by default the list of pages"
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: IsQuiet = False,
    verbose: IsVerbose = False,
    debug: Debug = False,
) -> None:
    """Print a page of the documentation, as Markdown."""

    def action(progress: Progress) -> BaseModel:
        from snnconv.stages.listing import document, documents

        return documents() if page is None else document(page)

    talk = {"as_json": as_json, "quiet": quiet, "verbose": verbose, "debug": debug}
    _guarded(action, Talk(None, talk))


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("snnconv"))
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=_version, is_eager=True, help="print the version"
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(ExitCode.USAGE)


SPINS = "5000"  # as measured: from 1000 down the ANN suffers, from 20000 up events do


def main() -> None:
    """Run the command line; :class:`snnconv.errors.ExitCode` has the exit codes.

    After each operation, torch's own threads spin for milliseconds on the cores that events and
    scans need; two threads then took as long as one. So they spin for a tenth of a millisecond
    here. That is long enough for the next dense operation; without any spinning, an ANN takes twice
    as long. GNU's OpenMP reads the setting when torch is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    interruption.at_start()
    for name in ("stdout", "stderr"):  # a shell can close them (`>&-`)
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 (open to the end)
    app()
