"""Which run is best in what, and what runs are called; the same as Markdown."""

import pytest
from helpers import examples

from snnconv.core.uncertainty import packed_numbers
from snnconv.render.compare import comparable, comparison, differences, quantities, verdict
from snnconv.render.labels import calibration, labels
from snnconv.render.markdown import escaped, markdown
from snnconv.render.provenance import command, lineage
from snnconv.reports import DataUse


def quantity(evaluations, name):
    return next(q for q in quantities(evaluations) if q.name == name)


def test_the_most_accurate_run_is_best():
    found = quantity(examples.three(), "SNN at t = 4")
    assert found.cells == ("85.83%", "94.72%", "98.61%")
    assert found.intervals == ("81.9 to 89.1", "91.9 to 96.6", "96.8 to 99.4")
    assert found.best == {2}  # apart from 91.9 to 96.6; these files lack the outcomes by sample


def test_every_accuracy_has_its_interval_and_every_run_its_samples():
    for found in quantities(examples.three()):
        accuracies = found.group == "Accuracy" and any("%" in (c or "") for c in found.cells)
        if accuracies and found.name.startswith(("SNN", "ANN")):
            assert [c is None for c in found.cells] == [c is None for c in found.intervals]
    assert quantity(examples.three(), "Samples n").cells == ("360",) * 3


def bold(*rights, n=360, **changes):
    """Where the best accuracy of runs at T = 1 stands, given which samples each has right."""
    runs = [examples.right_on(right, n, f"run {i}") for i, right in enumerate(rights)]
    runs = [run.model_copy(update=changes) for run in runs]
    return quantity(runs, "SNN at T").best, verdict(runs)


def test_a_difference_within_noise_is_not_marked():
    best, said = bold(range(350), range(346))  # 4 of 4 discordant: p = 2/16
    assert best == set()
    assert said == "No run is more accurate at T than every other one by more than chance."


def test_a_difference_beyond_noise_is_marked():
    best, said = bold(range(350), range(344))  # 6 of 6: p = 2/64
    assert best == {0}
    assert said == (
        "\u201crun 0\u201d is more accurate at T than every other run, by more than chance."
    )


def test_mcnemar_sees_what_intervals_do_not_and_the_other_way_round():
    # the same accuracies, 6 apart: on nested samples beyond chance, on crossed ones (16 to 10) not
    assert bold(range(350), range(344))[0] == {0}
    assert bold(range(350), [*range(334), *range(350, 360)])[0] == set()


def test_the_best_one_must_beat_each_other_run():
    assert bold(range(350), range(349), range(100))[0] == set()


