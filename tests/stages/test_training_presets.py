import math

import pytest
from helpers.commands import done, here, refused
from helpers.runs import InterruptedAt, calibrating, converting, finetuning, training

from snnconv.checkpoint import load
from snnconv.config import FinetuneConfig, TrainConfig
from snnconv.config.presets import TRAININGS
from snnconv.errors import ExitCode, UsageError

LATER = ("plif", "sew", "stbp-tdbn", "lm-ht-4", "lm-h-online")
"""Their surrogates are compiled for no other test of the usual run, or others are like them."""


def test_these_are_the_presets():
    assert set(TRAININGS.names()) >= {
        "tet",
        "stbp-tdbn",
        "dspike",
        "sltt",
        "glif",
        "plif",
        "sew",
        "asgl",
    }
    assert set(TRAININGS.names()) >= {"lm-ht", "lm-h", "ltl"}


@pytest.mark.parametrize("name", TRAININGS.names())
def test_its_options_are_those_of_its_stages(name):
    made = TRAININGS.load(name)
    for kind, options in ((TrainConfig, made.train), (FinetuneConfig, made.finetune)):
        if options:
            config = kind(preset=name)
            assert {key: getattr(config, key) for key in options} == {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in options.items()
            }
    assert all((made.title, made.reference, made.deviations))
    assert made.train or made.finetune


def test_what_is_given_goes_before_a_preset():
    config = TrainConfig(preset="tet", epochs=30, param={"decay": 0.25}, loss_param={"lam": 0.5})
    assert (config.epochs, config.lr) == (30, 0.001)
    assert config.param == {"decay": 0.25, "reset": "hard", "v0": 0.0}
    assert config.loss_param == {"lam": 0.5, "phi": 1.0}


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A small network with neurons, to fine-tune."""
    run = tmp_path_factory.mktemp("converted")
    training(run, epochs=0)
    calibrating(run, samples=20)
    converting(run, timesteps=2)
    return run / "converted.safetensors"


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        pytest.param(name, stage, marks=[pytest.mark.long] if name in LATER else [])
        for name in TRAININGS.names()
        for stage in ("train", "finetune")
        if getattr(TRAININGS.load(name), stage)
    ],
)
def test_it_takes_two_steps_and_goes_on_to_the_same_bytes(converted, tmp_path, name, stage):
    """Stopped between its two steps, an epoch each, it ends as the training that never was."""
    small = {"epochs": 2, "batch_size": 8, "limit": 9, "augment": (), "timesteps": 2}
    small |= {"preset": name}
    if stage == "train":
        model = (
            "resnet20?width=0.25&block=sew"
            if "model" in TRAININGS.load(name).train
            else "cnn?width=0.125"
        )
        work, small["model"], file = training, model, "trained.safetensors"
    else:
        work, small["checkpoint"], file = finetuning, converted, "finetuned-last.safetensors"
    report = work(tmp_path / "whole", **small)
    assert len(report.epochs) == 2
    assert all(math.isfinite(row.loss) for row in report.epochs)
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path / "parts", InterruptedAt("epoch 2/2"), **small)
    work(tmp_path / "parts", resume=True, **small)
    assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_a_preset_of_the_other_stage_and_none_at_all(tmp_path):
    with pytest.raises(UsageError, match="'ltl' is not for train"):
        TrainConfig(preset="ltl")
    with pytest.raises(UsageError, match="no training preset of that name") as caught:
        TrainConfig(preset="tett")
    assert "did you mean 'tet'" in caught.value.remedy
    own = tmp_path / "own.toml"
    own.write_text(TRAININGS.file("tet").read_text() + "momentumm = 1\n")
    with pytest.raises(ValueError, match="momentumm"):
        TrainConfig(preset=str(own))


def test_on_the_command_line_what_is_given_goes_first(tmp_path):
    assert "TET" in done("ls", "training-presets").out
    small = ("--limit", 17, "--batch-size", 8, "--timesteps", 4, "--run", tmp_path)
    done("train", "cnn?width=0.125", "--preset", "lm-ht", "--epochs", 0, *small)
    config = load(tmp_path / "trained.safetensors").lineage[-1].config
    assert (config["timesteps"], config["epochs"], config["batch_size"]) == (4, 0, 8)
    assert (config["neuron"], config["weight_decay"]) == ("lm-ht", 5e-4)
    refused(here("train", "--preset", "nothing"), ExitCode.USAGE, "no training preset")
