import pytest

from snnconv.core import jit


@pytest.fixture
def smallest_pieces():
    """All threads take part, however little there is to do."""
    with jit.pieces_of(1):
        yield
