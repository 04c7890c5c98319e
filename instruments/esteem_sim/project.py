"""Projects of Nion Swift, written and opened without its window."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nion.data import Calibration, DataAndMetadata
from nion.swift.model import DataItem, DocumentModel, Persistence, Profile, WorkspaceLayout
from numpy.typing import ArrayLike

from esteemcore.errors import FormatError

SUFFIX = ".nsproj"

Axes = Sequence[tuple[float, float, str]]
"""Calibrations of the axes of an image: (offset, scale, unit) of each."""


def free_path(folder: Path, name: str) -> Path:
    """Return a path for a new project: ``name.nsproj``, or the first free one of ``name 2.nsproj``, ...

    A project is never replaced: the user may have worked in it, or have it open.
    """
    number = 1
    while True:
        path = folder / f"{name if number == 1 else f'{name} {number}'}{SUFFIX}"
        if not path.exists() and not data_folder(path).exists():
            return path
        number += 1


def data_folder(project: Path) -> Path:
    """Return the folder in which Nion keeps the data of a project."""
    return project.with_name(f"{project.stem} Data")


def create_project(path: Path) -> None:
    """Make an empty project at a path that is free."""
    loop = asyncio.new_event_loop()
    with contextlib.closing(loop), contextlib.closing(Profile.Profile(loop)) as profile:
        profile.create_project(path.parent, path.stem)


def discard_empty(path: Path) -> None:
    """Remove a project that never got any data."""
    if not data_folder(path).exists():
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def open_document(
    path: Path, event_loop: asyncio.AbstractEventLoop, cache: Path
) -> Iterator[DocumentModel.DocumentModel]:
    """Open a project in a profile of its own.

    Parameters
    ----------
    path : Path
        The ``*.nsproj``.
    event_loop : AbstractEventLoop
        Where Nion calls back.
    cache : Path
        Folder for what Nion can always compute again.

    Raises
    ------
    FormatError
        If Nion cannot read it.
    """
    profile = Profile.Profile(event_loop, cache_dir_path=cache, threaded_display=False)
    with contextlib.closing(profile):
        reference = profile.add_project_index(path)
        if reference.document_model is None or reference.project_state != "loaded":
            raise FormatError(f"{path} is no project that this Nion Swift can open ({reference.project_state})")
        try:
            yield reference.document_model
        finally:
            reference.unload_project()


def add_image(
    document: DocumentModel.DocumentModel,
    title: str,
    data: ArrayLike,
    unit: str,
    axes: Axes,
    metadata: Mapping[str, Any],
) -> DataItem.DataItem:
    """Put an image, or a sequence of images, into a project and return its data item.

    Parameters
    ----------
    document : DocumentModel
    title : str
    data : array_like, shape (y, x) or (n, y, x)
    unit : str
        Unit of the values.
    axes : sequence of (offset, scale, unit)
        Calibrations of the axes.
    metadata : mapping
        JSON-ready.
    """
    values = np.ascontiguousarray(data)
    xdata = DataAndMetadata.new_data_and_metadata(
        values,
        intensity_calibration=Calibration.Calibration(0.0, 1.0, unit),
        dimensional_calibrations=[Calibration.Calibration(*axis) for axis in axes],
        data_descriptor=DataAndMetadata.DataDescriptor(values.ndim == 3, 0, 2),
        metadata=dict(metadata),
    )
    item = DataItem.new_data_item(xdata)
    item.title = title
    document.append_data_item(item)
    return item


def add_workspace(
    document: DocumentModel.DocumentModel, name: str, rows: Sequence[Sequence[DataItem.DataItem]]
) -> None:
    """Add a workspace that shows data items in rows, and make it the one that is shown first."""
    lines = [_split("vertical", [_panel(document, item) for item in row]) for row in rows]
    workspace = WorkspaceLayout.WorkspaceLayout()
    project = document._project
    project.append_item("workspaces", workspace)
    workspace.name = name
    workspace.layout = _split("horizontal", lines)
    project.workspace_uuid = workspace.uuid


def _panel(document: DocumentModel.DocumentModel, item: DataItem.DataItem) -> dict[str, Any]:
    display_item = document.get_display_item_for_data_item(item)
    if display_item is None:
        return {"type": "image"}
    return {"type": "image", "display_item_specifier": Persistence.write_persistent_specifier(display_item.uuid)}


def _split(orientation: str, children: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a part of a layout; ``"vertical"`` is the direction of the lines between the children."""
    if len(children) == 1:
        return children[0]
    splits = [1 / len(children)] * len(children)
    return {"type": "splitter", "orientation": orientation, "splits": splits, "children": children}
