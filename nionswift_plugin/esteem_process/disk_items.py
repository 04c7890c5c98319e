"""Tables of Bragg disks as data items and as files, and the numbers that describe a detector as they are typed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from nion.data import DataAndMetadata
from numpy.typing import NDArray

from esteemcore import diffraction, io
from esteemcore.cli.beam import place_of
from esteemcore.diffraction.distortion import ellipse_matrix
from esteemcore.errors import ParameterError
from nionswift_plugin.esteem_process import linked_items
from nionswift_plugin.esteem_scan import binding

ROWS = ("frame", "y", "x", "intensity", "sigma_px", "score", "background")
"""What each row of a data item holds; columns are disks."""

BEAM = ("beam_y", "beam_x")
"""Further rows, where a stop hides the direct beam and its place was found: where it is in the frame of each disk."""

FIND = "friedel"
"""What the core calls a beam whose place is found by symmetry."""

HEADER = ("scan_row", "scan_column", "y_px", "x_px", "electrons", "sigma_px", "score_sigma", "background_e_per_px")
"""First line of a file with a table."""


def to_xdata(
    table: diffraction.DiskTable, entry: Mapping[str, Any], beam: NDArray[np.float64] | None = None
) -> DataAndMetadata.DataAndMetadata:
    """Return a table of disks as an image with the rows `ROWS` and a column for each disk.

    The rows `BEAM` follow where ``beam`` (y, x, 2), the place of the direct beam behind a stop, is given.
    """
    rows = [np.asarray(getattr(table, name), np.float64) for name in ROWS]
    names: tuple[str, ...] = ROWS
    if beam is not None:
        rows += list(beam.reshape(-1, 2)[table.frame].T)
        names = ROWS + BEAM
    return linked_items.xdata_of(
        np.stack(rows), (io.Axis("y", len(names)), io.Axis("x", len(table))), {"rows": list(names), **entry}
    )


def from_xdata(xdata: DataAndMetadata.DataAndMetadata | None) -> diffraction.DiskTable:
    """Return the table that a data item holds, with what is wrong with its frames.

    Raises
    ------
    ParameterError
        If it holds none.
    """
    if xdata is None:
        raise ParameterError("there are no disks yet; find them with Bragg Disks... first")
    known = xdata.metadata.get(binding.KEY, {})
    names = tuple(known.get("rows", ()))
    if names not in (ROWS, ROWS + BEAM) or xdata.data_shape[0] != len(names):
        raise ParameterError("this is no table of disks; take the one that Bragg Disks... makes")
    rows = dict(zip(ROWS, np.asarray(xdata.data), strict=False))
    notes = tuple(known.get("disks", {}).get("notes", ()))
    return diffraction.DiskTable(rows.pop("frame").astype(np.int64), **rows, notes=notes)


def beam_of(
    xdata: DataAndMetadata.DataAndMetadata, scan_shape: tuple[int, int]
) -> tuple[float, float] | NDArray[np.float64] | None:
    """Return where a stop hides the direct beam of a table's frames: (row, column), (y, x, 2), or None for no stop.

    Of a frame without a disk nothing is known, and nothing needed: there it is the mean of the others.
    """
    known = xdata.metadata[binding.KEY]
    if tuple(known["rows"]) == ROWS:
        place = place_of(known["disks"]["center"])
        return None if isinstance(place, str) else place
    data = np.asarray(xdata.data)
    found = data[len(ROWS) :].T
    beam = np.tile(found.mean(axis=0), (scan_shape[0] * scan_shape[1], 1))
    beam[data[0].astype(np.int64)] = found
    return beam.reshape(*scan_shape, 2)


def write_csv(path: Path, table: diffraction.DiskTable, scan_shape: tuple[int, int]) -> None:
    """Write a table as text, one line per disk, commas between; the first line names the columns with their units.

    Raises
    ------
    ParameterError
        If there is something already.
    """
    if path.exists():
        raise ParameterError(f"{path} exists already; choose another name")
    row, column = np.divmod(table.frame, scan_shape[1])
    columns = [row, column, *(np.asarray(getattr(table, name)) for name in ROWS[1:])]
    np.savetxt(
        path, np.stack(columns, axis=1), "%d,%d" + ",%.6g" * (len(columns) - 2), header=",".join(HEADER), comments=""
    )


def distortion_of(words: str) -> NDArray[np.float64] | None:
    """Return the distortion of the ellipse that was typed, see `ellipse_of`; None if none was."""
    found = ellipse_of(words)
    return None if found is None else ellipse_matrix(*found)


def ellipse_of(words: str) -> tuple[float, float] | None:
    """Return the ratio of the ellipse that was typed and its angle in degrees, None if none was.

    Raises
    ------
    ParameterError
        If it is none.
    """
    found = _two(words, "an ellipse", "long over short axis, and the angle in degrees, as in 1.03 45")
    if found is not None and not 1 <= found[0] <= 2:
        raise ParameterError(f"the ellipse has a ratio of {found[0]:g}; expected long over short axis, 1 to 2")
    return found


def _two(words: str, what: str, expected: str) -> tuple[float, float] | None:
    parts = str(words).replace(",", " ").split()
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not parts:
        return None
    if len(numbers) != 2 or not all(map(math.isfinite, numbers)):
        raise ParameterError(f"{words!r} is not {what}; expected {expected}")
    return numbers[0], numbers[1]
