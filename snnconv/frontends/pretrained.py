"""Networks and trained weights of torchvision: ``torchvision:resnet18?weights=DEFAULT``.

snnconv downloads nothing unless the user allows it, and unpickles a file only if the hash in its
name shows that it is the published one.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch

from snnconv.core.packages import imported
from snnconv.core.validation import parse_pairs
from snnconv.data.dataset import Normalisation
from snnconv.errors import CheckpointError, UsageError, did_you_mean, one_line

PREFIX = "torchvision:"
RANDOM = (
    "the weights of this torchvision network are random. Add ?weights=DEFAULT to its name for "
    "those that torchvision publishes, or give a file: --weights FILE"
)
_CHUNK = 1 << 20  # bytes hashed at once


def _parts(spec: str) -> tuple[str, dict[str, Any]] | None:
    """Return name and options of a network of torchvision; None for another MODEL."""
    if not spec.lower().startswith(PREFIX):
        return None
    name, _, query = spec[len(PREFIX) :].partition("?")
    return name, parse_pairs(query.split("&")) if query else {}


def random(spec: str, weights: Path | None) -> bool:
    """Whether a MODEL names a network of torchvision and no weights for it."""
    parts = _parts(spec)
    return parts is not None and parts[1].get("weights") is None and weights is None


def normalisation(spec: str) -> Normalisation | None:
    """Return the normalisation with which the weights in a MODEL were trained, if it names some.

    Raises:
        UsageError: there is no such network, or no such weights.
    """
    parts = _parts(spec)
    if parts is None or parts[1].get("weights") is None:
        return None
    made = _published(parts[0], parts[1]["weights"]).transforms()
    return Normalisation(255.0, tuple(made.mean), tuple(made.std))


def of_values(own: Normalisation, scale: float | None) -> dict[str, tuple[float, ...]]:
    """Return mean and std for values that were divided by the user's scale, if there is one."""
    factor = 1.0 if scale is None else 255.0 / scale
    return {
        "mean": tuple(value * factor for value in own.mean),
        "std": tuple(value * factor for value in own.std),
    }


def maker(name: str, download: bool) -> Callable[..., Any]:
    """Return the function that makes a network of torchvision.

    Args:
        name: the name of the network.
        download: whether its weights may be downloaded.

    Raises:
        UsageError: there is no such network.
    """
    models = _models()
    name = _known(name)

    def make(weights: Any = None, **options: Any) -> Any:
        published = None if weights is None else _published(name, weights)
        if published is not None:
            _file(name, published, download)
        return models.get_model(name, weights=published, **options)

    return make


def _models() -> Any:
    return imported("torchvision.models", "torchvision:NAME")


def _known(name: str) -> str:
    models = _models()
    known = models.list_models(module=models)
    if name.lower() not in known:
        raise UsageError(
            "torchvision has no network of that name", f"'{name}'", did_you_mean(name, known)
        )
    return name.lower()


def _published(name: str, weights: Any) -> Any:
    """Return torchvision's entry for a network's weights: ``DEFAULT``, ``IMAGENET1K_V1``, ..."""
    models = _models()
    name = _known(name)
    every = models.get_model_weights(name)
    wanted = str(weights).rpartition(".")[2]
    found = {key.upper(): value for key, value in every.__members__.items()}
    if wanted.upper() not in found:
        raise UsageError(
            f"torchvision has no weights of that name for {name}",
            f"'{weights}'",
            did_you_mean(wanted, list(every.__members__)),
        )
    return found[wanted.upper()]


def _file(name: str, published: Any, download: bool) -> Path:
    """Return the file of weights, after a check.

    Raises:
        UsageError: the file is missing, and may not or can't be downloaded.
        CheckpointError: the file is not the published one.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / Path(urlparse(published.url).path).name
    digest = file.stem.rpartition("-")[2]
    get = f"download {published.url} into {folder}, or give a file: --weights FILE"
    if not file.is_file():
        if not download:
            raise UsageError(
                f"the weights {published.name} of torchvision's {name} are not here",
                f"no {file.name} in {folder}",
                f"add --download, or {get}",
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(published.url, str(file), digest, progress=False)
        except (OSError, RuntimeError) as error:  # urllib's; and of the hash
            raise UsageError(
                f"the weights {published.name} of torchvision's {name} can't be downloaded",
                one_line(error),
                get,
            ) from error
    found = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            found.update(chunk)
    if not found.hexdigest().startswith(digest):
        raise CheckpointError(
            f"{file} can't be used",
            "another content than the published one, by the hash in its name",
            f"remove it, and {get}",
        )
    return file
