"""Bounds of options and parameters: what no stage can compute with, look up or write is refused."""

from pathlib import Path

import pytest
from helpers.commands import done, here, refused
from hypothesis import given
from hypothesis import strategies as st

from snnconv.config import STAGES
from snnconv.core.bounds import COUNT, LARGEST, LEVELS, NAME, SEED, SMALLEST, STEPS
from snnconv.core.validation import bounded
from snnconv.errors import ExitCode
from snnconv.neurons.lm_ht import Params


@given(st.floats())
def test_floats(value):
    fits = value == 0 or SMALLEST <= abs(value) <= LARGEST
    if fits:
        assert bounded(value) == value
    else:
        with pytest.raises(ValueError, match="give 0, or a number from 1e-30 to 1e\\+30"):
            bounded(value)


@given(st.text())
def test_texts(text):
    sizes = [len(part.encode(errors="replace")) for part in text.replace(":", "/").split("/")]
    if max(sizes) < NAME and "\0" not in text and text.isascii():
        assert bounded(text) == text


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("a\0b", "NUL"),
        (Path("a\0b"), "NUL"),
        ("\udcff", "UTF-8"),
        ("x" * 256, "at most 255 bytes: this one has 256"),
        ("é" * 128, "at most 255 bytes: this one has 256"),
        ("npz:" + "x" * 256, "this one has 256"),
        (Path("a") / ("x" * 256) / "b", "this one has 256"),
        ((Path("a"), Path("x" * 256)), "this one has 256"),
    ],
)
def test_names_that_no_file_has(value, why):
    with pytest.raises(ValueError, match=why):
        bounded(value)


def test_names_that_a_file_may_have():
    for value in (
        "npz:" + "x" * 255 + "?size=3",
        Path("x" * 255) / ("y" * 255),
        "net?a=" + "1" * 999,
    ):
        assert bounded(value) == value


@pytest.mark.parametrize("stage", STAGES)
def test_every_whole_number_has_a_bound(stage):
    for name, field in STAGES[stage].model_fields.items():
        if int in (field.annotation, *getattr(field.annotation, "__args__", ())):
            most = [meta.le for meta in field.metadata if hasattr(meta, "le")]
            assert most and most[0] <= SEED, name


@pytest.mark.parametrize(
    ("words", "found", "remedy"),
    [
        (f"convert --seed {2**64}", str(2**64), f"give {SEED} or less"),
        ("finetune --lr 1e308", "308", "from 1e-30 to 1e+30"),
        ("finetune --lr inf", "inf", "from 1e-30 to 1e+30"),
        ("finetune --weight-decay nan", "nan", "give"),
        ("train --mix-alpha 1e-300", "1e-300", "give 0.001 or more"),
        ("train --epochs 99999999999999999999", "9999", f"give {COUNT} or less"),
        ("evaluate --energy-mac-pj 1e-320", "1e-320", "from 1e-30 to 1e+30"),
        ("evaluate --timesteps 1000000000000", "1000000000000", f"give {STEPS} or less"),
        ("evaluate --threads 99999", "99999", "give 1024 or less"),
        ("evaluate --metric accuracy\0", "accuracy", "NUL"),
        (f"evaluate {'x' * 300}.safetensors", "xxx", "at most 255 bytes: this one has 312"),
        (f"calibrate --data npz:{'x' * 300}", "xxx", "at most 255 bytes: this one has 300"),
        (f"calibrate --run {'x' * 300}", "xxx", "at most 255 bytes: this one has 300"),
        (f"report {'x' * 300}", "xxx", "at most 255 bytes: this one has 300"),
    ],
)
def test_options(words, found, remedy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(here(*words.split(" ")), ExitCode.USAGE, "can't be used", found, remedy)
    assert not list(tmp_path.iterdir())


def test_a_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "r.toml"
    for line, remedy in (
        ('out = "a\\u0000.safetensors"', "NUL"),
        ("seed = 9223372036854775808", "or less"),
    ):
        recipe.write_text(f"[convert]\n{line}\n")
        refused(here("run", recipe), ExitCode.USAGE, "in recipe", "", remedy)


def test_the_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(here("calibrate", "--device", "meta"), ExitCode.USAGE, "no device 'meta'")
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused(here("calibrate"), ExitCode.USAGE, "other processes", "RANK", "torchrun")
    monkeypatch.setenv("WORLD_SIZE", "many")
    refused(here("calibrate"), ExitCode.USAGE, "other processes", "", "torchrun")


def test_the_largest_seed_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done("train", "mlp", "--epochs", 1, "--limit", 40, "--seed", SEED)


def test_parameters_of_a_neuron(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Params(levels=LEVELS).levels == LEVELS
    done("calibrate", "--samples", 50)
    for words, found in (
        (["lm-ht", "--param", f"levels={10**30}"], str(10**30)),
        (["msat", "--param", "k_i=1e-320"], "1e-320"),
        (["lm-ht", "--timesteps", "5000"], "up to 4096"),
    ):
        refused(here("convert", "--neuron", *words), ExitCode.USAGE, "", found, "")
