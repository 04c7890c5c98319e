"""Files that are either whole or not there: temporary name, fsync, rename, fsync of the folder."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterable
from pathlib import Path

_WINDOWS = os.name == "nt"
TEMPORARY = ".part"
"""Suffix of files that are being written; readers never look at them."""


def write_file(path: Path, pieces: Iterable[bytes]) -> None:
    """Put a file in place, or replace it, in one step; on any failure the old one stays and no temporary file is left.

    The name is durable only after `sync_folder`.

    Raises
    ------
    OSError
        If the disk is full or refuses.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("wb", buffering=0) as file:
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[file.write(view) :]
            os.fsync(file.fileno())
        replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def replace(source: Path, target: Path) -> None:
    """Rename over an existing file; Windows refuses for a moment while a reader or a virus scanner has it open."""
    for wait in (0.001, 0.005, 0.02, 0.1, 0.5) if _WINDOWS else ():
        try:
            source.replace(target)
        except PermissionError:
            time.sleep(wait)
        else:
            return
    source.replace(target)


def make_folder(folder: Path, *, exist_ok: bool = False) -> None:
    """Make a folder, and those above it that are missing, whose names survive a crash of the machine.

    Raises
    ------
    FileExistsError
        If it is there already, unless ``exist_ok``.
    OSError
        If the disk is full or refuses.
    """
    if not folder.parent.exists():
        make_folder(folder.parent, exist_ok=True)
    there = exist_ok and folder.is_dir()
    folder.mkdir(exist_ok=exist_ok)
    try:
        sync_folder(folder.parent)
    except OSError:
        if not there:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def sync_tree(path: Path) -> None:
    """Make a file durable, or a folder with all that is in it; its own name is durable only after `sync_folder`."""
    if path.is_dir():
        for inner in path.iterdir():
            sync_tree(inner)
        sync_folder(path)
        return
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable (Windows does it by itself)."""
    if _WINDOWS:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def reason(error: OSError) -> str:
    """Say in words why the disk refused."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    if error.errno == errno.EFBIG:
        return "the disk takes no files of this size"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"writing is not allowed ({error.strerror})"
    return f"the disk reports an error ({error.strerror or error})"
