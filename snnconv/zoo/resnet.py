"""Residual networks in their CIFAR form.

Shape:
    ``[B, channels, size, size] -> [B, classes]``.

Reference:
    He et al. 2016, section 4.2 (ResNet-20) and section 4.1 with a 3x3 stem (ResNet-18, -34).
    ResNet-19: Zheng et al., *Going Deeper With Directly-Trained Larger Spiking Neural Networks*,
    AAAI 2021: stages of 3, 3, 2 blocks with 128, 256, 512 channels and two linear layers.
    ``head=wide`` is the improved ResNet-19 of the LM-H paper, by its released code: a pooling by 2
    in place of the global average, dropout, no neurons between the linear layers, and blocks that
    start as their shortcuts.
    ``block=sew``, ``sew-and``, ``sew-iand``: Fang et al., *Deep Residual Learning in Spiking Neural
    Networks*, NeurIPS 2021 (SEW ResNet), Table 1: ADD, AND, IAND.

Deviations:
    Shortcuts that change shape are 1x1 convolutions with BatchNorm (option B of He et al.), in
    ResNet-20 too, as the conversion literature has it. ``pool=max`` pools after the stem, for
    inputs that are large enough to spare the resolution; without it there is no pooling but the
    global average before the linear layer. AND and IAND are for ``train --neuron``, which
    makes gates of their products: an ANN's product is one of means.
"""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from snnconv.errors import UsageError
from snnconv.zoo.parts import initialise, pooling, scaled


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut; one ReLU after the sum."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu2 = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``[B, C, H, W] -> [B, C_out, H/stride, W/stride]``."""
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu2(inner + self.shortcut(x))
        return out


class SewBlock(Block):
    """A block with a ReLU behind each of its convolutions, whose spikes the shortcut's join.

    With ADD, sums of spikes come out; without a residual the block is its shortcut, with IAND too.
    """

    def __init__(self, channels: int, out: int, stride: int, join: str = "add") -> None:
        super().__init__(channels, out, stride)
        self.join = join
        if isinstance(self.shortcut, nn.Sequential):
            self.shortcut.append(nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``[B, C, H, W] -> [B, C_out, H/stride, W/stride]``."""
        residual: Tensor = self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))
        skipped: Tensor = self.shortcut(x)
        match self.join:
            case "and":
                return residual * skipped
            case "iand":
                return (1 - residual) * skipped
        return residual + skipped


BLOCKS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "basic": Block,
    "sew": SewBlock,
    "sew-and": partial(SewBlock, join="and"),
    "sew-iand": partial(SewBlock, join="iand"),
}


class ResNet(nn.Module):
    """Stem, stages of blocks, global average, linear layers.

    Args:
        widths: channels of each stage.
        blocks: blocks of each stage.
        hidden: width of an extra linear layer before the last, or none.
        block: which blocks, of :data:`BLOCKS`.
        side: of the last map, if it is pooled by 2 alone and read place by place, with no neurons
            between the linear layers; none for the global average.
    """

    def __init__(
        self,
        widths: Sequence[int],
        blocks: Sequence[int],
        channels: int,
        classes: int,
        pool: str,
        hidden: int | None = None,
        block: str = "basic",
        side: int | None = None,
    ) -> None:
        super().__init__()
        if block not in BLOCKS:
            raise UsageError(
                "there is no block of that name",
                f"block={block}",
                f"use {', '.join(BLOCKS)}",
            )
        stem: list[nn.Module] = [
            nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        if pool != "avg":
            stem.append(pooling(pool))
        self.stem = nn.Sequential(*stem)
        stages, width = [], widths[0]
        for index, (out, count) in enumerate(zip(widths, blocks, strict=True)):
            stage = []
            for number in range(count):
                stage.append(BLOCKS[block](width, out, 2 if index > 0 and number == 0 else 1))
                width = out
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1) if side is None else nn.AvgPool2d(min(side, 2))
        self.flatten = nn.Flatten()
        if side is not None and hidden is not None:
            places = (side // min(side, 2)) ** 2
            self.classifier: nn.Module = nn.Sequential(
                *(nn.Dropout(0.25), nn.Linear(width * places, hidden)),
                *(nn.Dropout(0.25), nn.Linear(hidden, classes)),
            )
        elif hidden is None:
            self.classifier = nn.Linear(width, classes)
        else:
            self.classifier = nn.Sequential(
                nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, classes)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``[B, C, H, W] -> [B, classes]``."""
        logits: Tensor = self.classifier(self.flatten(self.pool(self.stages(self.stem(x)))))
        return logits


def _resnet(
    widths: Sequence[int],
    blocks: Sequence[int],
    channels: int,
    classes: int,
    pool: str,
    width: float,
    block: str,
    hidden: int | None = None,
    side: int | None = None,
) -> nn.Module:
    widths = [scaled(w, width) for w in widths]
    hidden = None if hidden is None else scaled(hidden, width)
    return initialise(ResNet(widths, blocks, channels, classes, pool, hidden, block, side))


def resnet18(
    channels: int = 3,
    size: int = 32,
    classes: int = 10,
    pool: str = "avg",
    width: float = 1.0,
    block: str = "basic",
) -> nn.Module:
    """Stages of 2 blocks, 64 to 512 channels."""
    return _resnet((64, 128, 256, 512), (2, 2, 2, 2), channels, classes, pool, width, block)


def resnet34(
    channels: int = 3,
    size: int = 32,
    classes: int = 10,
    pool: str = "avg",
    width: float = 1.0,
    block: str = "basic",
) -> nn.Module:
    """Stages of 3, 4, 6, 3 blocks, 64 to 512 channels."""
    return _resnet((64, 128, 256, 512), (3, 4, 6, 3), channels, classes, pool, width, block)


def resnet19(
    channels: int = 3,
    size: int = 32,
    classes: int = 10,
    pool: str = "avg",
    width: float = 1.0,
    block: str = "basic",
    head: str = "global",
) -> nn.Module:
    """The wide one of the STBP literature: 128, 256, 512 channels, two linear layers."""
    if head not in ("global", "wide"):
        raise UsageError("there is no head of that name", f"head={head}", "use head=wide or global")
    side = None
    if head == "wide":
        halved = size // 2 if pool != "avg" else size
        side = (halved + 3) // 4  # two stages halve it, rounding up
    network = _resnet((128, 256, 512), (3, 3, 2), channels, classes, pool, width, block, 256, side)
    if head == "wide":  # each block starts as its shortcut
        for part in network.modules():
            if isinstance(part, Block | SewBlock):
                nn.init.zeros_(part.bn2.weight)
    return network


def resnet20(
    channels: int = 3,
    size: int = 32,
    classes: int = 10,
    pool: str = "avg",
    width: float = 1.0,
    block: str = "basic",
) -> nn.Module:
    """Three stages of 3 blocks, 16 to 64 channels."""
    return _resnet((16, 32, 64), (3, 3, 3), channels, classes, pool, width, block)
