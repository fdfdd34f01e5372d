"""The set of package descriptions that docs/results makes can be read, and nothing leaks."""

import runpy
from pathlib import Path

from snnconv.data.dataset import load_dataset

MAKER = runpy.run_path(str(Path(__file__).parents[2] / "docs/results/package_texts.py"))

TRANSLATIONS = """
Package: zed
Description-md5: 1
Description-en: An editor
 It edits.
 .
 And more.

Package: zed-doc
Description-md5: 2
Description-en: An editor (documentation)
"""


def package(name, source, section, md5):
    return {"Package": name, "Source": source, "Section": section, "Description-md5": md5}


def test_descriptions_are_read_whole():
    found = MAKER["described"](MAKER["stanzas"](TRANSLATIONS))
    assert found == {"1": "An editor\nIt edits.\n\nAnd more.", "2": "An editor (documentation)"}


def test_one_source_is_on_one_side_and_equal_texts_are_there_once():
    packages = [
        package(f"p{k}-{part}", f"s{k} (1.0)", "games", f"{k % 150} {part}")
        for k in range(200)
        for part in "ab"
    ]
    packages += [package("other", "s1", "kernel", "0 a"), package("mute", "s1", "games", "none")]
    descriptions = {f"{k} {part}": f"text {k} {part}" for k in range(150) for part in "ab"}
    found = MAKER["texts"](packages, descriptions)
    assert {section for section, rows in found.items() if rows} == {"games"}
    sides = {}
    for part, name, _ in found["games"]:
        sides.setdefault(name.partition("-")[0], set()).add(part)
    assert all(len(parts) == 1 for parts in sides.values())
    assert 15 <= sum(parts == {"test"} for parts in sides.values()) <= 50
    assert sorted(text for _, _, text in found["games"]) == sorted(descriptions.values())
    assert MAKER["texts"](packages[::-1], descriptions) == found


def test_a_section_is_capped():
    packages = [package(f"p{k}", f"s{k}", "fonts", str(k)) for k in range(1100)]
    found = MAKER["texts"](packages, {str(k): f"text {k}" for k in range(1100)})
    assert len(found["fonts"]) == MAKER["CAP"] == 1000


def test_what_is_made_can_be_read(tmp_path, monkeypatch):
    numbers = range(30)
    entries = [f"Package: p{k}\nSection: fonts\nDescription-md5: {k}\n" for k in numbers]
    texts = [f"Description-md5: {k}\nDescription-en: Font of\n style{k}.\n" for k in numbers]
    answers = {
        "apt-get": "list",
        "apt-cache": "\n".join(entries),
        "/usr/lib/apt/apt-helper": "\n".join(texts),
    }
    make = MAKER["make"]
    monkeypatch.setitem(make.__globals__, "apt", lambda *command: answers[command[0]])
    make(tmp_path / "made")
    data = load_dataset("textfolder:made?length=4", tmp_path)
    assert data.info.classes == ("fonts",)
    assert len(data.train.labels) + len(data.test.labels) == 30
    assert "font" in data.info.vocabulary
