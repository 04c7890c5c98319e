"""What everything that writes frame by frame has in common: it is ended by `with`, and keeps its attributes durable."""

from __future__ import annotations

import abc
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from esteemcore._core.errors import StreamError
from esteemcore.io import container


class EndsWith(abc.ABC):
    """Is ended by the end of a ``with`` block; a failure of that never hides the error that ended the block."""

    @abc.abstractmethod
    def _end(self) -> None:
        """Bring everything to the disk; raises StreamError."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._end()
        except StreamError as failure:
            if error is None:
                raise
            error.add_note(f"and the file could not be ended: {failure}")


class OpenFiles(Protocol):
    """The files of an open container."""

    geometry: dict[str, Any]
    metadata: dict[str, Any]

    def write_root(self, *, closed: bool) -> None:
        """Replace the attributes of the container."""

    def finish(self, n: int) -> None:
        """Cut everything to ``n`` frames and mark the container as closed."""


class OpenContainer(EndsWith):
    """A container that is being written, by one thread at a time."""

    path: Path
    _files: OpenFiles

    def __init__(self) -> None:
        self._committed = 0  # frames on disk
        self._closed = False
        self._busy = threading.RLock()

    @property
    def frames(self) -> int:
        """Number of committed frames: those that are safe on disk."""
        return self._committed

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._closed

    def update(self, *, geometry: Any = None, metadata: Mapping[str, Any] | None = None) -> None:
        """Add to, or replace, entries of the geometry and of the metadata, durably."""
        with self._busy:
            self._check_open()
            self._files.geometry.update(container.geometry_entries(geometry))
            self._files.metadata.update(metadata or {})
            try:
                self._files.write_root(closed=False)
            except OSError as error:
                raise self._failure(error) from error

    def close(self) -> None:
        """Commit all frames and mark the container as closed.

        Raises
        ------
        StreamError
            If the disk is full or refuses; nothing is lost, and it can be called again.
        """
        with self._busy:
            if self._closed:
                return
            self._commit_rest()
            try:
                self._files.finish(self._committed)
            except OSError as error:
                raise self._failure(error) from error
            self._closed = True

    def _end(self) -> None:
        self.close()

    def _commit_rest(self) -> None:
        """Commit what is in memory only; raises StreamError."""

    def _check_open(self) -> None:
        if self._closed:
            raise StreamError(f"{self.path} is closed; no more frames can be written by this writer")

    @abc.abstractmethod
    def _failure(self, error: OSError) -> StreamError:
        """Return what the user should know when the disk refuses."""
