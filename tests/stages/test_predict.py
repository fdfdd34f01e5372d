"""``snnconv predict``: a row a sample, right in every column."""

import csv
import json

import pytest
import torch
from helpers.commands import done, files, here

import snnconv
from snnconv.data.dataset import load_dataset, normalise
from snnconv.errors import ExitCode


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    run = tmp_path_factory.mktemp("predicted")
    done("calibrate", "--samples", "100", "--run", run)
    done("convert", "--timesteps", "4", "--run", run)
    return run


def rows(file):
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


@pytest.mark.parametrize("split", ["test", "train"])
def test_the_table_says_what_the_network_says(folder, tmp_path, split):
    out = tmp_path / "found.csv"
    words = ("predict", "--run", folder, "--limit", "30", "--split", split, "--out", out)
    report = json.loads(done(*words, "--json").out)
    table, data = rows(out), load_dataset("digits")
    part = getattr(data, split)
    indices = torch.tensor([int(row["sample"]) for row in table])
    assert indices.tolist() == sorted(set(indices.tolist()))
    assert [row["label"] for row in table] == [data.info.classes[k] for k in part.labels[indices]]
    snn = snnconv.load_network(folder / "converted.safetensors")
    with torch.no_grad():
        logits = snn(normalise(part.images(indices), data.info))
    written = torch.tensor([[float(row[f"logit {c}"]) for c in data.info.classes] for row in table])
    torch.testing.assert_close(written, logits, rtol=1e-5, atol=1e-5)
    assert [row["prediction"] for row in table] == [
        data.info.classes[k] for k in written.argmax(1).tolist()
    ]
    right = sum(row["label"] == row["prediction"] for row in table) / 30
    assert report["accuracy"] == pytest.approx(right)
    assert (report["split"], report["samples"], report["timesteps"]) == (split, 30, 4)
    assert json.loads(out.with_suffix(".json").read_text())["stage"] == "predict"


def test_batches_and_chunks_change_no_row(folder, tmp_path):
    tables = []
    for k, how in enumerate([(), ("--batch-size", "7"), ("--chunk", "1")]):
        out = tmp_path / f"{k}.csv"
        done("predict", "--run", folder, "--limit", "20", "--out", out, *how)
        tables.append([(row["sample"], row["prediction"]) for row in rows(out)])
    assert tables[0] == tables[1] == tables[2]


def test_a_file_that_is_kept(folder, tmp_path):
    out = tmp_path / "mine.csv"
    out.write_text("mine\n")
    before = files(tmp_path)
    result = here("predict", "--run", folder, "--limit", "5", "--out", out)
    assert result.code == ExitCode.USAGE
    assert "mine.csv would be lost" in result.err
    assert files(tmp_path) == before
    out.unlink()
    for _ in range(2):  # its own it may replace
        done("predict", "--run", folder, "--limit", "5", "--out", out)
    assert len(rows(out)) == 5
    assert here("predict", "--run", folder, "--out", "a.txt").code == ExitCode.USAGE
