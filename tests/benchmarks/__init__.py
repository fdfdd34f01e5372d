"""Programs that measure; torch's threads wait in them as under the command line."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
