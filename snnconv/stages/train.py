"""``snnconv train``: an ANN from scratch, on a data set."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconv.ann.measure import accuracy
from snnconv.ann.recurrent import with_hard_gates
from snnconv.ann.source import is_checkpoint, open_model
from snnconv.checkpoint import load, save
from snnconv.config import TrainConfig
from snnconv.dataset import first
from snnconv.graph.build import Network
from snnconv.progress import Progress, Quiet
from snnconv.reports import TrainReport
from snnconv.stages.common import (
    Session,
    data_use,
    files_named,
    lineage_step,
    open_data,
    report_file,
)
from snnconv.training import fit, hold_out

VALIDATION_BATCH = 500


def run(config: TrainConfig, progress: Progress | None = None) -> TrainReport:
    """Train, and write a checkpoint of kind ``ann``.

    Functions that no neuron stands for are trained like all else: ``calibrate`` refuses them.

    The last epoch is kept: a cosine schedule ends where it should, and the best of many epochs on
    few validation samples is mostly luck.
    """
    progress = progress or Quiet()
    session = Session(config)
    source = Path(config.model) if is_checkpoint(config.model) else None
    session.inputs += [source] if source else files_named(config.model)
    dataset = open_data(session, config, load(source, ["ann"]).data if source else None)
    facts = dataset.facts
    ann, _ = open_model(config.model, None, facts, must_be_trained=False, analog=True)
    if config.recurrent == "hard":
        ann = with_hard_gates(ann)
    network = Network(ann.graph, ann.network).to(session.device)
    if len(facts.shape) == 3:
        network = network.to(memory_format=torch.channels_last)
    parts = hold_out(dataset.train, config.validation, config.limit)
    measure = partial(
        accuracy,
        network,
        facts=facts,
        batch_size=VALIDATION_BATCH,
        device=session.device,
        progress=progress,
    )

    def loss(samples: Tensor, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = network(x)
        return F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing), logits

    rows = []
    for row in fit(
        network,
        loss,
        dataset.train,
        facts,
        config,
        parts,
        lambda: measure(dataset.train, order=parts.validation),
        session.device,
        progress,
    ):
        rows.append(row)
        progress.say(
            f"epoch {row.epoch:3d}  loss {row.loss:.4f}  validation {row.accuracy:.2%}  "
            f"({row.seconds:.1f} s)"
        )
    final = measure(dataset.test, order=first(dataset.test, None))
    out = config.out or config.run / "ann.safetensors"
    trained = replace(
        ann,
        data=facts,  # whose normalisation it was trained under
        network=network.tensors(),
        lineage=(*ann.lineage, lineage_step("train", source, config)),
    )
    save(trained, out)
    return session.report(
        TrainReport,
        report_file(config, "train", config.out),
        [out],
        data=data_use(dataset),
        model=config.model,
        parameters=sum(p.numel() for p in network.parameters()),
        epochs=rows,
        accuracy=final,
    )
