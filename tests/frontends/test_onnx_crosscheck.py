"""Who checks an import, and what comes of it."""

import sys
from dataclasses import replace
from importlib.metadata import version

import pytest
import torch
from helpers.onnx_models import IMAGE, floats, node, proto, saved

from snnconv.config import DoctorConfig
from snnconv.errors import CheckFailedError, ExitCode, UnsupportedError
from snnconv.frontends.onnx import importer
from snnconv.frontends.onnx.crosscheck import at_hand, judge
from snnconv.frontends.onnx.file import read_model
from snnconv.frontends.onnx.importer import import_onnx
from snnconv.frontends.onnx.translate import translate
from snnconv.stages import doctor

NODES = [node("Conv", "x w", "c"), node("Relu", "c")]
WEIGHT = {"w": floats(4, 2, 3, 3)}


@pytest.fixture
def file(tmp_path):
    return saved(proto(NODES, WEIGHT), tmp_path)


def test_onnxruntime_where_it_is_installed(file):
    verdict = import_onnx(file, IMAGE).verdict
    assert verdict.referee == "onnxruntime"
    assert 0 <= verdict.difference < 1e-6 < verdict.tolerance


@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_the_reference_evaluator_where_it_is_not(tmp_path, batch, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    file = saved(proto(NODES, WEIGHT, batch=batch), tmp_path)
    verdict = import_onnx(file, IMAGE).verdict
    assert verdict.referee == "onnx.reference"
    assert 0 <= verdict.difference < 1e-5


def test_a_norm_that_the_reference_evaluator_gets_wrong(tmp_path, monkeypatch):
    """Its LRN goes over as many channels as there are samples."""
    file = saved(proto([node("LRN", "x", size=3)], shape=(6, 3, 3)), tmp_path)
    assert import_onnx(file, (6, 3, 3), analog=True).verdict.referee == "onnxruntime"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UnsupportedError, match=r"onnx.reference: .*samples for channels") as caught:
        import_onnx(file, (6, 3, 3), analog=True)
    assert "pip install '.[onnx]'" in caught.value.remedy


def test_who_is_at_hand(monkeypatch, tmp_path):
    def one_line():
        checks = doctor.run(DoctorConfig(run=tmp_path)).checks
        (found,) = [check.found for check in checks if check.name == "ONNX files" and check.ok]
        return found

    assert one_line() == f"compared with onnxruntime {version('onnxruntime')}"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert at_hand() == "onnx.reference"
    found = one_line()
    assert found.startswith("compared with onnx.reference (optional: install onnxruntime")


@pytest.mark.parametrize("installed", [True, False])
def test_another_function_is_an_error(file, installed, monkeypatch):
    if not installed:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    model = read_model(file)
    graph, tensors, ending = translate(model, IMAGE)
    judge(model, graph, tensors, ending)
    tensors["w"][0, 0, 0, 0] += 0.01
    with pytest.raises(CheckFailedError) as caught:
        judge(model, graph, tensors, ending)
    assert caught.value.code == ExitCode.CHECK_FAILED
    assert "of the largest (allowed 1e-04)" in caught.value.found


def test_another_size_is_an_error(file):
    model = read_model(file)
    graph, tensors, ending = translate(model, IMAGE)
    short = replace(graph, output="the Relu")
    judge(model, short, tensors, ending)  # as many numbers: a file may lack the flatten
    with pytest.raises(CheckFailedError, match="differ by inf"):
        judge(model, short, tensors, lambda got: got[:, :2])


def test_a_softmax_that_was_dropped_is_put_back(tmp_path):
    file = saved(proto([node("Softmax", "x", axis=1)], shape=(6,), flat=False), tmp_path)
    model = read_model(file)
    graph, tensors, ending = translate(model, (6,))
    assert judge(model, graph, tensors, ending).difference < 1e-6
    with pytest.raises(CheckFailedError):
        judge(model, graph, tensors, None)


def test_nobody_can_run_it(file, monkeypatch):
    monkeypatch.setattr(importer, "judge", lambda *args: pytest.fail("it was read"))
    broken = read_model(file)
    graph, tensors, ending = translate(broken, IMAGE)
    with pytest.raises(UnsupportedError) as caught:
        judge(replace(broken, input="nobody"), graph, tensors, ending)
    assert "onnxruntime: " in caught.value.found
    assert "onnx.reference: " in caught.value.found


def test_the_check_is_the_same_every_time(file):
    torch.manual_seed(1)
    first = import_onnx(file, IMAGE).verdict
    torch.manual_seed(2)
    assert import_onnx(file, IMAGE).verdict == first
