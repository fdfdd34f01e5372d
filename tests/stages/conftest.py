"""One small run through all stages, shared; nobody writes into it."""

import pytest
from helpers import runs


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run folder, and the report of each stage."""
    return runs.everything(tmp_path_factory.mktemp("run"))
