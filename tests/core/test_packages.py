"""Packages that only some work needs: the rest goes on without them."""

import re
import subprocess
import sys

import pytest

from snnconv.core.packages import imported, kernels
from snnconv.errors import UsageError

WITHOUT = '''
import sys
from importlib.machinery import PathFinder

class Without:
    """Files are found, but not those of these packages: as if they were not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torchvision", "onnx", "onnxruntime", "sklearn"):
            return None
        return PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Without() if each is PathFinder else each for each in sys.meta_path]
from snnconv.cli import main
for words in {lines!r}:
    sys.argv = ["snnconv", *words]
    try:
        main()
    except SystemExit as end:
        print('ended with', end.code)
'''


def run(*lines, folder):
    """Run commands one after the other, in a process of their own, which prints their codes."""
    code = WITHOUT.format(lines=lines)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_embedded_pipeline_needs_none_of_them(tmp_path):
    result = run(
        ["calibrate", "--samples", "64"],
        ["convert", "--timesteps", "4"],
        ["evaluate", "--limit", "20"],
        folder=tmp_path,
    )
    assert re.findall("ended with (.*)", result.stdout) == ["0"] * 3, result.stderr
    assert (tmp_path / "snnconv-run" / "evaluate.json").is_file()


def test_the_compiler_waits_until_it_is_needed():
    """Its import takes seconds."""
    stages = "calibrate", "convert", "evaluate", "export", "finetune", "report", "train"
    code = f"import sys, {', '.join(f'snnconv.stages.{stage}' for stage in stages)}; "
    code += "sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_needs_one_says_which(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"\x08\x07")
    asked = {
        "torchvision": ["inspect", "torchvision:resnet18"],
        "onnx": ["inspect", "net.onnx"],
    }
    result = run(*asked.values(), ["train", "--augment", "flip", "--epochs", "1"], folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.findall("ended with (.*)", result.stdout) == ["2"] * 3
    for package in asked:
        assert f"needs the package {package}" in result.stderr
        assert f"pip install --upgrade {package}" in result.stderr
    assert result.stderr.count("needs the package torchvision") == 2


def test_a_module_that_is_there():
    assert imported("json.decoder", "a test").JSONDecoder
    with pytest.raises(UsageError, match="a test needs the package nosuch") as caught:
        imported("nosuch.inner", "a test")
    assert caught.value.found == "ModuleNotFoundError: No module named 'nosuch'"


def test_a_package_that_does_not_fit_the_others(tmp_path, monkeypatch):
    """As a torchvision that was built for another torch."""
    (tmp_path / "misfit.py").write_text("raise RuntimeError('operator nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="needs the package misfit") as caught:
        imported("misfit", "a test")
    assert caught.value.found == "RuntimeError: operator nms does not exist"


@pytest.mark.compiled
def test_kernels_are_there_if_numba_is(monkeypatch):
    from snnconv.calibration import histogram_kernel

    assert kernels("snnconv.calibration.histogram_kernel") is histogram_kernel
    monkeypatch.delitem(sys.modules, "snnconv.neurons.exact_math_kernel", raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    kernels.cache_clear()
    monkeypatch.delitem(sys.modules, "snnconv.core.jit", raising=False)
    assert kernels("snnconv.neurons.exact_math_kernel") is None
    kernels.cache_clear()
