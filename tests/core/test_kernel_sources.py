"""Compiled code on disk belongs to the sources it was compiled from, those of helpers too."""

import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest

import snnconv
from snnconv.core import kernel_sources
from snnconv.core.kernel_sources import digest
from snnconv.engine import rows
from snnconv.engine.event_conv import bits, gather, scatter
from snnconv.engine.neurons import scan, tuples
from snnconv.neurons import exact_math_scalar, if_, msat
from snnconv.neurons.if_ import IF
from snnconv.neurons.msat import MSAT

ROOT = Path(snnconv.__file__).parent
SOFTPLUS = """
import numpy as np
from snnconv.neurons.exact_math_kernel import softplus_all
out = np.zeros(2, np.float32)
softplus_all(np.zeros(2, np.float32), out)
print(out[0])
"""
KERNEL = """
import numpy as np
from snnconv.core.jit import compiled
from helper import add
@compiled
def kernel(out: np.ndarray) -> None:
    out[0] = add(out[0])
out = np.zeros(1, np.float32)
kernel(out)
"""
HELPER = """
from snnconv.core.jit import inlined
from constants import TWO
@inlined
def add(x):
    return x + TWO
"""


def test_an_edit_of_a_helper_or_of_its_constant_is_seen_with_a_warm_cache(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    parts = {"kernel": KERNEL, "helper": HELPER, "constants": "TWO = 2\n"}
    for name, text in parts.items():
        (tmp_path / f"{name}.py").write_text(text)

    def result():
        """As a new process has it: every module read anew."""
        kernel_sources.content_of.cache_clear()
        importlib.invalidate_caches()
        for name in parts:
            monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module("kernel").out[0]

    def kept():
        return {file: file.read_bytes() for file in tmp_path.rglob("*.nb?")}

    assert result() == 2
    first = kept()
    assert len(first) == 2
    assert result() == 2
    assert kept() == first  # it was loaded
    (tmp_path / "helper.py").write_text(HELPER.replace("x +", "x -"))
    assert result() == -2
    (tmp_path / "constants.py").write_text("TWO = 3\n")
    assert result() == -3
    assert kept().keys() == first.keys()  # nothing piles up


@pytest.mark.long
def test_a_broken_kernel_of_the_package_is_seen_with_a_warm_cache(tmp_path):
    """In a copy of the package: the constants of a series that kernels take over by value."""
    shutil.copytree(ROOT, tmp_path / "snnconv", ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}

    def result():
        command = [sys.executable, "-B", "-c", SOFTPLUS]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return float(done.stdout)

    before = result()
    assert before == pytest.approx(np.log(2))
    series = tmp_path / "snnconv/neurons/exact_math_series.py"
    series.write_text(series.read_text().replace("1 / (2 * k + 1)", "1 / (2 * k + 3)"))
    assert result() != pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("kernel", "helpers"),
    [
        (scan.forward(IF), [bits, rows, scan, if_, tuples]),
        (scan.forward(MSAT), [exact_math_scalar, msat, tuples]),
        (gather.gather, [bits]),
        (scatter.scatter, [bits, rows]),
    ],
)
def test_a_digest_covers_the_files_of_helpers(kernel, helpers):
    before = digest(kernel)
    assert digest(kernel) == before
    for helper in helpers:

        def edited(file, helper=helper):
            return "edited" if file == helper.__file__ else kernel_sources.content_of(file)

        assert digest(kernel, edited) != before, helper


def test_constants_count_wherever_they_come_from():
    """In the module, in what a function closes over, and in the module of a helper."""

    def helping(constant):
        source = FunctionType(twice.__code__, {"FACTOR": constant, "__name__": __name__})
        return FunctionType(helped.__code__, {"twice": source, "__name__": __name__})

    def closing(constant):
        return lambda x: constant * x

    for made in (helping, closing):
        assert digest(made(2)) == digest(made(2)) != digest(made(3)), made


def twice(x):
    return FACTOR * x  # noqa: F821 - of the globals that a test gives


def helped(x):
    return twice(x)


def test_only_one_module_compiles():
    """So that nothing that is kept on disk lacks a digest."""
    found = [
        module.name
        for module in pkgutil.walk_packages([str(ROOT)], "snnconv.")
        if (spec := module.module_finder.find_spec(module.name, None))
        and "cache=True" in Path(spec.origin).read_text(encoding="utf-8")
    ]
    assert found == ["snnconv.core.jit"]
