"""Training augmentation, by torchvision's v2 transforms, a sample at a time.

Reference:
    Random-resized crop: Szegedy et al. 2015, with torchvision's 8 to 100 % of the area and ratios
    from 3/4 to 4/3. Cutout: DeVries & Taylor 2017. AutoAugment: Cubuk et al. 2019, CIFAR-10 policy.

Deviations:
    Cutout's square lies inside the image (torchvision's RandomErasing), where the paper lets it
    hang over the border.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from snnconv.core.packages import imported
from snnconv.errors import UsageError, did_you_mean

MIXTURES = ("mixup", "cutmix")
NAMES = ("flip", "crop", "resized-crop", "autoaugment", "cutout")


def _v2() -> Any:
    return imported("torchvision.transforms.v2", "augmentation")


def _autoaugment(image: Tensor) -> Tensor:
    v2 = _v2()
    policy = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)
    augmented: Tensor = policy((image * 255).round().to(torch.uint8))
    return augmented.float() / 255


def _asked(
    names: Sequence[str], known: Sequence[str], what: str, shape: Sequence[int], option: str
) -> bool:
    """Return whether anything is asked for.

    Raises:
        UsageError: an unknown name, or samples that are no images.
    """
    for name in names:
        if name not in known:
            raise UsageError(
                f"there is no {what} of that name", f"'{name}'", did_you_mean(name, known)
            )
    if names and len(shape) != 3:
        found = f"samples of shape {list(shape)}"
        raise UsageError(f"{what}s are for images", found, f"leave out {option}")
    return bool(names)


def augmentation(names: Sequence[str], shape: Sequence[int]) -> Callable[[Tensor], Tensor] | None:
    """Return a function on a batch ``[B, C, H, W]`` in 0..1, or None if nothing is asked for.

    Args:
        names: any of :data:`NAMES`, applied in that order, whatever order they come in.
        shape: of one sample; its sides scale the crop's padding and the cutout's square.

    Raises:
        UsageError: an unknown name, or samples that are no images.
    """
    if not _asked(names, NAMES, "augmentation", shape, "--augment"):
        return None
    size, v2 = list(shape[1:]), _v2()
    makers: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
        "flip": v2.RandomHorizontalFlip,
        "crop": lambda: v2.RandomCrop(size, padding=max(1, min(size) // 8)),
        "resized-crop": lambda: v2.RandomResizedCrop(size, antialias=True),
        "autoaugment": lambda: _autoaugment,
        "cutout": lambda: v2.RandomErasing(p=1.0, scale=(0.25, 0.25), ratio=(1.0, 1.0)),
    }
    steps = [makers[name]() for name in NAMES if name in names]

    def apply(images: Tensor) -> Tensor:
        out = []
        for image in images:
            for step in steps:
                image = step(image)
            out.append(image)
        return torch.stack(out)

    return apply


def mixture(
    names: Sequence[str], alphas: Mapping[str, float], classes: int, shape: Sequence[int]
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """Return a function from a batch and labels ``[B]`` to a mixed batch and soft labels.

    Args:
        names: any of :data:`MIXTURES`; of several, each batch draws one.
        alphas: of each one's Beta distribution of shares.
        classes: how many there are.
        shape: of one sample.

    Raises:
        UsageError: an unknown name, or samples that are no images.
    """
    if not _asked(names, MIXTURES, "mixture", shape, "--mix"):
        return None
    v2 = _v2()
    makers = {"mixup": v2.MixUp, "cutmix": v2.CutMix}
    asked = [name for name in MIXTURES if name in names]
    kinds = [makers[name](alpha=alphas[name], num_classes=classes) for name in asked]
    mixed: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = v2.RandomChoice(kinds)
    return mixed
