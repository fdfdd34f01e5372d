"""Made-up reports of the stages before an evaluation."""

import math

from helpers.examples import DATA, ODD, common, names
from snnconv.reports import (
    CalibrateReport,
    ConvertReport,
    EpochRow,
    FinetuneReport,
    SiteRow,
    TrainReport,
)


def epochs(n: int, start: float, end: float) -> list[EpochRow]:
    return [
        EpochRow(
            epoch=i,
            loss=1.9 * math.exp(-3 * i / n) + 0.1,
            train_accuracy=start + (end - start) * i / n,
            accuracy=end - (end - start) * math.exp(-4 * i / n),
            learning_rate=0.005 * (1 + math.cos(math.pi * i / n)),
            seconds=3.2,
        )
        for i in range(1, n + 1)
    ]


def finetune(checkpoint: str = "snnconv-run/cnn, msat.safetensors", n: int = 30) -> FinetuneReport:
    rows = epochs(n, 0.62, 0.986)
    return FinetuneReport(
        **common("finetune", ["snnconv-run/converted.safetensors"], [checkpoint]),
        data=DATA,
        neuron="msat",
        timesteps=4,
        accuracy_epoch0=0.62,
        accuracy_best=max((row.accuracy for row in rows), default=0.62),
        epoch_best=n,
        accuracy_last=rows[-1].accuracy if rows else 0.62,
        epochs=rows,
    )


def learned(report):
    """With what neurons of LM-H do while they learn."""
    rows = [
        row.model_copy(
            update={
                "firing_rate": 0.1 + 0.001 * row.epoch,
                "neuron_parameters": {"mu_D": 0.002 * row.epoch, "lambda_S": 1 - 0.003 * row.epoch},
            }
        )
        for row in report.epochs
    ]
    return report.model_copy(update={"epochs": rows})


def train(n: int = 30, neuron: str | None = None) -> TrainReport:
    return TrainReport(
        **common("train", [], [f"snnconv-run/{'trained' if neuron else 'ann'}.safetensors"]),
        neuron=neuron,
        timesteps=4 if neuron else None,
        data=DATA,
        model="cnn",
        parameters=61_706,
        epochs=epochs(n, 0.2, 0.99),
        accuracy=0.9889,
    )


def calibrate() -> CalibrateReport:
    return CalibrateReport(
        **common(
            "calibrate", ["snnconv-run/ann.safetensors"], ["snnconv-run/calibrated.safetensors"]
        ),
        data=DATA,
        method="percentile",
        params={"percentile": 99.9},
        granularity="layer",
        samples=1024,
        relative_error_bound=0.0007,
        sites=[
            SiteRow(
                name=name,
                threshold=2.5,
                max=4.1,
                mean=0.31,
                zero_share=0.55,
                clipped_share=0.001,
                channels=1,
            )
            for name in [*names(3), ODD]
        ],
    )


def convert() -> ConvertReport:
    return ConvertReport(
        **common(
            "convert", ["snnconv-run/calibrated.safetensors"], ["snnconv-run/converted.safetensors"]
        ),
        neuron="msat",
        params={"alpha": 0.03},
        timesteps=32,
        sites_converted=4,
        non_spiking_share=0.0,
        cumulative_pools=[f"pool{i}" for i in range(5)],
        dropped=["softmax at softmax"],
        confidence={"conv4.relu": 0.8731},
        early=16,
    )
