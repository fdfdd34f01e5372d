import shutil
from pathlib import Path

import pytest
from helpers.runs import evaluating, training

from snnconv.config import ReportConfig
from snnconv.errors import CheckpointError, UsageError
from snnconv.stages import report


def reporting(folder, **options):
    found = report.run(ReportConfig(run=folder, **options))
    return Path(found.html).read_text(encoding="utf-8")


def test_trainings_behind_the_evaluations_are_drawn(run, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "run")  # a report evaluates what is not yet
    page = reporting(folder, out=tmp_path / "report.html")
    assert "Training of ANN (mlp?width=0.25, relu)" in page
    assert "Fine-tuning of" in page
    assert 'id="training-accuracy"' in page


def test_a_training_that_no_evaluated_network_comes_from_is_not(run, tmp_path):
    evaluating(tmp_path, checkpoint=run.file("converted"), limit=5)
    training(tmp_path, epochs=1, limit=100)
    page = reporting(tmp_path)
    assert "Training of" not in page
    assert 'id="training-accuracy"' not in page


def test_a_training_that_can_not_be_read_is_an_error(run, tmp_path):
    evaluating(tmp_path, checkpoint=run.file("converted"), limit=5)
    (tmp_path / "train.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"train\.json can't be read"):
        reporting(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_page_that_would_be_lost_is_refused_before_anything_is_evaluated(run, tmp_path):
    shutil.copy(run.file("converted"), tmp_path / "converted.safetensors")
    page = tmp_path / "page.html"
    page.write_text("somebody's own")
    with pytest.raises(UsageError, match="would be lost"):
        reporting(tmp_path, out=page)
    assert not list(tmp_path.glob("evaluate*.json"))
