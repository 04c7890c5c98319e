"""File > Import, File > Export and drag-and-drop of containers."""

from __future__ import annotations

import logging
import math
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from nion.swift.model import DataItem, DisplayItem, FileStorageSystem, ImportExportManager

from esteemcore import io
from esteemcore.errors import EsteemError, ParameterError
from nionswift_plugin.esteem_process import container_files, notices
from nionswift_plugin.esteem_process.from_dataset import Found, find
from nionswift_plugin.esteem_process.to_dataset import make_dataset

SPARE_BYTES = 2**30
"""What stays free on the disk of the project."""


class ContainerHandler(ImportExportManager.ImportExportHandler):
    """Import and export of Esteem's container.

    Nion Swift chooses a handler by what follows the last dot of a name: ``json`` for the ``zarr.json`` in the folder of
    a container, ``zip`` for a packed one.
    """

    def read_import_data(
        self,
        extension: str,
        file_path: Path,
        project_storage_system: FileStorageSystem.ProjectStorageSystem,
    ) -> ImportExportManager.ImportData:
        """Read a container into the project; what goes wrong is told in words and changes nothing."""
        if extension == "json" and (
            file_path.name != container_files.METADATA or container_files.is_inside_container(file_path)
        ):  # Import Folder hands over every file of this kind
            return ImportExportManager.ImportData([], {}, [])
        handlers: list[Any] = []
        try:
            found, notes = find(_load(file_path))
            for entry in found:
                _store(entry, file_path, project_storage_system, handlers)
        except Exception as error:
            for handler in handlers:
                handler.remove()
                handler.close()
            notices.tell(_label(file_path), _words(error))
            return ImportExportManager.ImportData([], {}, [])
        if notes or not found:
            notices.tell(_label(file_path), "; ".join(notes) or "there are no signals in it")
        return ImportExportManager.ImportData(handlers, {}, [])

    def can_write_display_item(self, display_item: DisplayItem.DisplayItem, extension: str) -> bool:
        """Tell whether a display item is offered for export; what cannot be written is refused in words."""
        return any(item.has_data for item in display_item.data_items)

    def write_display_item(self, display_item: DisplayItem.DisplayItem, path: Path, extension: str) -> None:
        """Write the data items of a display item to one container."""
        try:
            if extension == "json":
                raise ParameterError(f"{path.name} is no name for a container; use *.esteem or *.esteem.zip")
            container_files.write(path, make_dataset(display_item.data_items))
        except Exception as error:
            notices.tell(display_item.displayed_title, _words(error))
            raise


def _load(path: Path) -> io.Dataset:
    """Open a container, and nothing else that `esteemcore.io.load` can read."""
    io.info(path.parent if path.name == container_files.METADATA else path)
    return io.load(path)


def _store(found: Found, path: Path, storage: FileStorageSystem.ProjectStorageSystem, handlers: list[Any]) -> None:
    """Write one data item to the files of the project, part by part."""
    item = DataItem.DataItem(item_uuid=uuid.uuid4(), large_format=len(found.xdata.data_shape) > 2)
    try:
        item.set_xdata(found.xdata)
        item.title = found.title
        item.caption = found.caption
        item.source_file_path = path
        item.created = found.xdata.timestamp
        handler = storage._make_storage_handler(FileStorageSystem.make_storage_handler_attributes(item))
        handlers.append(handler)
        properties = {**item.write_to_dict(), "modified": item.modified.isoformat()}
        shape, descriptor = found.xdata.data_shape, found.xdata.data_descriptor
        if handler.storage_handler_type == "hdf5":
            _check_room(found, Path(handler.reference))
            handler.reserve_data(shape, found.dtype, descriptor, item.created)
            stored: Any = handler.read_data()
            for place, values in found.parts():
                stored[place] = values
        else:
            whole = np.empty(shape, found.dtype)
            for place, values in found.parts():
                whole[place] = values
            handler.write_data(whole, descriptor, item.created)
        handler.write_properties(properties, item.created)
    finally:
        item.close()


def _check_room(found: Found, path: Path) -> None:
    folder = next(parent for parent in path.parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < found.nbytes + SPARE_BYTES:
        raise ParameterError(
            f"{found.title!r} takes {found.nbytes / 1e9:,.1f} GB in the project, but the disk has "
            f"{math.floor(free / 1e8) / 10:,.1f} GB free; nothing was imported"
        )


def _label(path: Path) -> str:
    return path.parent.name if path.name == container_files.METADATA else path.name


def _words(error: Exception) -> str:
    if isinstance(error, EsteemError):
        return str(error)
    logging.getLogger("esteem").exception("import or export failed")
    return f"{type(error).__name__}: {error}"


_registered: list[ContainerHandler] = []


def register() -> None:
    """Add the file types to Nion Swift."""
    if not _registered:
        _registered.append(ContainerHandler("esteem-io-handler", "Esteem container", ["esteem", "json"]))
        _registered.append(
            ContainerHandler("esteem-zip-io-handler", "Esteem container in one file", ["esteem.zip", "zip"])
        )
        for handler in _registered:
            ImportExportManager.ImportExportManager().register_io_handler(handler)


def unregister() -> None:
    """Take the file types away again."""
    while _registered:
        ImportExportManager.ImportExportManager().unregister_io_handler(_registered.pop())
