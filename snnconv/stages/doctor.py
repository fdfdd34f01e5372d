"""``snnconv doctor``: check the installation, and that neurons spike as they should."""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from snnconv.checkpoint import load
from snnconv.config import DoctorConfig
from snnconv.core.progress import Progress
from snnconv.data.dataset import load_dataset
from snnconv.data.split import count
from snnconv.engine.dispatch import compiled, fire
from snnconv.errors import SnnconvError
from snnconv.frontends.onnx import crosscheck
from snnconv.frontends.open import EMBEDDED
from snnconv.neurons.base import NEURONS
from snnconv.neurons.if_ import IF, Params
from snnconv.reports import Check, DoctorReport
from snnconv.stages.session import Session


def run(config: DoctorConfig, progress: Progress | None = None) -> DoctorReport:
    """Check the installation; nothing is written."""
    session = Session(config)
    checks = [
        _python(),
        Check(
            name="torch", ok=True, found=f"{torch.__version__}, {torch.get_num_threads()} threads"
        ),
        Check(name="GPU", ok=True, found=_gpu()),
        _compiled(),
        Check(name="ONNX files", ok=True, found=_referee()),
        _attempt("embedded network", _embedded, "install snnconv again"),
        _attempt("embedded data", _digits, "install snnconv again"),
        _attempt("fashion-mnist", _fashion, "", needed=False),
        _spikes(),
        _folder(config.run),
    ]
    return session.report(DoctorReport, [], [], checks=checks)


def _python() -> Check:
    found = ".".join(str(n) for n in sys.version_info[:3])
    return Check(
        name="Python",
        ok=sys.version_info >= (3, 11),
        found=found,
        remedy="install Python 3.11 or newer",
    )


def _gpu() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none, the CPU is used"


def _compiled() -> Check:
    kinds = (NEURONS.load(name) for name in NEURONS.own())
    fast = ", ".join(kind.__name__ for kind in kinds if compiled(kind, False))
    found = fast or "none: neurons run slowly (optional)"
    return Check(name="compiled neurons", ok=True, found=found, remedy="pip install numba")


def _referee() -> str:
    found = crosscheck.at_hand()
    hint = "" if found.startswith("onnxruntime") else f" (optional: {crosscheck.INSTALL})"
    return f"compared with {found}{hint}"


def _attempt(name: str, check: Callable[[], str], remedy: str, needed: bool = True) -> Check:
    try:
        return Check(name=name, ok=True, found=check())
    except SnnconvError as error:
        found = error.found if needed else "not here (optional)"
        return Check(name=name, ok=not needed, found=found, remedy=remedy or error.remedy)


def _embedded() -> str:
    checkpoint = load(EMBEDDED, ["ann"])
    return f"{len(checkpoint.graph.sites)} sites, made for {checkpoint.data.spec}"


def _digits() -> str:
    return f"digits, {count(load_dataset('digits').test)} test samples"


def _fashion() -> str:
    return f"{count(load_dataset('fashion-mnist').test)} test samples"


def _spikes() -> Check:
    """Return whether IF fires ``clip(floor((v0 + T*I)/theta), 0, T)`` times."""
    current = torch.arange(-8, 40) / 16
    neuron = IF(Params(v0=0.5), torch.ones(1))
    with torch.no_grad():
        output, _ = fire(neuron, current.expand(16, 1, -1), None, None)
    assert output.counts is not None
    wanted = torch.floor(0.5 + 16 * current).clamp(0, 16)
    wrong = int((output.counts.sum((0, 1)) != wanted).sum())
    return Check(
        name="IF spike counts",
        ok=wrong == 0,
        found=f"{wrong} of {len(current)} differ from the closed form",
        remedy="use another version of torch",
    )


def _folder(run: Path) -> Check:
    place = run if run.exists() else run.resolve().parent
    try:
        with tempfile.NamedTemporaryFile(dir=place):
            pass
    except OSError as error:
        return Check(
            name="run folder", ok=False, found=f"{place}: {error.strerror}", remedy="use --run DIR"
        )
    free = os.statvfs(place)
    room = free.f_bavail * free.f_frsize / 2**30
    return Check(name="run folder", ok=True, found=f"{place}, {room:.1f} GiB free")
