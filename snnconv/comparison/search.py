"""``snnconv convert --within POINTS``: the cheapest network that is close enough to its ANN.

The search goes from few steps to many. At one T it begins with the methods that were cheap at the T
before. A method is done as soon as it is close enough, because more steps only cost more, or as
soon as it costs more than the best network so far. A trial ends early if the remaining samples
can't bring the network close enough, or if it clearly costs more than the best.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from snnconv.checkpoint import Checkpoint, load
from snnconv.comparison import grid
from snnconv.comparison.candidates import Candidates, lacking, trains
from snnconv.comparison.held_out import HeldOut, calibrated_on, draws, held_out, left
from snnconv.comparison.trial import DEARER, ENOUGH, Costs, Trial, measure
from snnconv.config import ConvertConfig
from snnconv.config.presets import CONVERSIONS, ConversionPreset
from snnconv.core import distributed
from snnconv.core.files import scratch
from snnconv.core.kinds import READS
from snnconv.core.progress import Progress, Quiet
from snnconv.data.split import digest, strata
from snnconv.errors import UnsupportedError, UsageError
from snnconv.render import units
from snnconv.reports import ConvertReport, Report, SearchUse, TrialRow, read
from snnconv.stages.session import (
    Session,
    correction_rows,
    load_data,
    report_files,
)


def run(config: ConvertConfig, progress: Progress | None = None) -> ConvertReport:
    """Search, and write the chosen network, of kind ``converted``.

    If no network is close enough, the closest one is written, and the report's code says that a
    check failed.

    Raises:
        UsageError: a method can't be used, no training samples are left to measure on, or there
            are several processes.
        UnsupportedError: no method can be used on the network.
    """
    progress = progress or Quiet()
    assert config.within is not None
    presets = CONVERSIONS.chosen(config.methods)
    session = Session(config)
    if distributed.size() > 1:
        raise UsageError(
            "convert --within can't be divided among processes",
            "several processes",
            "start it without torchrun",
        )
    file, calibrated = session.open_checkpoint(
        config.checkpoint, READS["convert"], "snnconv calibrate"
    )
    with scratch(config.run) as folder:
        candidates = Candidates(config, file, calibrated, folder)
        for name, preset in presets.items():
            candidates.planned(name, preset, 1)  # an option is refused before any work
        info = calibrated.data.model_copy(update={"spec": calibrated_on(calibrated)})
        dataset = load_data(session, config, info)
        drawn = draws(calibrated.lineage, dataset.info.spec, calibrated.data.spec)
        drawn += candidates.draws(presets.values())
        order = left(strata(dataset.train), drawn, config.held_out, config.seed)
        with progress.task("ANN", len(order)) as advance:
            held = held_out(calibrated, dataset, order, config.batch_size, session.device, advance)
        if held.why:
            session.warn(
                progress,
                f"{held.why}: what is measured is how closely a network agrees with its ANN",
            )
        if warning := held.one_class():
            session.warn(progress, warning)
        search = Search(config, candidates, presets, held, session, progress)
        found = search.found()
        return _written(search, found, session, progress)


@dataclass
class Found:
    """A trial with the files and options of its network."""

    trial: Trial
    checkpoint: Checkpoint
    report: ConvertReport


@dataclass
class Search:
    """A running search.

    Attributes:
        trials: all trials, in their order.
        left_out: the methods that were not tried, at all T or from one T on, and why.
        best: the cheapest network that is close enough.
        closest: the closest of the networks that are not close enough.

    Args:
        config: the options.
        candidates: makes the networks.
        presets: the methods to try.
        held: the samples to measure on.
        session: the session.
        progress: told of each trial.
    """

    config: ConvertConfig
    candidates: Candidates
    presets: dict[str, ConversionPreset]
    held: HeldOut
    session: Session
    progress: Progress
    trials: list[Trial] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    best: Found | None = None
    closest: Found | None = None

    def __post_init__(self) -> None:
        assert self.config.within is not None
        self.needed = self.held.needed(self.config.within)
        self._last: dict[str, tuple[float, float]] = {}
        self._refused: dict[str, str] = {}

    def found(self) -> Found:
        """Try the methods that may win; return the best network, or else the closest one.

        Raises:
            UnsupportedError: nothing could be tried.
        """
        going, steps = self._worth_trying(), _steps(self.config.max_timesteps)
        with self.progress.task("search", len(going) * len(steps)) as advance:
            for done, T in enumerate(steps):
                for name in sorted(going, key=self._cost_before):
                    if self._goes_on(name, T):
                        advance(1)
                    else:
                        going.remove(name)
                        advance(len(steps) - done)
        tried = {trial.method for trial in self.trials}
        self.left_out = {name: why for name, why in self.left_out.items() if name not in tried}
        self.left_out |= self._refused
        found = self.best or self.closest
        if found is None:
            name, why = next(iter(self.left_out.items()))
            raise UnsupportedError(
                "no method can be tried on this network",
                f"{name}: {why}",
                "allow more, or try other methods: --allow, --methods (snnconv ls presets)",
            )
        return found

    def _worth_trying(self) -> list[str]:
        """Return the methods without doubles; those that train only if the user named them."""
        first: dict[str, str] = {}
        named = {name.lower() for name in self.config.methods}
        for name, preset in self.presets.items():
            if trains(preset) and name in CONVERSIONS.names() and name not in named:
                self.left_out[name] = "it trains weights, which takes long: name it by --methods"
                continue
            same = first.setdefault(self.candidates.same(preset), name)
            if same != name:
                self.left_out[name] = f"gives the same network as {same}"
        return list(first.values())

    def _cost_before(self, name: str) -> tuple[float, float]:
        """Return a method's cost at fewer steps; before, methods without corrections come first."""
        return self._last.get(name, (0.0, len(self.presets[name].correct)))

    def _goes_on(self, name: str, timesteps: int) -> bool:
        """Try a method at T if it may win; return whether to try it at more steps."""
        if not self._may_win(name, timesteps):
            return False
        if ability := lacking(self.presets[name], timesteps, self.config.allow):
            self.left_out[name] = f"{ability} is not allowed"
            return True
        return self._tried(name, timesteps)

    def _may_win(self, name: str, timesteps: int) -> bool:
        """Whether a method can be cheaper than the best network so far."""
        if self.best is None:
            return True
        best = self.best.trial.costs
        if self.config.cost == "latency" and timesteps > best.latency:
            return False
        return self._last.get(name, (0.0, 0.0)) < best.key(self.config.cost)

    def _tried(self, name: str, timesteps: int) -> bool:
        """Try a method at T; return whether to try it at more steps."""
        preset = self.presets[name]
        try:
            stages = self.candidates.run_stages(name, preset, timesteps)
            file: Path = getattr(stages[-1][1], "out")  # noqa: B009 - not in the config's type
            checkpoint = load(file)
            trial = measure(checkpoint, name, self.held, self.session, self.config, self._gives_up)
        except (UsageError, UnsupportedError) as error:
            self._refused[name] = f"at T = {timesteps}: {error.problem}: {error.found}"
            return False
        report = read(_report(stages), ConvertReport)
        for _, options in stages:
            Path(getattr(options, "out")).unlink()  # noqa: B009
        self.trials.append(trial)
        self._last[name] = trial.costs.key(self.config.cost)
        if trial.gave_up:
            return trial.gave_up == "below"
        made = Found(trial, checkpoint, report)
        if not self.close(trial):
            if self.closest is None or trial.below < self.closest.trial.below:
                self.closest = made
            return True
        if self.best is None or self._last[name] < self.best.trial.costs.key(self.config.cost):
            self.best = made
            self.progress.say(_said(trial, self.held))
        return False

    def close(self, trial: Trial) -> bool:
        """Whether a network is close enough to the ANN."""
        if self.held.task is None:
            return trial.right >= self.needed
        assert self.config.within is not None
        return trial.kind.within(trial.score, trial.ann_score, self.config.within)

    def _gives_up(
        self, done: int, right: int | None, costs: Costs
    ) -> Literal["", "below", "dearer"]:
        """Whether a network can neither be the best nor the closest one, after some samples."""
        closest = self.closest.trial.right + 1 if self.closest else 0
        least = self.needed if self.best else min(self.needed, closest)
        if right is not None and right + len(self.held.order) - done < least:
            return "below"
        if self.best is None or done < ENOUGH:
            return ""
        now, best = (each.key(self.config.cost)[0] for each in (costs, self.best.trial.costs))
        return "dearer" if now > DEARER * best else ""


