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
