"""The laws of a room's methods, as parameters of a test."""

import pytest

from snnconv.testing import laws


def cases(registry, long=()):
    """A case for each method and each law of it.

    Args:
        registry: of the room.
        long: pairs of a method and a law that take minutes.
    """
    found = [(name, law) for name in registry.names() for law in laws(name, registry.name)]
    assert set(long) <= {(name, str(law)) for name, law in found}
    return [
        pytest.param(
            law,
            id=f"{name}-{law}",
            marks=pytest.mark.long if (name, str(law)) in long else (),
        )
        for name, law in found
    ]
