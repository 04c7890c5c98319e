"""What is known of each frame: columns that are read whole, as far as they are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import FormatError
from esteemcore.io.stored import Place, StoredArray, block_name
from esteemcore.io.zarr_json import ArrayMetadata

LOST_ROWS = 2**24
"""Rows that a damaged container may have without files for them; more are no damage, but a claim to memory."""

BLOCK_ROWS = 2**28
"""Rows that one file may hold."""

NOTED = 1000
"""Missing files that are noted one by one."""


def check_rows(folder: Place, label: str, array: ArrayMetadata) -> None:
    """See that an array has files for the rows that it claims, before memory is asked for what is known of each.

    Raises
    ------
    FormatError
        If there are far too few.
    """
    n = array.shape[0]
    if n <= LOST_ROWS:
        return
    files = len(file_names(folder))
    if n > files * min(array.chunks[0], BLOCK_ROWS):
        raise FormatError(f"{label} cannot be opened: it has {n:,} rows, but only {files:,} files in {folder}")


def file_names(folder: Place) -> set[str]:
    """Return the names of the files in a folder, none where there is no folder."""
    if not isinstance(folder, Path):
        return set(folder.sizes())
    try:
        return {file.name for file in folder.iterdir()}
    except OSError:
        return set()


def read_rows(array: StoredArray, lost: float, notes: list[str]) -> NDArray[np.generic]:
    """Return all rows of a column; ``lost`` where they are lost, and a note.

    Parameters
    ----------
    array : StoredArray
        The column. Where it has a fill value, blocks without a file are filled; otherwise they are lost.
    lost : float
        What stands for rows that cannot be read.
    notes : list of str
        Is told what cannot be read.
    """
    n, rows, there = len(array), array.chunks[0], file_names(array.folder)
    values = np.full(array.shape, lost if array.fill is None else array.fill, array.dtype)
    missing = 0
    for place in array.places():
        part = slice(place[0] * rows, (place[0] + 1) * rows)
        absent = block_name(place) not in there
        missing += absent
        if absent and (array.fill is not None or missing > NOTED):
            continue
        try:
            values[part] = array.block(place)[: n - part.start]
        except FormatError as error:
            values[part] = lost
            notes.append(str(error))
    if array.fill is None and missing > NOTED:
        notes.append(f"{array.label}: {missing:,} of its files are missing, those noted before included")
    return values
