"""Every test: seeded, deterministic, warnings are errors, no network, long ones only when asked."""

import os
import socket
import sys

# workers run side by side: threads of their own would only wait for one another
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

# a check that several tests share tells what it has found, as a test does
pytest.register_assert_rewrite("helpers")

# the same examples at every run: what lands must not depend on luck. To look for more:
# HYPOTHESIS_PROFILE=explore python -m pytest
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="run the tests marked long, too")
    parser.addoption("--without-numba", action="store_true", help="as where numba isn't installed")


def pytest_configure(config):
    if config.getoption("--without-numba"):
        sys.modules["numba"] = None  # an import of it fails


def pytest_collection_modifyitems(config, items):
    if config.getoption("--without-numba"):
        for item in items:
            if "compiled" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="asks for what only compiled code does"))
    if config.getoption("--long"):
        return
    left_out = [item for item in items if "long" in item.keywords]
    items[:] = [item for item in items if "long" not in item.keywords]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a test reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
