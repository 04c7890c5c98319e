"""One acquisition of the demo: from a microscope to the raw file and to the images, whoever takes the frames."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from esteemcore import fourd, io, scan, simulate, stream
from esteemcore.errors import StreamError

Axes = Sequence[tuple[float, float, str]]
"""Calibrations of the axes of an image: (offset, scale, unit) of each."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What is done, in Nion Swift or without it.

    Attributes
    ----------
    beam : Beam
    detector : Detector
    shape : (int, int)
        Scan positions, visited in shuffled order.
    step_nm : float
        Their distance in nm.
    origin_nm : (float, float)
        Place on the specimen (row, column) of the first position in nm.
    rate : float
        Frames per second of the camera.
    seed : int
        Of the visit order and of the electrons.
    fractions : tuple of float
        Parts of the frames after which the phase is looked at.
    """

    beam: simulate.Beam
    detector: simulate.Detector
    shape: tuple[int, int]
    step_nm: float
    origin_nm: tuple[float, float]
    rate: float
    seed: int
    fractions: tuple[float, ...]

    @property
    def pattern(self) -> scan.ScanPattern:
        """Where the beam goes."""
        return scan.shuffled(self.shape, seed=self.seed)


class Account(Protocol):
    """What a microscope says of an acquisition when it is over."""

    @property
    def planned_dose(self) -> float:
        """Return the dose over the field by the plan, in e/Å²."""

    @property
    def recorded_dose(self) -> float:
        """Return the dose over the field that the dose ledger was charged, in e/Å²."""

    @property
    def is_blanked(self) -> bool:
        """Return whether the beam was left blanked."""


class Microscope(Protocol):
    """What takes the frames: the simulation alone, or the simulated microscope in Nion Swift."""

    @property
    def geometry(self) -> fourd.Geometry:
        """Return the calibrations of the scan."""

    def set_dose(self, dose: float) -> scan.Exposure:
        """Set the current for a dose in e/Å² and return what the next acquisition will expose."""

    def acquire(self, exposure: scan.Exposure, take: Callable[[stream.Chunk], None]) -> Account | None:
        """Do what `set_dose` returned, at the camera's pace, and hand over the frames as they come."""

    def keep(
        self, group: str, title: str, data: NDArray[Any], unit: str, axes: Axes, record: Mapping[str, Any]
    ) -> None:
        """Put an image into the project, if there is one, shown in a row with others of its group."""


@dataclasses.dataclass(frozen=True)
class Step:
    """The phase image when a part of the frames had come."""

    frames: int
    phase: NDArray[np.float32]
    correlation: float
    scale: float


@dataclasses.dataclass(frozen=True)
class Run:
    """One acquisition and all that came out of it."""

    dose: float
    exposure: scan.Exposure
    account: Account | None
    steps: tuple[Step, ...]
    results: dict[str, Any]
    images: dict[str, fourd.LiveImage]
    frames_per_s: float
    longest_lag_s: float
    file: Path
    file_bytes: int
    raw_bytes: int
    same_from_file: bool
    explained: float


class Watch:
    """Hands chunks on to a live run and looks at its phase whenever a part of the frames has come.

    Parameters
    ----------
    runner : LiveRunner
    stops : sequence of int
        Numbers of frames after which to look, rising; the last is the number of all frames.
    truth : ndarray, shape (y, x)
    dwell_s : float
        Time of a frame in s.
    bar : tqdm
        Shows the progress.
    """

    def __init__(
        self, runner: stream.LiveRunner, stops: Sequence[int], truth: NDArray[np.float64], dwell_s: float, bar: Any
    ) -> None:
        self.steps: list[Step] = []
        self.longest_lag_s = 0.0
        self.frames = 0
        self._runner, self._stops, self._truth, self._dwell_s, self._bar = runner, list(stops), truth, dwell_s, bar
        self._began, self._ended = math.inf, 0.0

    @property
    def frames_per_s(self) -> float:
        """Rate of the acquisition from the beginning of its first frame to the arrival of its last.

        The camera cannot have begun later than the arrival of any frame less the exposures so far.
        """
        return self.frames / (self._ended - self._began)

    def take(self, chunk: stream.Chunk) -> None:
        """Take frames; called by the microscope."""
        self._ended = time.perf_counter()
        self._began = min(self._began, self._ended - (self.frames + len(chunk)) * self._dwell_s)
        while len(chunk):
            count = min(len(chunk), self._stops[0] - self.frames)
            part, chunk = _cut(chunk, count)
            self._runner.put(part)
            self.longest_lag_s = max(self.longest_lag_s, self._runner.status.lag_s)
            self.frames += count
            self._bar.update(count)
            if self.frames == self._stops[0]:
                self._look(self._stops.pop(0))

    def _look(self, frames: int) -> None:
        while self._runner.status.lag_frames and not self._runner.errors:
            time.sleep(0.002)
        phase = self._runner.evaluate("ssb", lambda reducer, state: reducer.result(state)).phase
        self.steps.append(Step(frames, phase, *compare(phase, self._truth)))


