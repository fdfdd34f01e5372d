import contextlib
import itertools
import resource
import threading
import time

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from snnconv.core import jit as room
from snnconv.core.jit import compiled, parallel_for, parallel_slices

Floats, Ints = NDArray[np.float32], NDArray[np.int64]


def double(start, stop, given, out):
    for i in range(start, stop):
        out[i] = 2 * given[i]


@pytest.fixture
def arrays():
    given = np.arange(5, dtype=np.float32)
    return given, np.zeros_like(given)


def test_no_place_to_keep_the_code(monkeypatch, arrays):
    njit = room.numba.njit

    def homeless(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*args, **options)

    monkeypatch.setattr(room.numba, "njit", homeless)
    compiled(double)(0, 5, *arrays)
    assert (arrays[1] == 2 * arrays[0]).all()


@contextlib.contextmanager
def no_space():
    """No file can grow, as on a disk that is full; nor can one to which a test's result goes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def doubles_twice(arrays):
    kernel = compiled(double)
    for _ in range(2):
        arrays[1][:] = 0
        kernel(0, 5, *arrays)
        assert (arrays[1] == 2 * arrays[0]).all()


def test_a_disk_that_is_full(monkeypatch, tmp_path, arrays):
    monkeypatch.setattr(room.numba.config, "CACHE_DIR", str(tmp_path))
    with no_space():
        doubles_twice(arrays)
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file.stat().st_size]


def test_a_disk_that_cannot_be_read(monkeypatch, tmp_path, arrays):
    monkeypatch.setattr(room.numba.config, "CACHE_DIR", str(tmp_path))
    doubles_twice(arrays)
    (index,) = tmp_path.rglob("*.nbi")
    (code,) = tmp_path.rglob("*.nbc")
    index.unlink()
    index.mkdir()  # opening it is an error of the system
    code.unlink()
    doubles_twice(arrays)
    assert not list(tmp_path.rglob("*.nbc"))


def test_code_for_other_types_is_not_taken(monkeypatch, tmp_path):
    """As two processes may leave it that compile at the same time."""
    monkeypatch.setattr(room.numba.config, "CACHE_DIR", str(tmp_path))
    wide = np.arange(10, dtype=np.float64)
    narrow = wide.astype(np.float32)
    first = compiled(double)
    for given in (narrow, wide):
        first(0, 5, given, np.zeros_like(given))
    one, other = tmp_path.rglob("*.nbc")
    one_code, other_code = one.read_bytes(), other.read_bytes()
    one.write_bytes(other_code)
    other.write_bytes(one_code)
    for _ in range(2):  # what is wrong is written anew
        again = compiled(double)
        for given in (narrow, wide):
            out = np.zeros_like(given)
            again(0, 5, given, out)
            assert (out[:5] == 2 * given[:5]).all()
    codes = {file.read_bytes() for file in (one, other)}
    assert len(codes) == 2


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [1, 6, 50_001])
def test_slices_cover_everything_once(threads, size):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        seen = np.zeros(size, np.int64)

        def mark(start, stop):
            seen[start:stop] += 1

        parallel_slices(mark, size, 1000)
        assert (seen == 1).all()
    finally:
        torch.set_num_threads(before)


def test_what_a_thread_raises_is_raised():
    def fail(start, stop):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        parallel_slices(fail, 10**6, 10)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_when_one_fails_the_others_are_waited_for(failing, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    done = []

    def run(start, stop):
        if start == failing:
            raise ZeroDivisionError
        time.sleep(0.05 * (1 + start))
        done.append(start)

    with pytest.raises(ZeroDivisionError):
        parallel_slices(run, 3, 10**6)
    assert sorted([*done, failing]) == [0, 1, 2]


def test_the_thread_that_calls_has_its_share(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    all_at_work = threading.Barrier(3, timeout=60)
    seen = set()

    def run(start, stop):
        all_at_work.wait()
        seen.add(threading.current_thread())

    parallel_slices(run, 3, 10**6)
    assert threading.current_thread() in seen
    assert len(seen) == 3


def test_whoever_is_done_sooner_takes_more(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    taken = {}
    rest = threading.Event()

    def work(pieces):
        mine = taken.setdefault(threading.current_thread(), [])
        for piece in pieces:
            mine.append(piece)
            if mine[0][0] == 0:  # whoever has the first
                assert rest.wait(60)
            elif piece[1] == 160:
                rest.set()

    parallel_for(work, 160, 10**6)
    assert sorted(map(len, taken.values())) == [1, 15]


@pytest.mark.parametrize(("size", "cuts"), [(60, {0, 10, 20, 30, 40, 50, 60}), (40, None)])
def test_what_belongs_together_stays_together(size, cuts, monkeypatch):
    """Where there is enough of it for all pieces."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    seen = []
    with room.pieces_of(10**6 * size // (2 * 2 * 3)):  # three for each of two threads
        parallel_for(seen.extend, size, 10**6, 10)
    cuts = cuts or {size * i // 6 for i in range(7)}
    assert sorted(seen) == list(itertools.pairwise(sorted(cuts)))


def test_little_work_is_not_cut_into_pieces(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    seen = []
    with room.pieces_of(100):
        parallel_for(seen.extend, 300, 1)
        assert len(seen) == 2
        parallel_for(seen.extend, 100, 1)
    assert seen[2:] == [(0, 100)]


# The door: types and layouts of arrays


@compiled
def read(start: int, given: Floats, mask: Floats | None, places: Ints) -> None:
    for i in range(start, len(given)):
        given[i] = given[i] + places[i]


FLOATS, INTS = np.zeros(4, np.float32), np.arange(4)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((0, FLOATS.astype(np.float64), None, INTS), "for 'given': it reads float32"),
        ((0, FLOATS, np.zeros(4, bool), INTS), "for 'mask': it reads float32"),
        ((0, FLOATS, None, INTS.astype(np.int32)), "for 'places': it reads int64"),
        ((0, np.zeros(8, np.float32)[::2], None, INTS), "for 'given': it reads float32"),
        ((0, np.zeros((4, 2), np.float32).T, None, INTS), "for 'given': it reads float32"),
        ((0, None, None, INTS), "for 'given': it reads float32"),
        ((0, 1.0, None, INTS), "for 'given': it reads float32"),
    ],
)
def test_arrays_of_other_types_and_layouts_are_refused(arguments, says):
    with pytest.raises(TypeError, match=says):
        read(*arguments)
    given = np.zeros(4, np.float32)
    read(0, given, None, INTS)  # and it goes on to take what it may
    assert given.tolist() == [0, 1, 2, 3]
    read(0, given, given.copy(), INTS)
