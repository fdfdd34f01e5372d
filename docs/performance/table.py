"""Write the table of docs/benchmarks.md from the JSON files beside this one.

python docs/performance/table.py            # write it
python docs/performance/table.py --check    # write nothing; fail if the page is stale
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "benchmarks.md"
START, END = "<!-- figures -->\n", "<!-- end figures -->"
ROWS = {
    "simulate-resnet20-if": "simulate ResNet-20, IF, T = 32",
    "simulate-resnet20-msat": "simulate ResNet-20, MSAT, T = 32",
    "simulate-resnet20-lm-ht": "simulate ResNet-20, LM-HT, L = 4, T = 8",
    "simulate-vgg16-if": "simulate VGG-16, IF, T = 16, batch 8",
    "calibrate-resnet20": "calibrate ResNet-20, 100 images",
    "train-resnet20-if": "training step, ResNet-20, IF, T = 4, batch 64",
    "train-resnet20-msat": "training step, ResNet-20, MSAT, T = 4, batch 64",
    "train-resnet20-lm-ht": "training step, ResNet-20, LM-HT, L = 4, T = 4, batch 64",
    "train-resnet20-lm-h": "training step, ResNet-20, LM-H, T = 4, batch 64",
}
"""The files of one commit, and what each measured."""

OURS = ("snnconv auto", "snnconv fused", "one a layer")
ANN = ("T x ANN", "ANN of T*B", "forward pass")


def figures() -> str:
    """Return the table as Markdown."""
    lines = ["| what | file | ms | of the ANN's time | times as fast as SpikingJelly |"]
    lines.append("|---|---|---|---|---|")
    for name, what in ROWS.items():
        report = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
        times = report["times"]["1"]
        row = next(times[ours] for ours in OURS if ours in times)
        ann = next(key for key in row["against"] if key.startswith(ANN))
        peer = next((key for key in row["against"] if key.startswith("spikingjelly")), None)
        faster = f"{1 / row['against'][peer]['cpu']:.1f}" if peer else ""
        against = f"{row['against'][ann]['cpu']:.2f}"
        milliseconds = f"{row['seconds']['cpu'] * 1000:.0f}"
        lines.append(f"| {what} | `{name}` | {milliseconds} | {against} | {faster} |")
    return "\n".join(lines)


def filled() -> str:
    """Return the page with its table in place."""
    before, rest = PAGE.read_text(encoding="utf-8").split(START, 1)
    return f"{before}{START}{figures()}\n{END}{rest.split(END, 1)[1]}"


def main() -> None:
    """Write the page, or only say whether it is stale."""
    new = filled()
    if "--check" in sys.argv:
        sys.exit("" if new == PAGE.read_text(encoding="utf-8") else f"{PAGE} is stale")
    PAGE.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
