"""An evaluation layer by layer, as a table."""

from snnconv.render import units
from snnconv.render.compare import last
from snnconv.render.tables import Cell, Column, Table
from snnconv.reports import EvaluateReport, LayerRow

_PARTS = "parts of the error"
_COLUMNS = (
    Column("layer", numeric=False),
    Column("neurons", hint="of one sample"),
    Column("theta", hint="threshold, mean over channels"),
    Column("rate", hint="spikes per neuron and step"),
    Column("SOPs", hint="synaptic operations that its spikes cause, per sample, in T steps"),
    Column("SOPs, pooled", hint="the same, counting what an average pooling gives"),
    Column("memory", hint="energy per sample with addresses and memory"),
    Column("SNN / twin", hint="energy against that of the quantized twin"),
    Column("break-even", hint="the rate at which SNN and twin take the same energy"),
    Column("SIN", hint="at T, inactivated neurons that have fired, of all neurons"),
    Column("wrong spikes", hint="at T, share of the step's spikes, from inactivated neurons"),
    Column("ANS", hint="wrong spikes in T steps per neuron"),
    Column("delta_D", hint="LM-H: mean over neurons of |mean_t delta_D|, units of theta"),
    Column("delta_S", hint="LM-H: the same of delta_S"),
    Column("error", hint="|mean output - ANN activation| / |ANN activation|, L2"),
    Column("clipping", hint="part of the error above theta", optional=_PARTS),
    Column(
        "rounding",
        hint="part of the error from multiples of theta/T",
        optional=_PARTS,
    ),
    Column(
        "rest",
        hint="what remains: uneven spikes, wrong spikes, errors of layers before",
        optional=_PARTS,
    ),
)
_DETAILS = (
    "SOPs, pooled",
    "memory",
    "SNN / twin",
    "break-even",
    "wrong spikes",
    "ANS",
    "delta_D",
    "delta_S",
)


def _row(layer: LayerRow) -> tuple[Cell, ...]:
    return (
        layer.name,
        units.count(layer.neurons),
        units.shown(units.number, layer.threshold),
        units.shown(units.number, layer.firing_rate),
        units.shown(units.si, layer.sops_per_sample),
        units.shown(units.si, layer.sops_pooled_per_sample),
        units.shown(units.energy, layer.energy_memory_mj),
        units.shown(units.percent, _of_twin(layer)),
        units.shown(units.number, layer.break_even_rate),
        units.shown(units.percent, last(layer.sin_ratio)),
        units.shown(units.percent, last(layer.wrong_spike_share)),
        units.shown(units.number, layer.ans_per_neuron),
        units.shown(units.number, layer.delta_d),
        units.shown(units.number, layer.delta_s),
        units.shown(units.percent, layer.conversion_error),
        units.shown(units.percent, layer.error_clipping),
        units.shown(units.percent, layer.error_rounding),
        units.shown(units.percent, layer.error_rest),
    )


def _of_twin(layer: LayerRow) -> float | None:
    """Return a layer's energy as a share of its energy in the quantized twin."""
    spiking, twin = layer.energy_twin_snn_mj, layer.energy_twin_mj
    return spiking / twin if spiking is not None and twin else None


def layer_table(report: EvaluateReport, details: bool = True) -> Table:
    """Return every layer in a row; what no metric measured has no column.

    Without ``details`` it fits a terminal: wrong spikes and foreign metrics' columns are left out.
    """
    extra: dict[str, None] = {}
    for layer in report.layers:
        extra |= {k: None for k, v in (layer.model_extra or {}).items() if _scalar(v)}
    columns = (*_COLUMNS, *(Column(name) for name in extra))
    rows = tuple(
        (*_row(layer), *(_foreign(layer, name) for name in extra)) for layer in report.layers
    )
    table = Table("Layers", columns, rows)
    if not details:
        table = table.only([c for c, col in enumerate(_COLUMNS) if col.title not in _DETAILS])
        return table.without_empty().explained()
    return table.without_empty()


def _scalar(x: object) -> bool:
    return x is not None and isinstance(x, int | float | str)


def _foreign(layer: LayerRow, name: str) -> Cell:
    found = (layer.model_extra or {}).get(name)
    return units.value(found) if _scalar(found) else None
