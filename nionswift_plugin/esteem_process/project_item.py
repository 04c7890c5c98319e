"""One data item on its way into the files of the project: nothing of it is left unless it becomes whole."""

from __future__ import annotations

import contextlib
import math
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from nion.swift.model import DataItem, FileStorageSystem
from numpy.typing import NDArray

from esteemcore.errors import ParameterError
from nionswift_plugin.esteem_process.from_dataset import Found, Part

SPARE_BYTES = 2**30
"""What stays free on the disk of the project."""

SLAB_BYTES = 8 * 2**20
"""Bytes that are written to HDF5 at a time; meanwhile the window cannot read any of its own HDF5 files."""


class ProjectItem:
    """The files of a data item that the project does not know yet.

    Parameters
    ----------
    found : Found
        What it will hold.
    path : Path
        Where it comes from.
    storage : ProjectStorageSystem
        That of the project.
    """

    def __init__(self, found: Found, path: Path, storage: FileStorageSystem.ProjectStorageSystem) -> None:
        self._found = found
        item = DataItem.DataItem(item_uuid=uuid.uuid4(), large_format=len(found.xdata.data_shape) > 2)
        with contextlib.closing(item):
            item.set_xdata(found.xdata)
            item.title = found.title
            item.caption = found.caption
            item.source_file_path = path
            item.created = found.xdata.timestamp
            self._created = item.created
            self._properties = {**item.write_to_dict(), "modified": item.modified.isoformat()}
            self.handler: Any = storage._make_storage_handler(FileStorageSystem.make_storage_handler_attributes(item))

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return self._found.nbytes

    @property
    def is_file(self) -> bool:
        """Whether it will be a file that can be written part by part."""
        return bool(self.handler.storage_handler_type == "hdf5")

    def fill(self, advance: Callable[[int], None]) -> None:
        """Write the values, then what makes them a data item; in any thread.

        Parameters
        ----------
        advance : callable
            Called with the number of bytes after each part; what it raises stops the work.
        """
        shape, descriptor = self._found.xdata.data_shape, self._found.xdata.data_descriptor
        advance(0)
        if self.is_file:
            self.handler.reserve_data(shape, self._found.dtype, descriptor, self._created)
            stored: Any = self.handler.read_data()
        else:
            stored = np.empty(shape, self._found.dtype)
        for place, values in self._found.parts():
            for inner, slab in _slabs(place, values):
                stored[inner] = slab
                advance(slab.nbytes)
        if not self.is_file:
            self.handler.write_data(stored, descriptor, self._created)
        self.handler.write_properties(self._properties, self._created)

    def discard(self) -> None:
        """Remove the files."""
        self.handler.remove()
        self.handler.close()


def check_room(items: list[ProjectItem]) -> None:
    """See that the disk of the project has room for data items that become files.

    Raises
    ------
    ParameterError
        If it has not.
    """
    files = [item for item in items if item.is_file]
    if not files:
        return
    needed = sum(item.nbytes for item in files)
    folder = next(parent for parent in Path(files[0].handler.reference).parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise ParameterError(
            f"it takes {needed / 1e9:,.1f} GB in the project, but the disk has {math.floor(free / 1e8) / 10:,.1f} GB "
            "free; nothing was imported"
        )


def _slabs(place: tuple[slice, ...], values: NDArray[Any]) -> Iterator[Part]:
    """Cut a part along its first axis."""
    if values.nbytes <= SLAB_BYTES or len(values) < 2:
        yield place, values
        return
    rows = max(SLAB_BYTES * len(values) // values.nbytes, 1)
    first = place[0].start or 0
    for start in range(0, len(values), rows):
        slab = values[start : start + rows]
        yield (slice(first + start, first + start + len(slab)), *place[1:]), slab
