"""``python -m snnconv``, and the entry point of the ``snnconv`` command."""

from snnconv.core import interruption


def main() -> None:
    """Answer signals from the first moment on, then import the command line and run it."""
    interruption.at_start()
    from snnconv.cli import main as run

    run()


if __name__ == "__main__":
    main()
