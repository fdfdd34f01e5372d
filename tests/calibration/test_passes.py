"""A calibration whose histograms do not fit into its memory: several passes give the same bytes."""

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from helpers.runs import calibrating
from torch import nn

from snnconv.calibration.calibrate import Method, calibrate, planned
from snnconv.calibration.histogram import STATISTICS
from snnconv.calibration.memory import CalibrationPlan
from snnconv.checkpoint import encoded
from snnconv.config import CalibrateConfig
from snnconv.core.metadata import DataInfo
from snnconv.core.progress import Quiet
from snnconv.data.dataset import Drawn
from snnconv.errors import UnsupportedError, UsageError
from snnconv.frontends.open import from_module
from snnconv.stages import calibrate as stage

INFO = DataInfo(spec="images", shape=(1, 6, 6), classes=(), mean=(0.0,), std=(1.0,), task="none")
KIB = 2**10
CPU = torch.device("cpu")


def network(dead=False):
    """Sites of 4 and 4 channels, the sides of one bend, and of 4 and 6; the first is silent.

    Sums are exact in float32 in any order, for weights are halves.
    """
    module = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.LeakyReLU(0.5), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 2)),
    )
    torch.manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.randint(-2, 3, parameter.shape) / 2
    for parameter in module[0].parameters():  # one side of the bend is never reached
        parameter.data = parameter.abs()
    if dead:
        module[2].weight.data, module[2].bias.data = torch.zeros(4, 4, 3, 3), -torch.ones(4)
    return from_module(module.eval(), INFO).network


def images(n=20, wide=False):
    torch.manual_seed(1)
    found = torch.randint(0, 9, (n, *INFO.shape)) / 4
    return found * 10.0 ** torch.randint(-12, 1, (n, 1, 1, 1)) if wide else found


def method(name="mse"):
    statistic = STATISTICS.load(name)
    return Method(name, statistic, statistic.params(), "channel")


def drawn(x, batch=7):
    return [Drawn(torch.zeros(0, dtype=torch.int64), part, None) for part in x.split(batch)]


def done(ann, x, memory=None, batch=7, how=None):
    """The bytes of the checkpoint, and the passes."""
    plan, passes = None if memory is None else CalibrationPlan(memory, batch, 0), []
    made = calibrate(
        ann, how or method(), partial(drawn, x, batch), CPU, plan=plan, told=passes.append
    )
    return b"".join(encoded(made, Path("calibrated.safetensors"))), passes


@pytest.mark.parametrize(("memory", "passes"), [(2000, 1), (600, 2), (480, 3)])
@pytest.mark.parametrize("name", ["mse", "max", "percentile"])
def test_passes_change_no_byte(name, memory, passes):
    ann, x = network(), images()
    once, _ = done(ann, x, how=method(name))
    found, made = done(ann, x, memory * KIB, how=method(name))
    assert len(made) == passes
    assert found == once
    assert sorted(site for each in made for site in each.counted) == sorted(
        site.name for site in ann.graph.sites
    )
    assert made[-1].waiting == 0


def test_neither_batches_nor_ranges_that_grow_change_a_byte():
    ann = network()
    once, first = done(ann, images())
    assert done(ann, images(), 480 * KIB, batch=1)[0] == once
    wide = images(wide=True)  # histograms grow while they are filled, so that some are postponed
    once, one = done(ann, wide)
    found, made = done(ann, wide, 900 * KIB)
    assert found == once
    assert one[0].histograms > 900 * KIB > first[0].histograms
    assert len(made) > 1


def test_dead_sites_are_all_named_whatever_the_pass():
    ann = network(dead=True)
    for memory in (None, 480 * KIB):
        with pytest.raises(UnsupportedError) as caught:
            done(ann, images(), memory)
        assert caught.value.found.endswith("at 3")


def test_what_does_not_fit_is_refused_and_the_remedy_helps():
    ann, how = network(), method()
    for memory in (1, 500 * KIB):
        with pytest.raises(UsageError, match="granularity layer") as caught:
            planned(ann, how, 100, memory)
        enough = int(re.search(r"--memory (\d+)MiB", caught.value.remedy)[1]) * 2**20
        plan = planned(ann, how, 100, enough)
        calibrate(ann, how, partial(drawn, images(wide=True)), CPU, plan=plan)
    with pytest.raises(UsageError, match="histograms of sites"):  # found while it counts
        done(ann, images(wide=True), 450 * KIB)


def test_data_that_change_are_refused():
    each = iter([images(), 2 * images()])
    with pytest.raises(UnsupportedError, match="whenever they are read"):
        calibrate(
            network(), method(), lambda: drawn(next(each)), CPU,
            plan=CalibrationPlan(600 * KIB, 7, 0),
        )  # fmt: skip


class Heard(Quiet):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def test_the_stage_says_why_and_writes_the_same_bytes(tmp_path):
    much = calibrating(tmp_path / "much", samples=40)
    heard = Heard()
    given = {"memory": "25MiB", "samples": 40, "run": tmp_path / "little"}
    little = stage.run(CalibrateConfig(**given), heard)
    assert (much.passes, little.memory_bound_mib) == (1, 25)
    assert little.passes > 1
    assert any("further passes" in line for line in heard.lines)
    found = [tmp_path / run / "calibrated.safetensors" for run in ("much", "little")]
    assert found[0].read_bytes() == found[1].read_bytes()
    with pytest.raises(UsageError, match="does not fit") as caught:
        calibrating(tmp_path, memory="1MiB")
    enough = re.search(r"--memory (\w+)", caught.value.remedy)[1]
    assert calibrating(tmp_path, memory=enough, samples=40).passes >= 1


WIDE = """
import torch
from torch import nn


def net():
    torch.manual_seed(0)
    wide = [layer for _ in range(4) for layer in (nn.Linear(2048, 2048), nn.ReLU())]
    layers = [nn.Flatten(), nn.Linear(64, 2048), nn.ReLU(), *wide, nn.Linear(2048, 10)]
    return nn.Sequential(*layers)
"""


@pytest.mark.long
@pytest.mark.compiled
def test_a_process_keeps_its_bound(tmp_path):
    """The histograms of five layers take 500 MiB, and their bins move and widen on the way."""
    (tmp_path / "net.py").write_text(WIDE)
    command = ["calibrate", "net.py:net", "--samples", "400", "--batch-size", "50", "--json"]
    run = subprocess.run(
        [sys.executable, "-m", "snnconv", *command, "--memory", "448MiB"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(run.stdout)
    assert report["passes"] > 1
    assert report["histograms_mib"] > report["memory_bound_mib"]
    assert "above its bound" not in run.stderr
