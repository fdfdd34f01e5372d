"""The group of commands: names in any case, and one style for every error."""

import re
import shlex
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from snnconv.config import STAGES
from snnconv.errors import Interrupted, SnnconvError, UsageError, did_you_mean
from snnconv.render.terminal import Terminal
from snnconv.reports import ErrorReport

_IN_A_RUN = re.compile(rf"\bsnnconv ({'|'.join([*STAGES, 'inspect'])})\b(?! --run)")


def spelling(name: str) -> str:
    """Return how a command or an option is declared, for any case and dashes of the user."""
    head = re.match("-*", name)
    dashes = head[0] if head else ""
    return dashes + name[len(dashes) :].lower().replace("_", "-")


def error_report(error: SnnconvError | KeyboardInterrupt, run: str | None = None) -> ErrorReport:
    """Return what is shown of an error, or of a signal that ended the command.

    Args:
        error: the exception. If a signal caused it, the signal is shown.
        run: the run folder that the user named. Commands in remedies keep it.
    """

    def kept(text: str) -> str:
        if run is None:
            return text
        return _IN_A_RUN.sub(lambda found: f"{found[0]} --run {shlex.quote(run)}", text)

    if (signalled := _signal_behind(error)) is not None:
        notes = "; ".join(getattr(signalled, "__notes__", ()))
        return ErrorReport(
            problem=f"interrupted by {signal.Signals(signalled.code - 128).name}",
            found="no file was left half written: each is the old one or the new one",
            remedy=kept(notes) or "run the command again",
            code=signalled.code,
        )
    assert isinstance(error, SnnconvError)
    return ErrorReport(
        problem=error.problem, found=kept(error.found), remedy=kept(error.remedy), code=error.code
    )


def _signal_behind(error: BaseException | None) -> Interrupted | None:
    """Return the signal behind an exception; foreign code may have raised another one for it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return error if isinstance(error, Interrupted) else Interrupted(signal.SIGINT)
        error = error.__cause__ or error.__context__
    return None


class Commands(TyperGroup):
    """Commands whose usage errors look like all others: the problem, what was found, what next."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the first word names.

        Raises:
            UsageError: there is no command of that name.
        """
        name = spelling(args[0])
        if name not in self.commands and not name.startswith("-"):
            if ctx.resilient_parsing:
                return None, None, args[1:]
            raise UsageError(
                "there is no command of that name",
                f"'{args[0]}'",
                did_you_mean(name, self.commands),
            )
        return super().resolve_command(ctx, args)

    def _called(self, words: Sequence[str]) -> str:
        """Return the program with the command that the user named, if one of the words is one."""
        named = [name for name in map(spelling, words) if name in self.commands]
        return " ".join([str(self.name), *named[:1]])

    def main(self, args: Sequence[str] | None = None, *given: Any, **options: Any) -> NoReturn:
        """Run the command line, and exit with its code."""
        words = sys.argv[1:] if args is None else list(args)
        try:
            options |= {"standalone_mode": False, "prog_name": self.name}
            code = super().main(words, *given, **options)
        except SnnconvError as error:
            if "--debug" in words:
                raise
            refused = error
        except typer.TyperException as error:
            refused = _usage(error, self._called(words))
        else:
            sys.exit(code or 0)
        Terminal("--json" in words).error(error_report(refused))
        sys.exit(refused.code)


def _usage(error: typer.TyperException, command: str) -> UsageError:
    """Return a usage error of Typer as one of ours."""
    context = getattr(error, "ctx", None)
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        known = {name for one in context.command.params for name in one.opts} if context else set()
        return UsageError(
            f"{command} has no such option",
            f"'{option}'",
            did_you_mean(option, {*known, "--help"}),
        )
    said = error.format_message().rstrip(".").replace("\n\t", " ")
    return UsageError(
        "the command line can't be read", said[:1].lower() + said[1:], f"see {command} --help"
    )