def take(out: Path, dose: float, microscope: Microscope, experiment: Experiment, truth: NDArray[np.float64]) -> Run:
    """Acquire one scan, with reducers following and the raw frames going to a file.

    Parameters
    ----------
    out : Path
        Folder of the raw file.
    dose : float
        In e/Å².
    microscope : Microscope
    experiment : Experiment
    truth : ndarray, shape (y, x)
        The phase that a perfect reconstruction would show, in rad.

    Raises
    ------
    StreamError
        If frames are missing at the end.
    """
    exposure, geometry = microscope.set_dose(dose), microscope.geometry
    spec = stream.Spec(experiment.shape, experiment.detector.shape, np.dtype(np.uint8), packed=True)
    fourd.warm_up(geometry, spec)
    path = out / f"zeolite_{dose:.0f}.esteem"
    writer = io.Writer(
        path,
        spec,
        scan=io.ScanRecord(spec.scan_shape, dwell_s=exposure.dwell_s, step_nm=geometry.step_nm),
        geometry=geometry,
        metadata={"specimen": {"name": "simulated zeolite ZSM-5"}, "dose_e_per_A2": dose},
        overwrite=True,
    )
    reducers = fourd.live_reducers(geometry, spec.frame_shape)
    total = spec.positions
    with (
        writer,
        stream.LiveRunner(reducers, spec, store=writer) as runner,
        tqdm(total=total, desc=f"{dose:,.0f} e/Å²", unit=" frames") as bar,
    ):
        stops = [round(fraction * total) for fraction in experiment.fractions]
        watch = Watch(runner, stops, truth, exposure.dwell_s, bar)
        account = microscope.acquire(exposure, watch.take)
        if watch.frames != total:
            raise StreamError(f"the acquisition ended after {watch.frames} of {total} frames")
        results = runner.finish()
        explained = runner.evaluate("ssb", lambda reducer, state: reducer.explained(state))
    again = io.source(path)
    from_file = stream.run({"ssb": reducers["ssb"]}, again.spec, again.chunks())["ssb"]
    return Run(
        dose=dose,
        exposure=exposure,
        account=account,
        steps=tuple(watch.steps),
        results=results,
        images=fourd.live_images(results, geometry),
        frames_per_s=watch.frames_per_s,
        longest_lag_s=watch.longest_lag_s,
        file=path,
        file_bytes=sum(f.stat().st_size for f in path.rglob("*") if f.is_file()),
        raw_bytes=total * int(np.prod(spec.stored_shape)),
        explained=explained,
        same_from_file=bool(np.array_equal(from_file.phase, results["ssb"].phase)),
    )


def compare(image: NDArray[Any], truth: NDArray[np.float64]) -> tuple[float, float]:
    """Return the correlation of an image with the truth, and its scale on it."""
    centred = np.asarray(image, np.float64) - image.mean()
    norm = float((truth * truth).sum())
    product = float((centred * truth).sum())
    return product / float(np.sqrt((centred * centred).sum() * norm)), product / norm


def _cut(chunk: stream.Chunk, count: int) -> tuple[stream.Chunk, stream.Chunk]:
    """Return the first frames of a chunk, and the others."""
    if chunk.frames is None:
        raise StreamError("the camera of the demo gives frames, not events")
    frames, times = chunk.frames, chunk.time_s
    first, rest = (
        stream.Chunk(chunk.index[part], frames[part], visit=chunk.visit, time_s=None if times is None else times[part])
        for part in (slice(count), slice(count, None))
    )
    return first, rest
