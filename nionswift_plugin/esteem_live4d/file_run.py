"""A live run from a file, through the same chain."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from esteemcore import fourd, io
from esteemcore.errors import CalibrationError
from nionswift_plugin.esteem_live4d.session import LiveSession, View, Watcher

READ_AHEAD_BYTES = 64 * 2**20
"""Frames that may wait in memory."""


class FileRun(LiveSession):
    """Frames from a file, through the same chain.

    Parameters
    ----------
    path : Path
    watcher : Watcher
    fallback : Geometry or None
        For what the file does not say; the centre of the detector aside.
    regularization : float
    typed : callable, optional
        Makes the view from the geometry of the file; by default it is used as it is.
    bragg_significance : float, optional
        See `LiveSession`.
    """

    def __init__(
        self,
        path: Path,
        watcher: Watcher,
        fallback: fourd.Geometry | None,
        regularization: float,
        typed: Callable[[fourd.Geometry], View] | None = None,
        bragg_significance: float | None = None,
    ) -> None:
        self._file = path
        self._source = io.source(path)
        entries: dict[str, Any] = {
            field.name: getattr(fallback, field.name, None) for field in dataclasses.fields(fourd.Geometry)
        }
        entries["center"] = None  # that of another detector says nothing here; the middle does
        known = {name: value for name, value in self._source.dataset.geometry.items() if name in entries}
        entries.update({"rotation_deg": 0.0, "flip": False} if fallback is None else {}, **known)
        try:
            base = fourd.Geometry(**entries)
        except CalibrationError as error:
            raise CalibrationError(f"{path.name}: {error}") from error
        view = typed(base) if typed else View(base, regularization)
        super().__init__(view, watcher, path.name, base, bragg_significance)
        self.path = path

    def _work(self) -> str:
        source, dataset = self._source, self._source.dataset
        self.total = len(source)
        self.metadata = {**dataset.metadata, "raw_file": str(self._file)}
        self._prepare(source.spec)
        self._watcher.said(f"Reading {self._file.name}")
        with self._make_runner(source.spec, None) as runner:
            for chunk in source.chunks():
                if self._stop.is_set():
                    break
                runner.put(chunk)
                while runner.status.memory_bytes > READ_AHEAD_BYTES and not runner.errors:
                    time.sleep(0.002)
            runner.finish()
        notes = "".join(f"; {note}" for note in dataset.notes)
        word = "Stopped by the user" if self._stop.is_set() else "Done"
        return f"{word}: {runner.status.acquired:,} of {self.total:,} frames read from {self._file}{notes}"
