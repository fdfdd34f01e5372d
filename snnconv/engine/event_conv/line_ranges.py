"""The lines of a batch of images, split over threads into ranges of lines or of whole images.

Shape:
    Numbers of images and of lines.
"""

from collections.abc import Iterator

from snnconv.core.jit import Pieces


def line_ranges(pieces: Pieces, lines: int, most: int) -> Iterator[tuple[int, int, int, int]]:
    """``(first, last, top, bottom)``: images ``first`` to ``last``, lines ``top`` to ``bottom``.

    Ranges that cover several images always contain whole images.

    Args:
        pieces: from a first line to one behind the last.
        lines: of an image.
        most: images at once.
    """
    for start, stop in pieces:
        yield from _ranges_of(start, stop, lines, most)


def _ranges_of(start: int, stop: int, lines: int, most: int) -> Iterator[tuple[int, int, int, int]]:
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
