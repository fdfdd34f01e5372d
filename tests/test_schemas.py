"""The JSON Schemas under docs/schemas are those of the code: a file for every report, no other."""

import json
from pathlib import Path

import pytest

from snnconv.reports import PUBLISHED, json_schema

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"
AGAIN = (
    'python -c "import json, pathlib, snnconv.reports as r; '
    "[pathlib.Path('docs/schemas', s + '.json').write_text("
    'json.dumps(r.json_schema(s), sort_keys=True, indent=2) + chr(10)) for s in r.PUBLISHED]"'
)


def test_there_is_a_schema_for_every_report_and_no_other():
    wanted = sorted(f"{stage}.json" for stage in PUBLISHED)
    assert sorted(file.name for file in FOLDER.iterdir()) == wanted, f"write them again:\n{AGAIN}"


@pytest.mark.parametrize("stage", sorted(PUBLISHED))
def test_a_schema_is_the_current_one(stage):
    current = json.dumps(json_schema(stage), sort_keys=True, indent=2) + "\n"
    published = (FOLDER / f"{stage}.json").read_text(encoding="utf-8")
    assert published == current, f"{stage}.json is out of date, write them again:\n{AGAIN}"


def test_the_documents_have_the_command_that_writes_them():
    assert AGAIN in (FOLDER.parent / "reference" / "reports.md").read_text(encoding="utf-8")
