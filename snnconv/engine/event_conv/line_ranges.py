"""Lines of images one behind the other, as they are split over threads, image by image.

Shape:
    Numbers of images and of lines.
"""

from collections.abc import Iterator

from snnconv.core.jit import Pieces


def bands(pieces: Pieces, lines: int, most: int) -> Iterator[tuple[int, int, int, int]]:
    """``(first, last, top, bottom)``: images ``first`` to ``last``, lines ``top`` to ``bottom``.

    Of more images than one all lines.

    Args:
        pieces: from a first line to one behind the last.
        lines: of an image.
        most: images at once.
    """
    for start, stop in pieces:
        yield from _bands(start, stop, lines, most)


def _bands(start: int, stop: int, lines: int, most: int) -> Iterator[tuple[int, int, int, int]]:
    while start < stop:
        image, top = divmod(start, lines)
        if top or stop < start + lines:
            bottom = min(lines, top + stop - start)
            yield image, image + 1, top, bottom
            start += bottom - top
        else:
            many = min(most, (stop - start) // lines)
            yield image, image + many, 0, lines
            start += many * lines
