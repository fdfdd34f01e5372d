"""A trace as NIRData: what the nodes of a NIR graph did, on a grid of time.

Nodes have the names that ``snnconv export --to nir`` gives them. Spikes of one level and one sign
are boolean, others are counts. Neurons of a sample stand in one row, in the order of the site's
axes.

Shape:
    ``[N, T, n]``; an axis along which all numbers are equal has the size 1.

Reference:
    NIRData of the ``nir`` package, 1.0.8: ``NIRGraphData``, ``NIRNodeData``, ``TimeGriddedData``.
"""

from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnconv.core.packages import imported
from snnconv.exports.parts.nir_run import package
from snnconv.exports.parts.unit_graph import layer_name
from snnconv.graph.ir import INPUT
from snnconv.traces.store import Store

MADE_BY = "made_by"
"""The attribute of the file that says who wrote it."""


def write_nir(
    file: Path, store: Store, sites: Collection[str], binary: Collection[str], dt: float
) -> None:
    """Write NIRData.

    Args:
        file: the file to write.
        store: the store with the arrays of the trace.
        sites: the sites of the trace.
        binary: the sites whose neurons have at most one spike at a step, of one sign.
        dt: the length of a step in seconds.

    Raises:
        UnsupportedError: nir is not installed, or too old.
    """
    nir = package("NIRData can't be written")
    taken = {INPUT, "output"}
    nodes = {}
    for site in sites:
        grids = {
            what: nir.TimeGriddedData(_grid(store, site, what, site in binary), dt)
            for name in store.arrays
            for owner, _, what in [name.rpartition("/")]
            if owner == site
        }
        nodes[layer_name(site, "neurons", taken)] = nir.NIRNodeData(grids)
    nir.write_data(str(file), nir.NIRGraphData(nodes))
    with imported("h5py", "NIRData").File(file, "a") as written:  # h5py comes with nir
        written.attrs.create(MADE_BY, f"snnconv {version('snnconv')}")


def _grid(store: Store, site: str, what: str, binary: bool) -> NDArray[Any]:
    """Return an array as ``[N, T, n]``, which stays on the disk until it is written."""
    found, axes = store.read(f"{site}/{what}"), store.arrays[f"{site}/{what}"].axes
    if "step" not in axes:
        found = found[:, None]
    grid: NDArray[Any] = found.reshape(*found.shape[:2], -1)
    return grid.view(np.bool_) if what == "spikes" and binary else grid
