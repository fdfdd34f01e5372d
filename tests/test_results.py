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


def test_every_report_is_an_evaluation_on_fashion_mnist():
    for file in sorted((DOCS / "results").glob("*/*.json")):
        report = json.loads(file.read_text(encoding="utf-8"))
        assert report["schema"] == "snnconv.evaluate/1"
        assert report["data"]["spec"] == "fashion-mnist"
        assert report["samples"] >= 2000
