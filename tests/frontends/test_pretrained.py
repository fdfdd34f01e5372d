"""torchvision's trained weights: found, checked, never downloaded unasked."""

import hashlib

import numpy as np
import pytest
import torch
from torchvision.models import SqueezeNet1_1_Weights, get_model

import snnconv
from snnconv.core.metadata import DataInfo
from snnconv.errors import CheckpointError, UsageError
from snnconv.frontends import pretrained
from snnconv.frontends.open import open_model

SPEC = "torchvision:squeezenet1_1?weights=DEFAULT"
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
FACTS = DataInfo(spec="own", shape=(3, 64, 64), classes=tuple(map(str, range(1000))), **IMAGENET)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def published(home, monkeypatch):
    """Weights as if torchvision published them, cached."""
    torch.manual_seed(0)
    home.mkdir(parents=True)
    state = get_model("squeezenet1_1", weights=None).state_dict()
    torch.save(state, home / "file")
    digest = hashlib.sha256((home / "file").read_bytes()).hexdigest()[:8]
    file = (home / "file").rename(home / f"squeezenet-{digest}.pth")
    entry = SqueezeNet1_1_Weights.IMAGENET1K_V1.value
    monkeypatch.setattr(entry, "url", f"https://example.org/models/{file.name}")
    return file, state


@pytest.mark.parametrize("name", ["DEFAULT", "IMAGENET1K_V1", "SqueezeNet1_1_Weights.DEFAULT"])
def test_cached_weights_are_taken(published, name):
    _, state = published
    opened = open_model(f"torchvision:squeezenet1_1?weights={name}", None, FACTS)
    assert torch.equal(opened.network.network["features.0.weight"], state["features.0.weight"])


def test_what_is_not_here_is_not_downloaded(home, monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: pytest.fail("it was"))
    with pytest.raises(UsageError) as caught:
        open_model(SPEC, None, FACTS)
    assert "squeezenet1_1-b8a52dc0.pth in" in caught.value.found
    assert str(home) in caught.value.found
    assert caught.value.remedy.startswith("add --download, or download https://")


def test_a_download_that_is_allowed(published, monkeypatch):
    file, state = published
    content = file.read_bytes()
    file.unlink()
    asked = []

    def download(url, to, digest, progress):
        asked.append((url.rpartition("/")[2], digest))
        file.write_bytes(content)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    opened = open_model(SPEC, None, FACTS, download=True)
    assert asked == [(file.name, file.stem.rpartition("-")[2])]
    assert torch.equal(opened.network.network["features.0.weight"], state["features.0.weight"])


def test_a_download_that_fails(home, monkeypatch):
    def download(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(UsageError, match=r"can't be downloaded\n.*no route to host"):
        open_model(SPEC, None, FACTS, download=True)


def test_another_file_under_the_name_is_not_unpickled(published):
    file, _ = published
    file.write_bytes(b"anything else")
    with pytest.raises(CheckpointError, match="another content than the published one"):
        open_model(SPEC, None, FACTS)


def test_names_that_are_not_known(home, tmp_path):
    with pytest.raises(UsageError, match="did you mean 'IMAGENET1K_V1'"):
        open_model("torchvision:squeezenet1_1?weights=IMAGENET1K_V9", None, FACTS)
    with pytest.raises(UsageError, match="torchvision has no network of that name"):
        pretrained.normalisation("torchvision:nonet?weights=DEFAULT")
    with pytest.raises(UsageError, match="one set of weights"):
        open_model(SPEC, tmp_path / "w.pt", FACTS)


def test_what_the_weights_were_trained_under(home):
    own = pretrained.normalisation(SPEC)
    assert (own.mean, own.std) == (IMAGENET["mean"], IMAGENET["std"])
    assert pretrained.normalisation("torchvision:squeezenet1_1") is None
    assert pretrained.normalisation("net.py:make?weights=DEFAULT") is None
    raw = pretrained.of_values(own, 1)
    assert raw["mean"] == pytest.approx([123.675, 116.28, 103.53])
    assert pretrained.of_values(own, None) == IMAGENET


def images(file, **more):
    x = np.random.default_rng(0).integers(0, 256, (4, 3, 64, 64), dtype=np.uint8)
    names = np.array([str(k) for k in range(1000)])
    y = np.arange(4)
    np.savez(file, x_train=x, y_train=y, x_test=x, y_test=y, classes=names, **more)
    return f"npz:{file}"


@pytest.mark.usefixtures("published")
def test_their_normalisation_is_taken_unless_another_is_given(tmp_path):
    options = {"run": tmp_path, "method": "max"}
    found = snnconv.calibrate(SPEC, data=images(tmp_path / "a.npz"), **options)
    assert found.normalisation.origin == "weights"
    assert tuple(found.normalisation.mean) == IMAGENET["mean"]
    assert not any("torchvision" in text for text in found.warnings)
    given = images(tmp_path / "b.npz", mean=0.5, std=0.5)
    found = snnconv.calibrate(SPEC, data=given, **options)
    assert found.normalisation.origin == "given"
    assert "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225" in found.warnings[0]
    found = snnconv.calibrate(SPEC, data=given, **options, **IMAGENET)
    assert not any("torchvision" in text for text in found.warnings)


def test_random_weights_are_said(tmp_path):
    data = images(tmp_path / "a.npz")
    spec = "torchvision:squeezenet1_1"
    found = snnconv.calibrate(spec, data=data, run=tmp_path, method="max")
    assert "weights of this torchvision network are random" in found.warnings[0]
    assert "?weights=DEFAULT" in found.warnings[0]
    assert pretrained.random("torchvision:squeezenet1_1?weights=null", None)
    assert not pretrained.random(spec, tmp_path / "w.pt")
    assert not pretrained.random("net.py:make", None)
