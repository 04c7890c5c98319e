"""The scan-line model: each line has its own displacement, found against the mean of the other frames."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from esteemcore.register import _row_kernels as kernels
from esteemcore.register.grid import MARGIN_PX, Grid, Image
from esteemcore.register.jitter import Jitter, Smoother, learn
from esteemcore.register.visits import Visits

Floats = NDArray[np.float64]

LARGEST_STEP_PX = 1.0
"""A line moves no farther than this in one Gauss-Newton step."""
STEPS = 3
"""Gauss-Newton steps per pass."""
LEAST_NOISE = 0.3
"""No sample has less than this share of the mean variance: where the mean is dark, its fit is not better than that."""
LEARNING_STEPS = 4
"""EM steps for the jitter after each pass."""


@dataclasses.dataclass
class Frame:
    """A frame while it is being registered.

    Attributes
    ----------
    image, weight : ndarray of float32, shape (y, x)
        Samples, and 1 where they count, 0 where not.
    visits : Visits
        Order of the samples.
    shift, velocity : ndarray, shape (2,)
        Displacement in the middle of the frame in px, and drift over the frame in px.
    jitter : ndarray, shape (lines, 2)
        Displacement of each line about the drift.
    gain, level : float
        ``frame = gain * mean of the others + level``.
    noise, slope : float
        Variance of a sample is ``noise + slope * prediction``,
    floor : float
        but at least this.
    chi : ndarray, shape (lines, 2)
        Sum of squared residuals in units of the noise, and number of samples, of each line.
    residual : ndarray, shape (y, x, 2), or None
        Smooth displacement that is added to that of the lines.
    number : int
        Place in the series.
    scan : ndarray, shape (2,)
        By how much the scan was moved on purpose, in px; no drift.
    """

    image: Image
    weight: Image
    visits: Visits
    shift: Floats
    velocity: Floats
    jitter: Floats
    smoother: Smoother
    gain: float = 1.0
    level: float = 0.0
    noise: float = 0.0
    slope: float = 0.0
    floor: float = 1e-30
    chi: Floats = dataclasses.field(default_factory=lambda: np.zeros((0, 2)))
    residual: Floats | None = None
    number: int = 0
    scan: Floats = dataclasses.field(default_factory=lambda: np.zeros(2))
    normal: Floats = dataclasses.field(default_factory=lambda: np.zeros((0, 3)))
    right: Floats = dataclasses.field(default_factory=lambda: np.zeros((0, 2)))

    @property
    def drift(self) -> Floats:
        """Displacement by drift, per line (lines, 2), or per sample (y, x, 2) where there are no lines."""
        moved: Floats = self.shift + self.visits.time[..., None].astype(np.float64) * self.velocity
        return moved

    @property
    def moved(self) -> Floats:
        """Total displacement per line (lines, 2), or per sample (y, x, 2) where there are no lines."""
        moved = self.drift if self.visits.axis < 0 else self.drift + self.jitter
        return moved if self.residual is None else self.spread(moved) + self.residual

    def spread(self, moved: Floats) -> Floats:
        """Return displacements of lines as displacements of samples, (y, x, 2)."""
        if moved.ndim == 2:
            moved = np.broadcast_to(np.expand_dims(moved, 1 - self.visits.axis), (*self.image.shape, 2))
        return moved

    def lead(self, velocity: Floats) -> None:
        """Take another drift over the frame; lines that have been fitted stay where they are."""
        if self.visits.axis >= 0 and len(self.chi):
            self.jitter = self.jitter - self.visits.time[:, None] * (velocity - self.velocity)
        self.velocity = np.array(velocity, np.float64)


def make_frame(image: Image, weight: Image, visits: Visits, shift: Floats, number: int = 0) -> Frame:
    """Return a frame at its place, without drift and jitter; the noise is guessed from neighbouring samples."""
    lines = image.shape[visits.axis] if visits.axis >= 0 else image.shape[0]
    still = np.zeros((lines, 2))
    frame = Frame(image, weight, visits, shift.copy(), np.zeros(2), still, Smoother(lines), number=number)
    total = max(float(weight.sum(dtype=np.float64)), 1.0)
    mean = float((image * weight).sum(dtype=np.float64)) / total
    frame.noise = max(float((weight * (image - np.float32(mean)) ** 2).sum(dtype=np.float64)) / total, 1e-30)
    return frame


class LineFit:
    """Register frames line by line against each other.

    Parameters
    ----------
    frames : sequence of Frame
        Frames at their rigid places; they are updated in place.
    lines : bool
        Fit each line; else only the place of each frame.
    """

    def __init__(self, shape: tuple[int, int], frames: Sequence[Frame], lines: bool = True) -> None:
        self.shape, self.frames, self.lines = shape, list(frames), lines
        self.jitter = Jitter()
        self.grid = Grid(shape, 0)
        self.rebuild()

    def rebuild(self) -> None:
        """Make the sum of all frames anew, on a grid that holds them all."""
        far = max((float(np.abs(f.moved).max()) for f in self.frames), default=0.0)
        self.grid = Grid(self.shape, math.ceil(far) + MARGIN_PX)
        for frame in self.frames:
            self.grid.add(frame.image, frame.weight, frame.moved, frame.visits.axis)

    def run(self, sigma_px: float, step: Callable[[], None] = lambda: None) -> None:
        """Fit every frame once to the mean of the others, blurred by ``sigma_px``, then learn drift and jitter."""
        self.rebuild()
        for frame in self.frames:
            axis = frame.visits.axis
            self.grid.add(frame.image, frame.weight, frame.moved, axis, -1.0)
            self.fit(frame, self.grid.reference(sigma_px))
            self.grid.add(frame.image, frame.weight, frame.moved, axis)
            step()
        self.learn_jitter()

    def fit(self, frame: Frame, reference: tuple[Image, Image, Image]) -> None:
        """Fit a frame to a reference and its gradients along y and x."""
        axis = frame.visits.axis
        image, weight = frame.image, frame.weight
        if axis == 1:
            mean, dy, dx = (np.ascontiguousarray(a.T) for a in reference)
            reference = mean, dx, dy
            image, weight = np.ascontiguousarray(image.T), np.ascontiguousarray(weight.T)
        lines = image.shape[0]
        normal, right = np.empty((lines, 3)), np.empty((lines, 2))
        chi, sums = np.empty((lines, 2)), np.empty(kernels.STATISTICS)
        flip = slice(None, None, -1) if axis == 1 else slice(None)
        for step in range(STEPS + 1):
            moved = frame.moved if axis >= 0 else frame.drift.mean(axis=1)
            kernels.line_normal(
                image, weight, *reference, np.ascontiguousarray(moved[:, flip]), float(self.grid.pad),
                frame.gain, frame.level, frame.noise, frame.slope, frame.floor, normal, right, chi, sums,
            )  # fmt: skip
            _match(frame, sums, first=step == 0)
            if step == 0:
                continue
            upright = (normal[:, ::-1].copy(), right[:, ::-1].copy()) if axis == 1 else (normal, right)
            if self._move(frame, *upright) < 5e-3:
                break
        frame.chi = chi

    def _move(self, frame: Frame, normal: Floats, right: Floats) -> float:
        """Take a Gauss-Newton step; return the largest movement in px."""
        order = frame.visits.lines
        if not self.lines or frame.visits.axis < 0:
            return _move_whole(frame, normal.sum(axis=0), right.sum(axis=0))
        before = frame.jitter
        about = right.copy()  # of the displacement about the drift: N x = N x_before + r
        about[:, 0] += normal[:, 0] * before[:, 0] + normal[:, 1] * before[:, 1]
        about[:, 1] += normal[:, 1] * before[:, 0] + normal[:, 2] * before[:, 1]
        frame.normal, frame.right = np.ascontiguousarray(normal[order]), np.ascontiguousarray(about[order])
        after = np.empty_like(before)
        after[order] = frame.smoother.solve(frame.normal, frame.right, self.jitter)
        step = np.clip(after - before, -LARGEST_STEP_PX, LARGEST_STEP_PX)
        frame.jitter = before + step
        return float(np.abs(step).max())

    def learn_jitter(self) -> None:
        """Move what the lines of a frame have in common to its drift; learn the jitter from all frames (EM)."""
        if not self.lines:
            return
        fitted = [f for f in self.frames if f.visits.axis >= 0 and len(f.normal)]
        for frame in fitted:
            _settle(frame)
        _level(fitted)
        for _ in range(LEARNING_STEPS):
            learnt = learn([f.smoother for f in fitted])
            if learnt is None:
                return
            self.jitter = learnt
            for frame in fitted:
                frame.smoother.rescale(self.jitter)
                frame.smoother.solve(frame.normal, frame.right, self.jitter)


def _move_whole(frame: Frame, normal: Floats, right: Floats) -> float:
    """Move a frame without lines as a whole."""
    yy, yx, xx = normal
    determinant = yy * xx - yx * yx
    if determinant <= 1e-12 * max(yy, xx, 1e-300) ** 2:
        return 0.0
    step = np.array([xx * right[0] - yx * right[1], yy * right[1] - yx * right[0]]) / determinant
    step = np.clip(step, -LARGEST_STEP_PX, LARGEST_STEP_PX)
    frame.shift = frame.shift + step
    return float(np.abs(step).max())


def _settle(frame: Frame) -> None:
    """Move the mean of the jitter, weighted by what the lines know, to the shift of the frame."""
    order = frame.visits.lines
    known = np.empty((len(order), 2))
    known[order] = frame.normal[:, ::2]
    common = (known * frame.jitter).sum(axis=0) / np.maximum(known.sum(axis=0), 1e-30)
    frame.shift = frame.shift + common
    _take_away(frame, np.broadcast_to(common, frame.jitter.shape))


def _level(frames: list[Frame]) -> None:
    """Take away what all frames have in common at the same place: it is the shape of the grid, not jitter.

    The mean of the others moves along with a displacement that all frames share, so that only the prior tells it: the
    least jitter. Done where all lines lie the same way; turned frames tell the shape of the grid.
    """
    axes = {f.visits.axis for f in frames}
    if len(frames) < 2 or len(axes) > 1:
        return
    axis = axes.pop()
    lines = len(frames[0].jitter)
    pad = int(max(abs(float(f.shift[axis])) for f in frames)) + 2
    total, count = np.zeros((lines + 2 * pad, 2)), np.zeros(lines + 2 * pad)
    at = [np.arange(lines) + pad + round(float(f.shift[axis])) for f in frames]
    for frame, place in zip(frames, at, strict=True):
        total[place] += frame.jitter
        count[place] += 1
    common = total / np.maximum(count, 1)[:, None]
    for frame, place in zip(frames, at, strict=True):
        _take_away(frame, common[place])


def _take_away(frame: Frame, common: Floats) -> None:
    """Take a displacement (lines, 2) from the jitter of a frame and from its normal equations."""
    frame.jitter = frame.jitter - common
    yy, yx, xx = frame.normal.T
    y, x = common[frame.visits.lines].T
    frame.right = frame.right - np.stack([yy * y + yx * x, yx * y + xx * x], axis=1)


def _match(frame: Frame, sums: Floats, first: bool) -> None:
    """Fit gain, level and noise of a frame from the sums over its samples."""
    n, r, rr, i, ri, ee, eem, mm = sums
    spread = n * rr - r * r
    if n < 16 or spread <= 1e-9 * n * rr:
        return
    frame.gain = (n * ri - r * i) / spread
    frame.level = (i - frame.gain * r) / n
    if first:  # the residuals are those of the gain before
        return
    m = frame.gain * r + frame.level * n
    bend = n * mm - m * m
    slope = (n * eem - m * ee) / bend if bend > 1e-9 * n * mm else 0.0
    frame.slope = slope = max(slope, 0.0)
    frame.floor = max(LEAST_NOISE * ee / n, 1e-30)
    frame.noise = (ee - slope * m) / n
