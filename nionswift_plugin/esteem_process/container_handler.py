"""File > Import, File > Export and drag-and-drop of containers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nion.swift.model import DisplayItem, FileStorageSystem, ImportExportManager

from esteemcore import io
from esteemcore.errors import FormatError, ParameterError
from esteemcore.io.read_container import load_container, place_of
from esteemcore.io.zipped import is_packed
from nionswift_plugin.esteem_process import container_files, import_job, import_window, notices, project_item
from nionswift_plugin.esteem_process.from_dataset import find
from nionswift_plugin.esteem_process.project_item import ProjectItem
from nionswift_plugin.esteem_process.to_dataset import make_dataset

AT_ONCE_BYTES = 32 * 2**20
"""Up to so many bytes are imported while the window waits, and are shown where they were dropped; more in a thread."""


class ContainerHandler(ImportExportManager.ImportExportHandler):
    """Import and export of Esteem's container.

    Nion Swift chooses a handler by what follows the last dot of a name: ``json`` for the ``zarr.json`` in the folder of
    a container, ``zip`` for a packed one.
    """

    def __init__(self, io_handler_id: str, name: str, extensions: Sequence[str]) -> None:
        super().__init__(io_handler_id, name, extensions)
        self._whole: dict[Path, list[Any]] = {}

    def read_import_data(
        self,
        extension: str,
        file_path: Path,
        project_storage_system: FileStorageSystem.ProjectStorageSystem,
    ) -> ImportExportManager.ImportData:
        """Read a container into the project; what goes wrong is told in words and changes nothing.

        What is large is read in a thread; then nothing is returned now, and this is asked again when it is there.
        """
        if extension == "json" and (
            file_path.name != container_files.METADATA or container_files.is_inside_container(file_path)
        ):  # Import Folder hands over every file of this kind
            return ImportExportManager.ImportData([], {}, [])
        if file_path in self._whole:
            return ImportExportManager.ImportData(self._whole.pop(file_path), {}, [])
        items: list[ProjectItem] = []
        try:
            found, notes = find(_load(file_path))
            for entry in found:
                items.append(ProjectItem(entry, file_path, project_storage_system))
            project_item.check_room(items)
            window = import_window.window_of(project_storage_system)
            at_once = window is None or sum(item.nbytes for item in items) <= AT_ONCE_BYTES
            if at_once:
                import_job.fill(items, lambda done: None, threading.Event())
        except Exception as error:
            for item in items:
                item.discard()
            notices.tell(_label(file_path), import_job.words(error))
            return ImportExportManager.ImportData([], {}, [])
        if notes or not found:
            notices.tell(_label(file_path), "; ".join(notes) or "there are no signals in it")
        if at_once:
            return ImportExportManager.ImportData([item.handler for item in items], {}, [])
        import_window.ImportWindow(window, _label(file_path), items, lambda h: self._adopt(window, file_path, h))
        return ImportExportManager.ImportData([], {}, [])

    def _adopt(self, window: Any, path: Path, handlers: list[Any]) -> None:
        """Let Nion Swift take data items whose files are whole by now, as if they had just been read."""
        self._whole[path] = handlers
        window.receive_files([str(path)])
        for handler in self._whole.pop(path, []):  # another plug-in took this kind of file
            handler.remove()
            handler.close()

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
            notices.tell(display_item.displayed_title, import_job.words(error))
            raise


def _load(path: Path) -> io.Dataset:
    """Open a container, and nothing else that `esteemcore.io.load` can read."""
    if path.name != container_files.METADATA and not is_packed(path):
        raise FormatError(f"{path} is no container of Esteem")
    return load_container(place_of(path.parent if path.name == container_files.METADATA else path))


def _label(path: Path) -> str:
    return path.parent.name if path.name == container_files.METADATA else path.name


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
