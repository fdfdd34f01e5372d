"""One table of kinds: every stage that writes or reads a checkpoint is in it."""

from snnconv.config import STAGES
from snnconv.core.kinds import KINDS, READS, SPIKING, WRITTEN_BY, written_by
from snnconv.core.names import file_name


def test_every_kind_has_a_stage_that_writes_it():
    assert set(WRITTEN_BY) == set(KINDS)
    assert set(WRITTEN_BY.values()) <= set(STAGES)


def test_a_stage_writes_one_kind_but_train():
    written = {stage: written_by(stage) for stage in STAGES}
    assert written == {
        "train": None,
        "calibrate": "calibrated",
        "convert": "converted",
        "correct": "corrected",
        "finetune": "finetuned",
        "reparameterize": "reparameterized",
        "evaluate": None,
        "predict": None,
        "trace": None,
        "export": None,
        "fit": None,
        "report": None,
    }


def test_what_a_stage_reads_is_written_by_an_earlier_one():
    order = list(STAGES)
    for stage, kinds in READS.items():
        for kind in kinds:
            again = stage == "correct" and kind == "corrected"  # several may follow each other
            assert again or order.index(WRITTEN_BY[kind]) < order.index(stage), (stage, kind)


def test_names_differ():
    assert len({file_name(kind) for kind in KINDS}) == len(KINDS)
    assert set(SPIKING) < set(KINDS)
