import os
import resource
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.checkpoints import ann

import snnconv.core.files
from snnconv.checkpoint import load, save
from snnconv.core.files import write_atomically, write_together
from snnconv.core.metadata import LineageStep
from snnconv.errors import ExitCode, UsageError


@pytest.fixture
def file(tmp_path):
    return tmp_path / "net.safetensors"


# Writing: the old file or the new one, and nothing beside it


def unwritten(file, content=b"new"):
    with pytest.raises(UsageError) as caught:
        write_atomically(file, content)
    assert caught.value.code == ExitCode.USAGE
    assert str(file) in caught.value.problem
    assert "--run DIR or --out FILE" in caught.value.remedy
    return caught.value


def test_a_file_is_written_and_replaced(tmp_path):
    file = tmp_path / "deep" / "folder" / "report.json"
    write_atomically(file, b"old")
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_file_is_for_whom_other_files_are(umask, tmp_path):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "report.json", b"{}")
    finally:
        os.umask(before)
    assert (tmp_path / "report.json").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_folder_that_can_not_be_made(file):
    file.write_bytes(b"old")
    assert unwritten(file / "sub" / "net.safetensors").found.startswith("Not a directory")
    assert unwritten(file / "net.safetensors").found == f"File exists ({file})"
    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]


def test_a_folder_in_the_place_of_the_file(file):
    (file / "inside").mkdir(parents=True)
    unwritten(file)
    assert list(file.parent.iterdir()) == [file]
    assert (file / "inside").is_dir()


@pytest.fixture
def small_disk(tmp_path):
    """A folder with room for 64 KiB: a disk of its own where tests may mount, else by a limit."""
    folder, room = tmp_path / "disk", 64 * 1024
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(folder)]
    mounted = (
        shutil.which("mount") is not None
        and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    )
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if not mounted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    yield folder
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(small_disk):
    file = small_disk / "ann.safetensors"
    save(ann(), file)
    old = file.read_bytes()
    large = replace(
        ann(), lineage=(LineageStep(stage="train", parent=None, config={"noise": "x" * 200_000}),)
    )
    with pytest.raises(UsageError) as caught:
        save(large, file)
    assert caught.value.found.startswith(("No space left on device", "File too large"))
    assert file.read_bytes() == old
    assert list(small_disk.iterdir()) == [file]
    assert load(file).kind == "ann"


def test_a_full_disk_leaves_none_of_several_files(small_disk):
    first, second = small_disk / "net.py", small_disk / "net.safetensors"
    first.write_bytes(b"old")
    with pytest.raises(UsageError, match=r"net\.safetensors"):
        write_together({first: b"new", second: [b"x" * 40_000, memoryview(b"y" * 40_000)]})
    assert {file: file.read_bytes() for file in small_disk.iterdir()} == {first: b"old"}
    write_together({first: b"new", second: [b"x", memoryview(b"y")]})
    assert {file: file.read_bytes() for file in small_disk.iterdir()} == {
        first: b"new",
        second: b"xy",
    }


def test_an_interrupt_while_writing(file, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    file.write_bytes(b"old")
    monkeypatch.setattr(snnconv.core.files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]


# Names, links, and what others left


@pytest.mark.parametrize("length", [200, 236, 250, 255])
def test_a_name_of_any_legal_length(length, tmp_path):
    file = tmp_path / ("x" * (length - 5) + ".json")
    write_atomically(file, b"{}")
    assert file.read_bytes() == b"{}"
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_stays_one_and_its_target_is_written(tmp_path):
    target, link = tmp_path / "there" / "net.json", tmp_path / "net.json"
    link.symlink_to("there/net.json")
    for content in (b"old", b"new"):
        write_atomically(link, content)
        assert link.is_symlink()
        assert target.read_bytes() == content


def test_a_circle_of_links_and_a_pipe_are_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    os.mkfifo(tmp_path / "pipe")
    for name in ("a", "pipe"):
        with pytest.raises(UsageError, match="can't be written"):
            write_atomically(tmp_path / name, b"x")
    assert (tmp_path / "a").is_symlink()
    assert (tmp_path / "pipe").is_fifo()


def test_what_a_killed_process_left_is_swept_and_what_is_being_written_is_not(tmp_path):
    dead = tmp_path / ".snnconv-1-00000000.tmp"
    dead.write_bytes(b"half")
    foreign = tmp_path / ".other.tmp"
    foreign.touch()
    alive, descriptor = snnconv.core.files._temporary(tmp_path)
    write_atomically(tmp_path / "report.json", b"{}")
    assert set(tmp_path.iterdir()) == {foreign, alive, tmp_path / "report.json"}
    os.close(descriptor)
    write_atomically(tmp_path / "report.json", b"{}")
    assert set(tmp_path.iterdir()) == {foreign, tmp_path / "report.json"}


def test_the_file_is_synced_before_its_name_and_the_folder_after(tmp_path, monkeypatch):
    synced = []
    real = os.fsync

    def fsync(descriptor):
        synced.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), file.exists()))
        real(descriptor)

    file = tmp_path / "report.json"
    monkeypatch.setattr(snnconv.core.files.os, "fsync", fsync)
    write_atomically(file, b"{}")
    (temporary, named), folder = synced
    assert ".snnconv-" in temporary
    assert not named
    assert folder == (str(tmp_path), True)