def _steps(most: int) -> list[int]:
    """Return the T to try: powers of two, and the largest T."""
    return sorted({*(2**n for n in range(most.bit_length())), most})


def _report(stages: grid.Plan) -> Path:
    """Return the report of a plan's conversion."""
    (options,) = [options for stage, options in stages if stage == "convert"]
    assert isinstance(options, ConvertConfig)
    assert options.out is not None
    return options.out.with_suffix(".json")


def _said(trial: Trial, held: HeldOut) -> str:
    share = trial.kind.shown(trial.score)
    ratio = units.percent(trial.costs.energy_mj / trial.costs.energy_ann_mj)
    return (
        f"best so far: {trial.method} at T = {trial.timesteps}, {held.measured} {share}, {ratio} "
        "of the ANN's energy"
    )


def _rows(search: Search, found: Found) -> list[TrialRow]:
    """Return the trials as rows of the report."""
    rows = []
    for trial in search.trials:
        costs, measured = trial.costs, "within" if search.close(trial) else "below"
        rows.append(
            TrialRow(
                method=trial.method,
                timesteps=trial.timesteps,
                latency_steps=costs.latency,
                samples=trial.samples,
                share=trial.score,
                points_below=trial.below,
                energy_total_mj=costs.energy_mj,
                energy_total_ratio=costs.energy_mj / costs.energy_ann_mj,
                spikes_per_sample=costs.spikes,
                outcome="chosen" if trial is found.trial else trial.gave_up or measured,
            )
        )
    return rows


