"""A trace as facts, and a table of its sites."""

from snnconv.render import units
from snnconv.render.describe.common import closing, latency
from snnconv.render.labels import drawn
from snnconv.render.tables import Block, Column, Fact, Facts, Table
from snnconv.reports import TraceReport


def trace(done: TraceReport) -> list[Block]:
    """Describe a :class:`TraceReport`: where the trace is, and what each site's neurons did."""
    facts = (
        Fact("data", done.data.spec),
        Fact("samples", drawn(done.subset, done.samples, done.split)),
        Fact("neuron", done.neuron, f"T = {done.timesteps}, {done.coding} coding"),
        *latency(done.latency_steps),
        Fact("arrays", f"{done.trace_mib:.1f} MiB", "before they are compressed"),
        *closing(done),
    )
    columns = (
        Column("site", numeric=False),
        Column("neurons"),
        Column("spikes"),
        Column("per neuron and step"),
        Column("without a spike", hint="share of the neurons of all samples"),
    )
    rows = tuple(
        (
            site.name,
            units.count(site.neurons),
            units.count(site.spikes),
            units.number(site.firing_rate),
            units.percent(site.silent_share),
        )
        for site in done.sites
    )
    return [Facts("Traced", facts), Table("Sites", columns, rows)]
