"""The tables in docs/results.md are those of the reports beside them."""

import json
import runpy
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
TABLES = runpy.run_path(str(DOCS / "results" / "tables.py"))


def test_the_tables_are_current():
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    assert TABLES["filled"](text) == text, "run: python docs/results/tables.py"


def test_every_report_stands_in_a_table():
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    files = sorted((DOCS / "results").glob("*/*.json"))
    assert files
    for file in files:
        assert f"`{file.stem}`" in text, file


def test_every_report_of_images_is_an_evaluation_on_fashion_mnist():
    files = [*DOCS.glob("results/vgg11/*.json"), *DOCS.glob("results/resnet20/*.json")]
    assert files
    for file in files:
        report = json.loads(file.read_text(encoding="utf-8"))
        assert report["schema"] == "snnconv.evaluate/1"
        assert report["data"]["spec"] == "fashion-mnist"
        assert report["samples"] >= 2000


def test_max_pooling_by_the_cumulative_rule_gives_the_pool_of_the_mean():
    rows = json.loads((DOCS / "results" / "max_pool.json").read_text())["rows"]
    assert {tuple(row["window"]) for row in rows} == {(2, 2, 0), (3, 2, 1), (3, 1, 1)}
    for row in rows:
        assert row["cumulative_against_pool_of_mean"] < 1e-6
        assert row["cumulative_against_ann"] < 1.5 * row["input_error"]
        assert row["largest_spike_against_pool_of_mean"] > 0.3


def test_torchvision_s_networks_convert():
    """Bounds of what must hold of each piecewise-linear network, whatever the machine."""
    files = {file: json.loads(file.read_text()) for file in DOCS.glob("results/vision/*.json")}
    converted = {file: report for file, report in files.items() if report["converts"]}
    assert len(converted) >= 10
    for file, report in converted.items():
        assert report["folded"] < 1e-4  # float32, through a hundred layers
        # a Hardsigmoid's slope of 1/6 is kept in float32
        assert report["folded_float64"] < (1e-7 if "mobilenet_v3" in file.stem else 1e-12)
        if report["non_spiking_share"] == 0:
            assert report["levels"]["65536"] < 0.01
        errors = [report["levels"][n] for n in ("16", "256", "65536")]
        assert errors == sorted(errors, reverse=True)
        over_time = [report["if"]["max"][T] for T in ("16", "64", "256", "1024")]
        assert over_time == sorted(over_time, reverse=True)


def test_every_report_on_events_says_what_it_was_measured_on():
    reports = [json.loads(file.read_text()) for file in DOCS.glob("results/events/*.json")]
    assert len(reports) == 5
    for report in reports:
        assert report["data"]["frames"] == 8
        assert report["samples"] == report["data"]["test_samples"] == 2000
        assert report["first_layer_passes"] == report["timesteps"]
        assert report["accuracy"][-1] > 0.75
