"""Write files completely or not at all, and leave nothing else in the folder.

A temporary file has a short name of its own, because the target's name may already have the
greatest length. Its process holds a lock on it. So the next write in the folder removes a file that
a killed process left, and keeps one that another process is still writing.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from snnconv.core import distributed
from snnconv.errors import UsageError

PREFIX, SUFFIX = ".snnconv-", ".tmp"


Content = bytes | Sequence[bytes | memoryview]
"""What a file holds: its bytes, or pieces of them in their order, which nobody has to join."""


def digest_of(content: Content) -> str:
    """Return the SHA-256 of a file with this content."""
    found = hashlib.sha256()
    for piece in _pieces(content):
        found.update(piece)
    return found.hexdigest()


def write_atomically(file: Path, content: Content) -> None:
    """Write a file completely or not at all; if there are several processes, the first one writes.

    A symbolic link stays, and the file that it points to is written.

    Raises:
        UsageError: the folder can't be made or written, the disk is full, or a folder or a device
            is in the file's place.
    """
    if distributed.rank() > 0:
        return
    with whole(file) as handle:
        handle.writelines(_pieces(content))


def _pieces(content: Content) -> Sequence[bytes | memoryview]:
    return [content] if isinstance(content, bytes) else content


def write_together(contents: Mapping[Path, Content]) -> None:
    """Write several files as :func:`write_atomically`; if one can't be written, none appears."""
    if distributed.rank() > 0:
        return
    with ExitStack() as written:
        for file, content in contents.items():
            handle = written.enter_context(whole(file))
            handle.writelines(_pieces(content))
            handle.flush()  # a full disk is found here, before the first file has its name


def copy_atomically(source: Path, file: Path) -> None:
    """Copy a file as :func:`write_atomically` writes it, a part at a time."""
    if distributed.rank() > 0:
        return
    with source.open("rb") as content, whole(file) as handle:
        shutil.copyfileobj(content, handle)


@contextmanager
def whole(file: Path) -> Iterator[BinaryIO]:
    """Open a file to write it piece by piece; it appears at the end, or not at all.

    Raises:
        UsageError: as :func:`write_atomically`.
    """
    try:
        target = _target(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)
        with _beside(target) as handle:
            yield handle
    except OSError as error:
        at = f" ({error.filename})" if error.filename else ""
        raise UsageError(
            f"{file} can't be written",
            f"{error.strerror or error}{at}",
            "name a folder with room that you may write to (--run DIR or --out FILE)",
        ) from error


def refuse_unwritable(file: Path) -> None:
    """Refuse, before any work, a file that can't be written after it.

    Raises:
        UsageError: a folder, a device or a circle of links is in its place.
    """
    try:
        _target(file)
    except OSError as error:
        raise UsageError(
            f"{file} can't be written", error.strerror or str(error), "name another file: --out"
        ) from error


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Make a folder for temporary files, and remove it at the end.

    Raises:
        UsageError: it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        made = folder / f"{PREFIX}{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}"
        made.mkdir()
        descriptor = os.open(made, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(
            f"a folder in {folder} can't be made",
            error.strerror or str(error),
            "name a folder with room that you may write to: --run DIR",
        ) from error
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder; keep what is still being written."""
    with suppress(OSError):  # a folder that is not there, or that others may write to
        for left in folder.glob(f"{PREFIX}*{SUFFIX}"):
            is_folder = left.is_dir() and not left.is_symlink()
            descriptor = os.open(left, (os.O_RDONLY if is_folder else os.O_RDWR) | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if is_folder:
                    shutil.rmtree(left)
                else:
                    left.unlink(missing_ok=True)
            except BlockingIOError:  # its process is at work
                continue
            finally:
                os.close(descriptor)


def _target(file: Path) -> Path:
    """Return where a file's content goes: through links.

    Raises:
        OSError: what is there is no regular file.
    """
    target = Path(os.path.realpath(file))
    try:
        mode = target.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return target
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "Is a directory")
    if not stat.S_ISREG(mode):
        kind = "a circle of links" if stat.S_ISLNK(mode) else "a device, a pipe or a socket"
        raise OSError(errno.EINVAL, f"Is not a file but {kind}")
    return target


@contextmanager
def _beside(target: Path) -> Iterator[BinaryIO]:
    """Write a temporary file, sync and rename it, and sync the folder, which holds the name."""
    temporary, descriptor = _temporary(target.parent)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems know no sync of a folder
            os.fsync(folder)
    finally:
        os.close(folder)


def _temporary(folder: Path) -> tuple[Path, int]:
    """Return a new, locked file with the permissions of the umask."""
    while True:
        file = folder / f"{PREFIX}{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}"
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return file, descriptor
        os.close(descriptor)  # another process swept it away before it was locked
