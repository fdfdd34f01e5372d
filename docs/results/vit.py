"""A small vision transformer on Fashion-MNIST: four blocks of LayerNorm, attention and GELU.

python docs/results/vit.py runs/vit.pt    # three epochs, some minutes on one core
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnconv.data.dataset import load_dataset

EPOCHS, BATCH, RATE = 3, 128, 2e-3


class Block(nn.Module):
    """Attention and two layers, each behind a LayerNorm and beside the residual stream."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.f1, self.f2 = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.shape = (3, heads, width // heads)

    def attended(self, qkv: Tensor) -> Tensor:
        """The values ``[B, N, D]`` that queries find by keys."""
        samples, places, _ = qkv.shape
        q, k, v = qkv.view(samples, places, *self.shape).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return found.reshape(samples, places, self.f1.in_features)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, N, D] -> [B, N, D]``."""
        x = x + self.proj(self.attended(self.qkv(self.n1(x))))
        return x + self.f2(F.gelu(self.f1(self.n2(x))))


class ViT(nn.Module):
    """Patches of 4 x 4, learned positions, the mean over tokens."""

    def __init__(self, width: int = 64, blocks: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.pe = nn.Conv2d(1, width, 4, 4)
        self.pos = nn.Parameter(torch.randn(1, 49, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.n, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 1, 28, 28] -> [B, 10]``."""
        x = self.pe(x).flatten(2).transpose(1, 2) + self.pos
        for block in self.blocks:
            x = block(x)
        return self.head(self.n(x).mean(1))


def main(file: Path) -> None:
    """Train it, and write its state dict."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data, net = load_dataset("fashion-mnist"), ViT()
    samples = len(data.train.labels)
    pixels = data.train.images(torch.arange(samples))
    x, y = (pixels - data.info.mean[0]) / data.info.std[0], data.train.labels
    optimiser = torch.optim.AdamW(net.parameters(), RATE)
    steps = EPOCHS * (samples // BATCH)
    orders = (torch.randperm(samples) for _ in range(EPOCHS))
    batches = (b for order in orders for b in order.split(BATCH) if len(b) == BATCH)
    for step, batch in enumerate(batches):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - step / steps)
        loss = F.cross_entropy(net(x[batch]), y[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
