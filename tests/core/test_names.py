"""What networks are called, as labels and as files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnconv.core.names import LONGEST, ann_stem, network_name

P999 = {"method": "percentile", "params": {"percentile": 99.9}, "granularity": "layer"}
CHANNEL = P999 | {"granularity": "channel"}
GIVEN = {"method": "given", "params": {"theta": 1.0}, "granularity": "layer"}


@pytest.mark.parametrize(
    ("network", "label", "head", "stem"),
    [
        (
            network_name("if", CHANNEL, ["convert"]),
            "IF p99.9 channel",
            "converted",
            "if-p99.9-channel",
        ),
        (
            network_name("msat", P999, ["train", "calibrate", "convert", "finetune"]),
            "MSAT p99.9, fine-tuned",
            "finetuned",
            "msat-p99.9",
        ),
        (
            network_name("lm-ht", {"method": "max"}, ["convert", "finetune", "reparameterize"]),
            "LM-HT max, fine-tuned, reparameterized",
            "reparameterized",
            "lm-ht-max-finetuned",
        ),
        (
            network_name("msat", {"method": "mse"}, [], confidence=True),
            "MSAT mse, confidence",
            "converted",
            "msat-mse-confidence",
        ),
        (network_name("lm-h", GIVEN, ["train"]), "LM-H, trained", "trained", "lm-h"),
        (
            network_name("lm-h", GIVEN, ["train", "finetune"]),
            "LM-H, trained, fine-tuned",
            "evaluate",
            "lm-h-trained-finetuned",
        ),
    ],
)
def test_a_network_is_called_what_it_is(network, label, head, stem):
    assert network.label == label
    assert network.stem(head, 16) == f"{head}-{stem}-T16"
    assert network.stem(head, 16, 360) == f"{head}-{stem}-T16-n360"


@pytest.mark.parametrize(
    ("model", "stem"),
    [
        ("resnet20?pool=max&width=0.5", "ann-resnet20-pool=max-width=0.5"),
        ("deep/folder/my_net.py:make", "ann-my_net.py-make"),
        ("", "ann-network"),
    ],
)
def test_a_trained_network_is_called_by_its_model(model, stem):
    assert ann_stem(model) == stem


@given(st.text())
def test_a_name_is_one_that_every_file_system_takes(text):
    for stem in (ann_stem(text), network_name(text, {"method": text}, []).stem("converted", 4)):
        assert 0 < len(stem.encode()) <= LONGEST
        assert not set(stem) & set('/\\\0:*?"<>| ')
        assert not stem.startswith(("-", "."))