def _written(search: Search, found: Found, session: Session, progress: Progress) -> ConvertReport:
    """Write the chosen network, and the report of its conversion, with the search."""
    config, held = search.config, search.held
    assert config.within is not None
    reached = found is search.best
    trial, preset = found.trial, search.presets[found.trial.method]
    if not reached:
        unit = trial.kind.short_unit
        session.warn(
            progress,
            f"no network is within {config.within:g} {unit} of the ANN; the closest, "
            f"{trial.method} at T = {trial.timesteps}, is {trial.below:.2f} {unit} worse, and is "
            "written. Allow more (--allow, --max-timesteps), or fine-tune it: snnconv finetune",
        )
    checkpoint = replace(found.checkpoint, kind="converted")
    files = session.save(checkpoint, progress)
    done = found.report
    kept = ConvertReport.model_fields.keys() - Report.model_fields.keys()
    kept -= {"memory_bound_mib", "memory_taken_mib", "search", "corrections"}
    fields: dict[str, Any] = {name: getattr(done, name) for name in kept}
    return session.report(
        ConvertReport,
        report_files(config, "convert", config.out, files),
        files,
        **fields,
        corrections=correction_rows(checkpoint),
        search=SearchUse(
            points=config.within,
            reached=reached,
            method=trial.method,
            title=preset.title,
            reference=preset.reference,
            cost=config.cost,
            allow=list(config.allow),
            measured=held.measured,
            why_agreement=held.why or None,
            ann_accuracy=None if held.why or held.task else float(held.ann_right.double().mean()),
            headline=trial.kind,
            ann_score=trial.ann_score,
            samples=len(held.order),
            samples_sha256=digest(held.order.sort().values),
            trials=_rows(search, found),
            left_out=search.left_out,
        ),
    )
