"""The folder of a session at the microscope: one numbered sub-folder for each region."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from esteemcore import io
from esteemcore._core.errors import EsteemError, ParameterError, StreamError
from esteemcore.io import durable

_REGION = re.compile(r"region_(\d{3,})")
_PART = re.compile(r"frames_(\d{5,})\.esteem")


class SessionFolder:
    """The folder of a session.

    Parameters
    ----------
    path : str or Path
        Made when the first region is.

    Examples
    --------
    >>> import tempfile
    >>> session = SessionFolder(tempfile.mkdtemp())
    >>> session.new_region().path.name, session.new_region().path.name
    ('region_001', 'region_002')
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        if not self.path.is_absolute():
            raise ParameterError(f"choose the session folder from its root on, not {str(path)!r}")

    @property
    def regions(self) -> tuple[RegionFolder, ...]:
        """The regions, by their number."""
        found = []
        if self.path.is_dir():
            for entry in self.path.iterdir():
                match = _REGION.fullmatch(entry.name)
                if match and entry.is_dir():
                    found.append((int(match[1]), entry))
        return tuple(RegionFolder(entry) for _, entry in sorted(found))

    def new_region(self) -> RegionFolder:
        """Make the folder of the next region; numbers are never used again, not even of an emptied folder.

        Raises
        ------
        StreamError
            If the disk refuses.
        """
        last = self.regions[-1:]
        number = int(last[0].path.name.split("_")[1]) if last else 0
        try:
            durable.make_folder(self.path, exist_ok=True)
            while True:
                number += 1
                made = self.path / f"region_{number:03d}"
                try:
                    durable.make_folder(made)
                except FileExistsError:
                    continue
                return RegionFolder(made)
        except OSError as error:
            raise StreamError(
                f"no folder can be made in {self.path} ({error.strerror or error}); choose another session folder"
            ) from error


class RegionFolder:
    """The frames of one region: a container that grows with each press of Acquire.

    Another one follows where the signals, the dwell time or the order of a frame change.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def parts(self) -> tuple[tuple[int, Path], ...]:
        """Number of the first frame and path of each container."""
        found = []
        if self.path.is_dir():
            for entry in self.path.iterdir():
                match = _PART.fullmatch(entry.name)
                if match:
                    found.append((int(match[1]), entry))
        return tuple(sorted(found))

    @property
    def count(self) -> int:
        """Number of whole frames: those that are safe on disk."""
        parts = self.parts
        return parts[-1][0] + _length(parts[-1][1]) if parts else 0

    def next_part(self) -> tuple[int, Path]:
        """Return number of the next frame, and its place if it begins a container; an empty one may be there."""
        count = self.count
        return count, self.path / f"frames_{count:05d}.esteem"

    def datasets(self) -> Iterator[tuple[int, io.Dataset]]:
        """Yield number of the first frame and data set of each container that has frames."""
        for first, path in self.parts:
            dataset = io.load(path)
            if dataset.series is not None and dataset.series.frames:
                yield first, dataset

    def frame(self, number: int) -> dict[str, Any]:
        """Return one frame of every signal; events as `esteemcore.events.SparseSI`.

        Raises
        ------
        ParameterError
            If there is no such frame.
        """
        for first, dataset in self.datasets():
            frames = dataset.series.frames if dataset.series is not None else 0
            if first <= number < first + frames:
                return {
                    name: signal.data.frame(number - first) if signal.kind == "events" else signal.data[number - first]
                    for name, signal in dataset.signals.items()
                }
        raise ParameterError(f"{self.path} has {self.count} frames, no frame {number}")


def _length(path: Path) -> int:
    """Return the number of whole frames in a container; one whose making was interrupted has none."""
    try:
        series = io.load(path).series
    except EsteemError:
        if any(path.glob("signals/*/c.*")):
            raise
        return 0
    return series.frames if series is not None else 0
