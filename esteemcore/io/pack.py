"""A closed container in one zip file: to mail, to upload, and to read in place."""

from __future__ import annotations

import os
import threading
import uuid
import zipfile
from pathlib import Path

import google_crc32c

from esteemcore._core.errors import FormatError, ParameterError, StreamError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore.io import container, durable, zarr_json
from esteemcore.io.read_container import read_root
from esteemcore.io.zipped import SUFFIXES, is_zip_name

_DATE = (1980, 1, 1, 0, 0, 0)
"""Time of all entries: equal containers make equal zips."""


def pack(
    path: str | Path,
    zip_path: str | Path | None = None,
    *,
    overwrite: bool = False,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> Path:
    """Put a closed container into one zip file, which `load`, `source`, `verify` and plain Zarr read in place.

    The blocks are stored as they are, not compressed again; the checksum of each is compared on the way. The zip
    appears under its name when it is whole.

    Parameters
    ----------
    path : str or Path
        Folder of the container.
    zip_path : str or Path, optional
        File to make, ``*.esteem.zip`` or ``*.zarr.zip``. Default: beside the folder, its name with ``.zip``.
    overwrite : bool
        Replace a zip that is there already.
    progress : callable, optional
        Called with the fraction done.
    cancel : threading.Event, optional
        When set, the work stops with `CancelledError` and nothing is left behind.

    Returns
    -------
    Path
        The zip file.

    Raises
    ------
    FormatError
        If the folder is no container, was not closed, or a block in it is damaged.
    ParameterError
        If the name cannot be used.
    StreamError
        If the disk is full or refuses; nothing is left behind.
    """
    folder = container.given_path(path)
    if not folder.is_dir():
        raise FormatError(f"{folder} is no folder; pack a container, *.esteem or *.zarr")
    if read_root(folder).get("closed") is not True:
        raise FormatError(
            f"{folder} was not closed: it is being written, or the writing process was killed, so it is not packed; "
            "when nobody writes any more, copy it with io.save and pack the copy"
        )
    target = folder.with_name(folder.name + ".zip") if zip_path is None else Path(zip_path)
    if not is_zip_name(target):
        raise ParameterError(f"{target.name!r} is not a name for a packed container; end it in {' or '.join(SUFFIXES)}")
    if target.exists() and not (overwrite and target.is_file()):
        raise ParameterError(container.OCCUPIED.format(target))
    container.check_portable(target.name)
    files = _files(folder)
    steps = Progress(len(files), progress, cancel)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}{durable.TEMPORARY}")
    try:
        with temporary.open("wb") as raw:
            with zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED, allowZip64=True) as file:
                for name in files:
                    steps.step(0)
                    data = (folder / name).read_bytes()
                    _check_block(folder, name, data)
                    info = zipfile.ZipInfo(name, _DATE)
                    info.external_attr = 0o644 << 16
                    file.writestr(info, data)
                    steps.step()
            raw.flush()
            os.fsync(raw.fileno())
        durable.replace(temporary, target)
        durable.sync_folder(target.absolute().parent)
    except OSError as error:
        raise StreamError(f"{target} cannot be written: {durable.reason(error)}; nothing was changed") from error
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _files(folder: Path) -> list[str]:
    """Return the names of all files of a container, with slashes; what describes it first."""
    names = []
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in files:
            if name.endswith(durable.TEMPORARY):
                continue
            if name != zarr_json.METADATA and not name.startswith("c."):
                raise FormatError(f"{Path(place) / name} is no part of a container; move it away, then pack")
            names.append((Path(place) / name).relative_to(folder).as_posix())
    return sorted(names, key=lambda n: (not n.endswith(zarr_json.METADATA), n.count("/"), n))


def _check_block(folder: Path, name: str, data: bytes) -> None:
    """Compare the CRC-32C at the end of a block."""
    if name.rsplit("/", 1)[-1] == zarr_json.METADATA:
        return
    if len(data) < 5 or int(google_crc32c.value(data[:-4])).to_bytes(4, "little") != data[-4:]:
        raise FormatError(
            f"{folder / name} is damaged: its checksum does not match, so the container is not packed; see io.verify"
        )
