"""Containers in one zip file, read in place: entries are stored, so that a block is one piece of the file."""

from __future__ import annotations

import dataclasses
import functools
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path

from esteemcore._core.errors import FormatError

SUFFIXES = (".esteem.zip", ".zarr.zip")
_HEADER = 30
"""Bytes of the header of an entry, before its name."""


def is_zip_name(path: Path) -> bool:
    """Tell whether a name ends as those of packed containers do."""
    return path.name.lower().endswith(SUFFIXES)


def is_packed(path: Path) -> bool:
    """Tell whether a file is a packed container, by its name or, for other zips, by what is in it."""
    if is_zip_name(path):
        return True
    if path.suffix.lower() != ".zip":
        return False
    try:
        with zipfile.ZipFile(path) as file:
            return "zarr.json" in file.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, struct.error):
        return False


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One file in the zip: where its header is, its bytes and their CRC-32."""

    header: int
    size: int
    crc: int


@dataclasses.dataclass(frozen=True)
class ZippedPath:
    """A file or folder in a zip, with the few methods of `pathlib.Path` that reading a container needs.

    Attributes
    ----------
    archive : Path
        The zip file.
    inner : str
        Name in it, with slashes; empty for the root.
    """

    archive: Path
    inner: str = ""

    def __truediv__(self, name: str) -> ZippedPath:
        return ZippedPath(self.archive, f"{self.inner}/{name}" if self.inner else name)

    def __str__(self) -> str:
        return f"{self.archive}/{self.inner}" if self.inner else str(self.archive)

    def exists(self) -> bool:
        """Tell whether there is such a file or folder."""
        return self.inner in self.entries or self.is_dir()

    def is_dir(self) -> bool:
        """Tell whether there are files under this name."""
        return not self.inner or any(name.startswith(self.inner + "/") for name in self.entries)

    def sizes(self) -> dict[str, int]:
        """Return the bytes of all files under this name, by their names from here."""
        prefix = self.inner + "/" if self.inner else ""
        return {n.removeprefix(prefix): e.size for n, e in self.entries.items() if n.startswith(prefix)}

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the text of a file."""
        return self.read_bytes().decode(encoding)

    def read_bytes(self) -> bytes:
        """Return the bytes of a file.

        Raises
        ------
        FileNotFoundError
            If there is none.
        OSError
            If it was changed, or the zip was.
        """
        entry = self.entries.get(self.inner)
        if entry is None:
            raise FileNotFoundError(str(self))
        with self.archive.open("rb") as file:
            file.seek(entry.header)
            header = file.read(_HEADER)
            if len(header) != _HEADER or header[:4] != b"PK\3\4":
                raise OSError("the zip was changed or cut off")
            name, extra = struct.unpack("<HH", header[26:30])
            if file.read(name) != self.inner.encode():
                raise OSError("the zip has another file at its place")
            file.seek(extra, os.SEEK_CUR)
            data = file.read(entry.size)
        if len(data) != entry.size or zlib.crc32(data) != entry.crc:
            raise OSError("the zip was changed or cut off")
        return data

    @property
    def entries(self) -> dict[str, Entry]:
        """All files of the zip by name.

        Raises
        ------
        FormatError
            See `read_index`.
        """
        try:
            about = self.archive.stat()
        except OSError as error:
            raise FormatError(f"{self.archive} cannot be opened: {error.strerror or error}") from error
        return read_index(self.archive, about.st_size, about.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def read_index(archive: Path, size: int, _changed: int) -> dict[str, Entry]:
    """Return the files of a zip by name, none of which can lead outside of it or grow when it is read.

    Raises
    ------
    FormatError
        If it is no zip, damaged, or holds what `esteemcore.io.pack` never writes.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            infos = file.infolist()
            comment_free = file.start_dir
    except (
        OSError,
        zipfile.BadZipFile,
        ValueError,
        NotImplementedError,
        EOFError,
        struct.error,
        UnicodeError,
    ) as error:
        raise FormatError(f"{archive} cannot be opened: it is no zip, or it is damaged ({error})") from error
    found: dict[str, Entry] = {}
    for info in infos:
        if info.is_dir() and not info.file_size:
            continue
        name = info.filename
        parts = name.split("/")
        mode = info.external_attr >> 16
        if (
            info.orig_filename != name
            or any(part in ("", ".", "..") for part in parts)
            or any(sign in name for sign in '\\:\0*?"<>|')
            or (mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG))
        ):
            raise FormatError(f"{archive} is not opened: {name!r} in it is not the name of a file of a container")
        if info.flag_bits & 1 or info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise FormatError(
                f"{archive} cannot be read in place: {name!r} in it is compressed or encrypted, which io.pack never "
                "does; unzip it to a folder and open that"
            )
        if name in found:
            raise FormatError(f"{archive} is not opened: it has two files {name!r}")
        found[name] = Entry(info.header_offset, info.file_size, info.CRC)
    end = 0
    for name, entry in sorted(found.items(), key=lambda item: item[1].header):
        if entry.header < end or entry.header + _HEADER + len(name.encode()) + entry.size > comment_free:
            raise FormatError(f"{archive} is not opened: {name!r} in it overlaps another file or the end of the zip")
        end = entry.header + _HEADER + len(name.encode()) + entry.size
    return found