@pytest.mark.parametrize(
    ("n", "changes", "why"),
    [
        (99, {}, "99 samples, where 100 are the least"),
        (100, {"classes": 1}, "the samples have one class only"),
    ],
)
def test_without_enough_samples_or_classes_nothing_is_called_better(n, changes, why):
    best, said = bold(range(n), range(n // 2), n=n, **changes)
    assert best == set()
    assert said == f"No run is called better than another: {why}."
    assert bold(range(100), range(50), n=100)[0] == {0}


def test_on_other_samples_of_as_many_nothing_is_compared():
    one, other = (
        examples.right_on(range(right), 200, "x", digest)
        for right, digest in ((200, "a" * 64), (100, "b" * 64))
    )
    assert not comparable([one, other])
    assert differences([one, other]) is None
    assert quantity([one, other], "SNN at T").best == set()


def test_an_older_file_is_of_the_same_samples_where_all_were_measured():
    old, new = examples.evaluation(), examples.right_on(range(350), 360, "x")
    assert comparable([old, new])
    part = {"samples": 200}
    old, new = old.model_copy(update=part), examples.right_on(range(150), 200, "x")
    assert not comparable([old, new])


def test_every_two_runs_are_tested():
    rights = (range(350), range(344), [*range(334), *range(350, 360)])
    table = differences([examples.right_on(r, 360, f"run {i}") for i, r in enumerate(rights)])
    assert table.rows == (
        ("run 0", "run 1", "+1.67", "6", "0", "0.031"),
        ("run 0", "run 2", "+1.67", "16", "10", "0.33"),
        ("run 1", "run 2", "0.00", "10", "10", "1.00"),
    )
    assert differences(examples.three()) is None  # older files


def test_a_run_that_needs_all_steps_has_one_accuracy():
    runs = [examples.evaluation("if", T=4), examples.late()]
    for t in (1, 2):
        assert quantity(runs, f"SNN at t = {t}").cells[1] is None
    assert quantity(runs, "SNN at t = 4").cells == ("94.72%", "98.61%")
    assert quantity(runs, "Latency, steps").cells == (None, "4")


COSTS = ("Synaptic operations (SOPs)", "With the first layer, once")


def spending(label, sops, energy, **changes):
    """A run that spends so many operations on each sample."""
    mean = sum(sops) / len(sops)
    return examples.evaluation(
        label,
        sops_per_sample=mean,
        sops_by_sample=packed_numbers(sops),
        energy_synaptic_mj=energy,
        energy_total_mj=energy + 1,
        **changes,
    )


def around(mean, spread=0.0, n=360):
    """Costs whose mean is exact: the samples lie above and below it in turn."""
    return [mean + spread * (-1) ** i for i in range(n)]


def test_a_cheap_run_that_fails_is_not_best():
    good = spending("good", around(100.0), 2.0)
    poor = spending("poor", around(1.0), 1.0, speed=9)
    dear = spending("dear", around(500.0), 3.0)
    for name in COSTS:
        assert quantity([good, poor, dear], name).best == {0}


@pytest.mark.parametrize("name", COSTS)
def test_a_cost_is_best_beyond_chance_only(name):
    """Differences of mean 1 and deviation s over 360 samples: t = 18.97/s, and 1.96 is beyond."""
    dear = spending("dear", around(101.0), 1.01)
    for spread, best in ((9.0, {1}), (10.0, set())):
        cheap = spending("cheap", around(100.0, spread), 1.0)
        assert quantity([dear, cheap], name).best == best


def test_a_cost_must_beat_each_other_run():
    runs = [
        spending(str(mean), around(mean, 20.0 * (mean == 100)), mean / 100)
        for mean in (100.0, 101.0, 200.0)
    ]
    assert not any(quantity(runs, name).best for name in COSTS)
    assert quantity(runs[::2], COSTS[0]).best == {0}


def test_without_the_operations_by_sample_no_cost_is_best():
    old = examples.evaluation("old", sops_per_sample=1.0, sops_by_sample=None)
    dear = spending("dear", around(500.0), 3.0)
    assert not any(quantity([old, dear], name).best for name in COSTS)


def test_nothing_is_best_alone_or_among_equals():
    assert not any(q.best for q in quantities([examples.evaluation()]))
    assert not any(q.best for q in quantities([examples.evaluation(), examples.evaluation()]))


@pytest.mark.parametrize(
    "other", [{"samples": 100}, {"data": DataUse(spec="x", train_samples=1, test_samples=360)}]
)
def test_nothing_is_best_on_different_samples(other):
    runs = [examples.evaluation(), examples.evaluation(speed=2, **other)]
    assert not any(q.best for q in quantities(runs))
    assert quantity(runs, "Data").cells[0] == "digits, 360 samples"


def test_what_nobody_measured_has_no_row():
    names = {q.name for q in quantities([examples.minimal()])}
    assert names == {"Neuron", "Time steps T", "Time per sample", "Peak memory"}


def test_what_one_run_did_not_measure_has_an_empty_cell():
    runs = [examples.minimal(), examples.evaluation()]
    assert quantity(runs, "SNN at T").cells == (None, "98.89%")


def test_a_foreign_metric_has_a_row():
    run = examples.evaluation(latency_ms=1.5, curve=[1, 2])
    assert quantity([run], "latency_ms").cells == ("1.5",)
    assert "curve" not in {q.name for q in quantities([run])}


def test_steps_to_the_ann():
    assert quantity(examples.three(), "First within 0.1 points of the ANN").cells == (
        "step 21",
        "step 12",
        "not reached",
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([{"T": 8}, {"T": 16}], ["x, T = 8", "x, T = 16"]),
        (
            [{"params": {"v0": 0, "c": 1}}, {"params": {"v0": 0.5, "c": 1}}],
            ["x, v0=0", "x, v0=0.5"],
        ),
        (
            [{"calibration": {"method": "max"}}, {"calibration": {"method": "mse"}}],
            ["x, max", "x, mse"],
        ),
        ([{"samples": 10}, {}], ["x, n = 10", "x, n = 360"]),
        ([{}, {}, {}], ["x (1)", "x (2)", "x (3)"]),
        ([{}, {"T": 8}, {}], ["x, T = 32 (1)", "x, T = 8", "x, T = 32 (2)"]),
    ],
)
def test_equal_labels_say_in_what_runs_differ(changes, expected):
    assert labels([examples.evaluation("x", **each) for each in changes]) == expected


def test_thresholds_in_words():
    run = examples.minimal()
    facts = {"method": "percentile", "params": {"percentile": 99.9}, "granularity": "layer"}
    run = run.model_copy(update={"calibration": facts | {"samples": 1024}})
    assert calibration(run) == "percentile 99.9, per layer, 1024 samples"
    assert calibration(examples.minimal()) == ""


def test_the_comparison_has_a_row_per_run():
    table = comparison(examples.three())
    assert [row[0] for row in table.rows] == ["cnn, if", "cnn, msat", "cnn, lm-ht"]
    assert [column.title for column in comparison([examples.minimal()]).columns] == ["run", "T"]
    assert comparison([]).rows == ()


def test_the_command_names_what_is_not_default():
    run = examples.evaluation(T=8)
    wanted = "snnconv evaluate 'snnconv-run/cnn, if.safetensors' --timesteps 8"
    assert command(run.stage, run.config) == wanted
    options = {
        "param": {"v0": 0.5},
        "download": True,
        "metric": ["sin"],
        "later": 3,
        "threads": None,
    }
    run = run.model_copy(update={"config": options})
    expected = "snnconv evaluate --param v0=0.5 --download --metric sin --later 3"
    assert command(run.stage, run.config) == expected


def test_files_have_whole_hashes():
    rows = lineage(examples.evaluation()).rows
    assert rows[0][:2] == ("read", "snnconv-run/cnn, if.safetensors")
    assert all(len(row[2]) == 64 for row in rows)


def test_markdown_has_tables_and_provenance():
    text = markdown(examples.three())
    row = "| SNN at T | 98.89% (97.2 to 99.6) | 98.89% (97.2 to 99.6) | 98.61% (96.8 to 99.4) |"
    assert row in text
    assert "| SNN at t = 4 | 85.83% (81.9 to 89.1) | 94.72% (91.9 to 96.6) | **98.61%" in text
    assert "No run is more accurate at T than every other one by more than chance." in text
    assert "| conv1.relu |" in text
    assert "- Command: `snnconv evaluate" in text
    assert "kept at conv4.relu: 87.31%" in text
    assert examples.digest("snnconv-run/cnn, if.safetensors") in text
    assert "snnconv.evaluate/1" in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_markdown_escapes_names():
    text = markdown(examples.odd())
    assert "<" not in text
    assert "a\\|b" in text
    assert escaped("a_b*[c]`") == "a\\_b\\*\\[c\\]\\`"
    assert "\x1b" not in text


def test_markdown_of_next_to_nothing():
    assert "No evaluations." in markdown([])
    assert "# bare" in markdown([examples.minimal()])


def test_markdown_tables_are_rectangular():
    for block in markdown([*examples.eight(), examples.minimal()]).split("\n\n"):
        if block.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in block.splitlines()}) == 1
