import threading
import time

import numpy as np
import pytest
import torch

from snnconv import compiled as room
from snnconv.compiled import compiled, split


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


def test_a_full_disk(monkeypatch, arrays):
    njit = room.numba.njit

    def full(*args, cache=False, **options):
        def refuse(function):
            def call(*_):
                raise OSError("No space left on device")

            return call

        return refuse if cache else njit(*args, **options)

    monkeypatch.setattr(room.numba, "njit", full)
    compiled(double)(0, 5, *arrays)
    assert (arrays[1] == 2 * arrays[0]).all()


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [1, 6, 50_001])
def test_slices_cover_everything_once(threads, size):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        seen = np.zeros(size, np.int64)

        def mark(start, stop):
            seen[start:stop] += 1

        split(mark, size, 1000)
        assert (seen == 1).all()
    finally:
        torch.set_num_threads(before)


def test_what_a_thread_raises_is_raised():
    def fail(start, stop):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        split(fail, 10**6, 10)


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
        split(run, 3, 10**6)
    assert sorted([*done, failing]) == [0, 1, 2]


def test_the_thread_that_calls_has_its_share(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    seen = {}

    def run(start, stop):
        seen[start] = threading.current_thread()

    split(run, 3, 10**6)
    assert seen[0] is threading.current_thread()
    assert len(seen) == 3
