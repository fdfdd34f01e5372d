"""Debian's package descriptions, a folder per section, as ``textfolder:`` reads them.

apt-get -o Acquire::Languages=en update
python docs/results/package_texts.py OUT        # a minute; further words go to apt: -o NAME=VALUE
snnconv train lstm --data textfolder:OUT

Ten sections of the main archive. A text is a package's short description and its long one. Of texts
that are equal one is kept, at most 1,000 of a section; packages are taken in the order of a hash of
their source package, so a section's texts come from all over the alphabet. A fifth of the source
packages, by another hash, are the test split: what was built from one source, and often shares
whole paragraphs, is on one side. The same lists of the archive make the same files.
"""

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

SECTIONS = (
    *("fonts", "games", "graphics", "java", "javascript"),
    *("net", "perl", "python", "science", "sound"),
)
CAP = 1_000
TEST_SHARE = 5  # one source package of so many

Stanza = Mapping[str, str]


def stanzas(text: str) -> Iterator[Stanza]:
    """The entries of a control file, their fields by name."""
    for entry in text.split("\n\n"):
        fields = re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", entry, re.M)
        if fields:
            yield dict(fields)


def described(translations: Iterable[Stanza]) -> dict[str, str]:
    """Descriptions by the hash that packages name them by, as running text."""
    found = {}
    for stanza in translations:
        lines = [line.strip() for line in stanza["Description-en"].splitlines()]
        found[stanza["Description-md5"]] = "\n".join("" if line == "." else line for line in lines)
    return found


def number(kind: str, source: str) -> int:
    """A source package's number, another one for each kind."""
    name = f"{kind} {source}".encode()
    return int(hashlib.sha1(name, usedforsecurity=False).hexdigest(), 16)


def texts(
    packages: Iterable[Stanza], descriptions: Mapping[str, str]
) -> dict[str, list[tuple[str, str, str]]]:
    """``(part, package, text)`` of every section."""
    chosen: dict[str, list[tuple[str, str, str]]] = {section: [] for section in SECTIONS}
    seen: set[str] = set()

    def source(stanza: Stanza) -> str:
        return stanza.get("Source", stanza["Package"]).split()[0]

    for stanza in sorted(packages, key=lambda s: (number("order", source(s)), s["Package"])):
        text = descriptions.get(stanza.get("Description-md5", ""))
        taken = chosen.get(stanza.get("Section", ""))
        if text is None or taken is None or text in seen or len(taken) >= CAP:
            continue
        seen.add(text)
        part = "train" if number("part", source(stanza)) % TEST_SHARE else "test"
        taken.append((part, stanza["Package"], text))
    return chosen


def apt(*command: str) -> str:
    """What a command of apt prints."""
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return run.stdout


def make(out: Path, options: Sequence[str] = ()) -> None:
    """Write ``out/train/SECTION/PACKAGE.txt`` and ``out/test/SECTION/PACKAGE.txt``."""
    languages = ["-o", "Acquire::Languages=en", *options]
    wanted = ["--format", "$(FILENAME)", "Created-By: Translations"]
    files = apt("apt-get", *languages, "indextargets", *wanted).split()
    if not files:
        sys.exit("no descriptions are here: apt-get -o Acquire::Languages=en update")
    translations = "\n".join(apt("/usr/lib/apt/apt-helper", "cat-file", file) for file in files)
    packages = stanzas(apt("apt-cache", *options, "dumpavail"))
    for section, found in texts(packages, described(stanzas(translations))).items():
        for part, package, text in found:
            file = out / part / section / f"{package}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python docs/results/package_texts.py OUT [-o NAME=VALUE ...]")
    make(Path(sys.argv[1]), sys.argv[2:])
