"""What one evaluation costs a reader: files that it enters, calls between the stage and a kernel.

A method is a file of its own (a metric, the neuron, the data set), and so is a kind of operation; a
reader enters as many of them as an evaluation and its network name. The bounds on everything else
are what holds today. They may fall, and must not rise. The page on the
architecture says why they are what they are.
"""

import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from helpers.runs import calibrating, converting, evaluating

import snnconv
from snnconv.core.registry import REGISTRIES
from snnconv.engine.dispatch import compiled
from snnconv.neurons.if_ import IF

PACKAGE = str(Path(snnconv.__file__).parent)
FIRST = "simulate.py:simulate"  # that the stage calls
FILES, DEPTH, SHAPES = 52, 8, 3


class Reader:
    """A profile function that follows calls of the package's own functions, as a reader would."""

    def __init__(self):
        self.files, self.calls, self.deepest, self.stack = set(), Counter(), [], []

    def __call__(self, frame, event, _):
        code = frame.f_code
        if event not in ("call", "return") or not code.co_filename.startswith(PACKAGE):
            return
        if event == "return":
            if self.stack:
                self.stack.pop()
            return
        name = f"{Path(code.co_filename).name}:{code.co_qualname}"
        self.files.add(code.co_filename)
        self.calls[name] += 1
        self.stack.append(name)
        if code.co_name.startswith("scan") and FIRST in self.stack:
            path = self.stack[self.stack.index(FIRST) :]
            self.deepest = max(self.deepest, path, key=len)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    calibrating(run, samples=50)
    converting(run, timesteps=3)
    found = Reader()
    for profile in (None, found):  # the first evaluation imports and compiles
        sys.setprofile(profile)
        try:
            evaluating(run, limit=10)
        finally:
            sys.setprofile(None)
    return found


def is_method(file):
    """Whether it is the file of a method or of operations: it assigns what its folder collects."""
    folder = ".".join(Path(file).relative_to(PACKAGE).parent.parts)
    names = [each.attribute for each in REGISTRIES.values() if each.package == folder]
    names += ["OPERATIONS"] * (folder == "graph.operations")
    text = Path(file).read_text(encoding="utf-8")
    return any(re.search(rf"^{name}\b.*=", text, re.M) for name in names)


def test_an_evaluation_enters_few_files_beside_its_methods(reader):
    methods = set(filter(is_method, reader.files))
    assert {"if_.py", "digits.py", "accuracy.py"} <= {Path(file).name for file in methods}
    others = reader.files - methods
    assert len(others) <= FILES, sorted(others)


@pytest.mark.compiled
def test_a_kernel_is_few_calls_from_the_stage(reader):
    if compiled(IF, learns=False) is None:
        pytest.skip("no compiled code here")
    assert 0 < len(reader.deepest) <= DEPTH, reader.deepest


def test_a_graph_is_analysed_once_and_no_tensor_is_copied_for_it(reader):
    assert reader.calls["network.py:shapes"] <= SHAPES  # of the file, and of the folded network
    assert reader.calls["network.py:Network.tensors"] == 0
