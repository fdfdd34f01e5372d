"""Programs that measure; torch's threads wait in them as under the command line."""

import os

from snnconv.cli import SPINS

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
