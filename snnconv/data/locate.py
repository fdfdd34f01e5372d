"""Where data sets are: what stands behind the colon, and the folders that are looked through."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from snnconv.errors import UsageError


@dataclass(frozen=True)
class Source:
    """Where to look: the part of ``--data`` behind the colon, and the search root.

    Attributes:
        vocabulary: of the network that texts are for, if there is one already.
        scale: that raw values are divided by, if the user says so.
        layout: of raw samples, if the user says so.
        size: that images are brought to, if the user says so.
        classes: whether whole numbers, one a sample, have to be classes, numbered without gaps.
        system: where the system's packages keep data sets.
    """

    argument: str
    root: Path | None
    download: bool
    vocabulary: tuple[str, ...] = ()
    scale: float | None = None
    layout: str | None = None
    size: int | None = None
    classes: bool = True
    system: Path = Path("/usr/share/datasets")


def resolve(source: Source, path: str) -> Path:
    """Return the path that ``folder:PATH`` means: relative to ``--data-root``, if it is given.

    Raises:
        UsageError: it is empty.
    """
    if not path:
        raise UsageError(
            "the data set needs a path",
            "nothing behind the colon",
            "write folder:DIR, npz:FILE, speech-commands:DIR, textfolder:DIR or imdb:DIR",
        )
    try:
        given = Path(path).expanduser()
    except RuntimeError as error:  # ~name, where nobody has that name
        raise UsageError(f"{path} can't be found", str(error), "write the whole path") from error
    return source.root / given if source.root else given


def locate_files(
    source: Source,
    *,
    name: str,
    folder: str,
    layouts: Sequence[Sequence[str]],
    fetch: Callable[[Path], object],
    how_to_get: str,
    package: str = "",
) -> list[Path]:
    """Return a data set's files, in the first complete layout of the first place that has one.

    Looks below ``--data-root`` and in it; without that in ``data``, in ``~/.cache/snnconv`` and in
    the folder of a system's package. A download goes to ``--data-root``, or to
    ``~/.cache/snnconv``.

    Args:
        source: where to look, and whether to download.
        name: the data set's, for error messages.
        folder: the folder below a root that holds the files.
        layouts: the files that are needed, in each form they come in.
        fetch: downloads them into a root.
        how_to_get: the remedy.
        package: the folder in which a package of the system keeps them; empty if there is none.

    Raises:
        UsageError: no place has them all; says where it was looked for and how to get them.
    """
    roots = [source.root] if source.root else [Path("data"), Path.home() / ".cache" / "snnconv"]
    places = [place for root in roots for place in (root / folder, root)]
    if source.root is None and package:
        places.append(source.system / package)
    lacking: dict[str, list[str]] = {}
    for place in places:
        missing = []
        for layout in layouts:
            absent = [file for file in layout if not (place / file).is_file()]
            if not absent:
                return [place / file for file in layout]
            missing.append(absent)
        lacking.setdefault(min(missing, key=len)[0], []).append(str(place))
    if source.download:
        try:
            fetch(roots[-1])
        except (OSError, RuntimeError, HTTPException) as error:  # torchvision's, urllib's, http's
            raise UsageError(
                f"data set '{name}' can't be downloaded", str(error), how_to_get
            ) from error
        here = Source(source.argument, roots[-1], download=False)
        return locate_files(
            here, name=name, folder=folder, layouts=layouts, fetch=fetch, how_to_get=how_to_get
        )
    found = "; ".join(f"no {file} in: {', '.join(where)}" for file, where in lacking.items())
    raise UsageError(f"data set '{name}' is not here", found, how_to_get)
