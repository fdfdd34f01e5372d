"""A part of a split is a stratified, seeded one: the same in every stage, and named."""

import hashlib

import numpy as np
import pytest
import torch
from helpers.runs import calibrating, converting, evaluating, finetuning, reparameterizing, training
from PIL import Image

from snnconv.checkpoint import load
from snnconv.data.dataset import load_dataset
from snnconv.data.split import subset
from snnconv.render.describe import describe
from snnconv.render.markdown import markdown
from snnconv.render.plain import plain

RESNET = """
import torch
from torch import nn
from snnconv.zoo.resnet import resnet20

def net():
    torch.manual_seed(0)
    made = resnet20(classes=5, channels=3, size=8, width=0.25)
    linear = [part for part in made.modules() if isinstance(part, nn.Linear)][-1]
    nn.init.zeros_(linear.weight)  # as good as: untrained, it has the same answer for all
    nn.init.zeros_(linear.bias)
    with torch.no_grad():
        linear.bias[0] = 1.0
    return made.eval()
"""


@pytest.fixture
def by_class(tmp_path):
    """Five classes of ten noisy images in folders, as ImageFolder sorts them."""
    noise = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in "abcde":
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for k in range(10):
                pixels = noise.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{k}.png")
    (tmp_path / "net.py").write_text(RESNET)
    return tmp_path


def test_a_random_network_on_a_folder_sorted_by_class_is_at_chance(by_class):
    """The first ten are all of class 0, which is what this network says to everything."""
    data = f"folder:{by_class / 'photos'}"
    calibrating(by_class, model=f"{by_class / 'net.py'}:net", data=data, samples=10)
    converting(by_class)
    report = evaluating(by_class, limit=10)
    assert report.ann_accuracy == 0.2
    assert report.accuracy[-1] == 0.2
    found = subset(load_dataset(data).test.labels, 10, 0)
    assert load_dataset(data).test.labels[found].bincount().tolist() == [2, 2, 2, 2, 2]


def of(use):
    return use.how, use.samples, use.of, use.seed


def sha256(indices):
    return hashlib.sha256(np.asarray(indices, "<i8").tobytes()).hexdigest()


def test_every_stage_names_its_samples(tmp_path):
    labels = {part: getattr(load_dataset("digits"), part).labels for part in ("train", "test")}
    trained = training(tmp_path, epochs=1, limit=100, seed=3)
    assert of(trained.subset) == ("stratified", 90, 1442, 3)
    assert of(trained.held_out) == ("stratified", 10, 1442, 3)
    calibrated = calibrating(tmp_path, samples=60, seed=3)
    assert of(calibrated.subset) == ("stratified", 60, 1442, 3)
    assert calibrated.subset.sha256 == sha256(subset(labels["train"], 60, 3))
    assert converting(tmp_path).confidence_subset is None
    options = {"confidence": "last", "confidence_samples": 60, "seed": 3}
    converted = converting(tmp_path, out=tmp_path / "confident.safetensors", **options)
    assert converted.confidence_subset == calibrated.subset  # one seed and N, one subset
    converting(tmp_path, neuron="lm-ht", param={"levels": 2}, timesteps=4)
    twins = reparameterizing(tmp_path, limit=40, seed=3)
    evaluated = evaluating(tmp_path, limit=40, seed=3)
    assert twins.subset == evaluated.subset
    assert of(evaluated.subset) == ("stratified", 40, 355, 3)
    assert evaluated.subset.sha256 == sha256(subset(labels["test"], 40, 3))
    tuned = finetuning(
        tmp_path, epochs=0, limit=100, seed=3, checkpoint=tmp_path / "converted.safetensors"
    )
    assert (tuned.subset, tuned.held_out) == (trained.subset, trained.held_out)
    for report, text in (
        (trained, "trained on             90 of 1 442 samples, stratified, seed 3"),
        (calibrated, "60 of 1 442 training samples, stratified, seed 3"),
        (twins, "40 of 355 test samples, stratified, seed 3"),
        (evaluated, "40 of 355 test samples, stratified, seed 3"),
        (tuned, "10 of 1 442 samples, stratified, seed 3"),
    ):
        shown = " ".join(plain(describe(report)).split())
        assert " ".join(text.split()) in shown
    assert "digits: 40 of 355 test samples, stratified, seed 3." in markdown([evaluated])


def test_without_a_limit_all_are_taken(run, tmp_path):
    report = evaluating(tmp_path, checkpoint=run.file("converted"), limit=None, timesteps=1)
    assert of(report.subset) == ("all", 355, 355, None)
    assert report.subset.sha256 == sha256(range(355))
    assert "all 355 test samples" in plain(describe(report))


def test_batches_change_no_subset_and_no_accuracy(run, tmp_path):
    found = [
        evaluating(tmp_path, checkpoint=run.file("converted"), limit=50, batch_size=size)
        for size in (7, 50)
    ]
    assert found[0].subset == found[1].subset
    assert found[0].accuracy == found[1].accuracy


def test_sin_is_measured_on_a_part_of_what_is_calibrated_on(tmp_path):
    few = calibrating(tmp_path, samples=20, sin=2, sin_samples=500)
    assert few.sin_samples == 20
    labels = load_dataset("digits").train.labels
    assert set(subset(labels, 20, 0).tolist()) <= set(subset(labels, 100, 0).tolist())
    assert load(tmp_path / "calibrated.safetensors").calibrated.samples == 20
    assert torch.equal(subset(labels, 20, 0), subset(labels, 20, 0))
