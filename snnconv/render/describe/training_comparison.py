"""A comparison of training methods, as tables: a row for each method at each T."""

from collections.abc import Callable
from functools import partial

from snnconv.render import units
from snnconv.render.describe.comparison import ENERGY_FRONT
from snnconv.render.tables import Block, Cell, Column, Fact, Facts, Table
from snnconv.reports import CompareTrainingReport, Spread, TrainedCellRow, TrainedMethodRow

STEP_FRONT = "no other cell is as accurate for less time of a training step"


def compare_training(found: CompareTrainingReport) -> list[Block]:
    """Describe a :class:`CompareTrainingReport`: the budget, the cells, and what each method is."""
    budget, seeds = found.budget, ", ".join(map(str, found.seeds))
    samples = f"{units.count(budget.samples)} samples"
    facts = [
        Fact("network", found.model, f"on {found.data}"),
        Fact("epochs", str(budget.epochs), f"of {samples}, batches of {budget.batch_size}"),
        Fact("augmentation", ", ".join(budget.augment) or "none", "the same for all methods"),
        Fact(
            "accuracy on",
            f"{units.count(found.samples)} test samples",
            f"best and last on {units.count(budget.validation_samples)} held-out ones",
        ),
        Fact("seeds", seeds, "mean and standard deviation over them"),
        Fact("trainings", str(found.cells_run), f"{found.cells_kept} were there"),
    ]
    return [Facts("Comparison of training", tuple(facts)), cells(found), methods(found)]


def cells(found: CompareTrainingReport) -> Table:
    """Describe each method at each T: accuracy, what an answer costs, and a training step."""
    kind = found.headline
    heads = ("best", "last", "ANN", "SOPs", "energy", "spikes", "step", "step, CPU", "step, memory")
    rows = [(row, cell) for row in found.methods for cell in row.cells]
    failed = {(each.method, each.timesteps): each for each in found.failed}
    done = {(row.method, cell.timesteps) for row, cell in rows}

    def shown(row: TrainedMethodRow, cell: TrainedCellRow) -> tuple[Cell, ...]:
        scores = (cell.score, cell.best, cell.last, cell.ann_score)
        return (
            row.method,
            str(cell.timesteps),
            *(around(each, partial(units.score, kind)) for each in scores),
            around(cell.sops_per_sample, units.si),
            around(cell.energy_total_mj, units.energy),
            around(cell.spikes_per_sample, units.si),
            around(cell.step_seconds, units.seconds),
            around(cell.step_cpu_seconds, units.seconds),
            around(cell.step_memory_mib, units.memory),
        )

    table = Table(
        f"{kind.title} and costs, by method and T",
        (
            Column("method", numeric=False),
            Column("T"),
            Column(kind.words),
            *(Column(head) for head in heads),
        ),
        (
            *(shown(row, cell) for row, cell in rows),
            *(
                (method, str(T), "failed", *(None,) * len(heads))
                for method, T in failed
                if (method, T) not in done
            ),
        ),
        frozenset((r, 2) for r, (_, cell) in enumerate(rows) if cell.on_energy_front),
        note="best and last: of the epochs, on held-out samples; SOPs, energy and spikes: of a "
        "sample; step: the fastest training step of one batch, its processor time, and what its "
        "tensors take at most",
        mark=ENERGY_FRONT,
    )
    return table.without_empty()


def around(found: Spread | None, show: Callable[[float], str]) -> Cell:
    """Return a mean with its standard deviation, if there are several seeds."""
    if found is None:
        return None
    mean, std = show(found.mean), units.shown(show, found.std)
    if std is None:
        return mean
    spread = units.numbers(std, "standard deviation")
    return units.Measured(f"{mean} \u00b1 {std}", *units.numbers(mean), *spread)


def methods(found: CompareTrainingReport) -> Table:
    """Describe what each method is, and what of it is the method's own."""
    own = ("neuron", "surrogate", "norm", "loss", "optimiser", "lr", "weight_decay")
    return Table(
        "Training methods",
        (
            *(Column(name, numeric=False) for name in ("method", "stage", "network")),
            *(Column(name.replace("_", " "), numeric=False) for name in own),
        ),
        tuple(
            (
                row.method,
                row.stage,
                row.model,
                row.neuron,
                *(units.shown(units.value, row.options.get(name)) for name in own[1:]),
            )
            for row in found.methods
        ),
        note="a dash is the command's own choice; compare-training.json has sources and deviations",
    ).without_empty()
