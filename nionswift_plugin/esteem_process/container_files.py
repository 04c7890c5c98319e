"""Containers on the disk: written whole, as a folder or as one file, and known by their names."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from esteemcore import io
from esteemcore.errors import ParameterError, StreamError
from esteemcore.io import durable
from esteemcore.io.container import SUFFIXES, check_portable

FOLDER, ZIP = ".esteem", ".esteem.zip"
ENDINGS = (*SUFFIXES, ".zip")
"""Of all names that a container may have."""
METADATA = "zarr.json"
SAVING = 0.9
"""Part of the time that saving takes, where packing follows."""


def write(
    path: Path,
    dataset: io.Dataset,
    *,
    codec: Mapping[str, Any] | None = None,
    progress: Callable[[float], None] | None = None,
    cancel: threading.Event | None = None,
) -> None:
    """Write a data set to a container; nothing is ever replaced, and nothing is left after an error.

    Parameters
    ----------
    path : Path
        ``*.esteem`` for a folder, ``*.zip`` for one file.
    dataset : Dataset
    codec, progress, cancel
        As in `esteemcore.io.save`.

    Raises
    ------
    EsteemError
        If it cannot be written; the message says why.
    """
    if path.exists():
        raise _exists(path)
    check_portable(path.name)
    if path.suffix.lower() != ".zip":
        io.save(path, dataset, codec=codec, progress=progress, cancel=cancel)
        return
    try:
        beside = Path(tempfile.mkdtemp(prefix=".esteem-", dir=path.parent))
    except OSError as error:
        raise StreamError(f"{path} cannot be written: {error.strerror or error}") from error
    try:
        folder = beside / f"data{FOLDER}"
        saving = None if progress is None else lambda done: progress(SAVING * done)
        packing = None if progress is None else lambda done: progress(SAVING + (1 - SAVING) * done)
        io.save(folder, dataset, codec=codec, progress=saving, cancel=cancel)
        packed = io.pack(folder, progress=packing, cancel=cancel)
        _put(packed, path)
        durable.sync_folder(path.parent)
    except OSError as error:
        raise StreamError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _put(packed: Path, path: Path) -> None:
    """Give a file its name, unless another file got this name since it was last looked at."""
    try:
        os.link(packed, path)  # a rename would replace what is there
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # no hard links on this disk
        if path.exists():
            raise _exists(path) from None
        packed.rename(path)


def _exists(path: Path) -> ParameterError:
    return ParameterError(f"{path.name} exists already and is not replaced; choose another name")


def named(path: str | Path, *endings: str) -> Path:
    """Return a path with one of some endings, the first one added unless there is one: 1.5 nA has none."""
    where = Path(path)
    return where if where.name.lower().endswith(endings) else where.with_name(where.name + endings[0])


def is_inside_container(path: Path) -> bool:
    """Tell whether a ``zarr.json`` belongs to one array of a container and not to the whole."""
    return any((folder / METADATA).exists() for folder in list(path.parents)[1:4])
