"""``python -m snnconv``."""

from snnconv.cli import main

main()
