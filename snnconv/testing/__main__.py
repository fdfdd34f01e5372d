"""``python -m snnconv.testing NAME ...``: ask methods for the laws of their kinds."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence

from snnconv.errors import ExitCode, SnnconvError
from snnconv.testing.run import KINDS, every_case


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each law, and return the exit code: 4 if a law does not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m snnconv.testing",
        description="Ask methods for the laws that snnconv's own obey: neurons, statistics, "
        "corrections, metrics, tasks, export formats and data sets.",
    )
    parser.add_argument(
        "methods",
        nargs="+",
        metavar="NAME",
        help="file.py:NAME, package.module:NAME, lm-ht, npz:FILE",
    )
    parser.add_argument("--kind", choices=KINDS, help="by default the one that the method fits")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", scratch)  # not the user's folder
        return _asked(options.methods, options.kind)


def _asked(methods: Sequence[str], kind: str | None) -> int:
    broken = 0
    try:
        for name in methods:
            print(name)
            for case in every_case(name, kind):
                if case.left_out:
                    print(f"  left out  {case}: {case.left_out}")
                    continue
                wrong = case.broken()
                broken += bool(wrong)
                print(f"  {'BROKEN' if wrong else 'holds':<8}  {case}")
                for line in (case.law.sentence, *wrong.splitlines()) if wrong else ():
                    print(f"            {line}")
    except SnnconvError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    if broken:
        print(f"{broken} law{'s' * (broken > 1)} broken", file=sys.stderr)
        return ExitCode.CHECK_FAILED
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
