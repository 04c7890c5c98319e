"""Registration while the series is recorded: each frame against the mean of those before it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore.register.alignment import MODELS
from esteemcore.register.detail import RunningDetail
from esteemcore.register.drift import Clock, Drift
from esteemcore.register.grid import MARGIN_PX, Grid, Image
from esteemcore.register.hops import Corrected, Judge, Ratios, Seen, possible_hops
from esteemcore.register.jitter import learn
from esteemcore.register.lines import Frame, LineFit, make_frame
from esteemcore.register.places import (
    STEADY,
    SURE,
    TRIALS,
    consistent,
    doubt,
    foreign,
    least_likeness,
    torn_reason,
)
from esteemcore.register.rigid import Chain, Correlator
from esteemcore.register.samples import sampled, usual_range
from esteemcore.register.tracker import checked_frame
from esteemcore.register.visits import raster_visits

Floats = NDArray[np.float64]

BLUR_PX = 1.2
"""Blur of the running mean that a frame is fitted to; less for fine lattices, see `detail`."""
REMEMBERED = 12
"""Frames that the jitter is learnt from."""
GROWTH = 1.6
"""The reference that places are judged by is made anew when the mean has grown by this factor."""
LIVE_HOPS = 12
"""Displacements that are looked at, the nearest ones."""
TELLING = 4
"""Frames in the mean from which it tells places by what does not repeat; before, only a steady drift does."""
LOST = 3
"""After so many frames in a row that do not fit a mean of few frames, or as many as it has, it is begun anew."""


@dataclasses.dataclass(frozen=True, eq=False)
class Placement:
    """Where a frame lies.

    Attributes
    ----------
    shift : ndarray of float64, shape (2,)
        Mean displacement (dy, dx) in px.
    field : ndarray of float32, shape (y, 2)
        Total displacement of each line, `shift` included: sample (i, j) really was taken at (i + dy, j + dx) of the
        common grid, which is that of the first frame.
    quality : float
        Correlation coefficient of the corrected frame with the mean of those before it, both smoothed; 1 for the first.
    accepted : bool
        Whether the place is sure; only then the frame became part of the mean.
    reason : str
        Why not; empty if accepted.
    begins : bool
        True for the first frame of the mean. It happens again if the first few frames turn out to fit nothing that
        comes after them: they are forgotten, and what was summed with them should be, too.
    by_drift : bool
        True where the image repeats itself and only the steady drift says which cell is right: a jump of exactly one
        cell would go unnoticed.
    """

    shift: Floats
    field: NDArray[np.float32]
    quality: float
    accepted: bool
    reason: str
    begins: bool = False
    by_drift: bool = False


class LiveAlignment:
    """Register frames one after the other against the running mean of those before.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of a frame.
    model : {"scanline", "rigid"}
        As for `align`.

    Raises
    ------
    ParameterError
        If the shape is smaller than 8 x 8 or the model is unknown.

    See Also
    --------
    align : The same for a whole series: each frame is compared with all others, the later ones included.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import register
    >>> y, x = np.mgrid[:64, :64]
    >>> live = register.LiveAlignment((64, 64), model="rigid")
    >>> for step in range(3):
    ...     placement = live.update(np.exp(-((y + step - 30) ** 2 + (x - step - 30) ** 2) / 60))
    >>> placement.accepted, np.round(placement.shift, 1).tolist()
    (True, [2.0, -2.0])
    """

    def __init__(self, shape: Sequence[int], model: str = "scanline") -> None:
        self.shape = checks.shape_2d("shape", shape)
        checks.integer("the smaller side of shape", min(self.shape), minimum=8)
        self.model = checks.choice("model", model, MODELS)
        self.accepted = 0
        self._clock = Clock()
        self._correlator = Correlator(self.shape)
        self._visits = raster_visits(self.shape)
        self._range = (0.0, 1.0)
        self._begin()

    def _begin(self, drift: Drift | None = None) -> None:
        """Forget the mean, but not how fast the specimen drifts."""
        self.accepted, self._rejected, self._doubted = 0, 0, 0
        self._chain, self._detail = Chain(self._correlator, self._clock), RunningDetail(self._correlator)
        if drift is not None:
            self._chain.drift = drift
            drift.put(np.zeros(2))
        self._fit = LineFit(self.shape, [], lines=self.model == "scanline")
        self._recent: list[Frame] = []
        self._likeness: list[float] = []
        self._deviations: list[float] = []
        self._doubtful, self._jumped, self._evidence = False, False, np.zeros((2, 0))
        self._drifting, self._by_drift = 0.0, False
        self._judge: Judge | None = None
        self._judged, self._least, self._hops = 0, 0.0, np.zeros((0, 2))

    @property
    def mean(self) -> Image:
        """Mean of the accepted frames on the common grid, float32 (y, x); NaN where there is none."""
        grid, (offset, scale) = self._fit.grid, self._range
        total, weights = grid.total[grid.inner], grid.weights[grid.inner]
        mean: Image = np.where(weights > 0.05, total / np.maximum(weights, 1e-6) * scale + offset, np.nan)
        return mean.astype(np.float32)

    @property
    def coverage(self) -> Image:
        """Number of samples that made each pixel of the mean, float32 (y, x)."""
        return self._fit.grid.weights[self._fit.grid.inner].copy()

    def moved(self, displacement: Sequence[float]) -> None:
        """Expect the next frame elsewhere: the scan was moved on purpose, which is no drift of the specimen.

        Parameters
        ----------
        displacement : (float, float)
            (dy, dx) in px against the scan of the frame before, as in `Placement.shift`.
        """
        moved = [checks.finite("displacement", value, "px") for value in displacement]
        self._chain.drift.place = self._chain.drift.place + moved

    def update(self, frame: ArrayLike, mask: ArrayLike | None = None, time_s: float | None = None) -> Placement:
        """Place the next frame and add it to the mean if its place is sure.

        Parameters
        ----------
        frame : array_like, shape (y, x)
            Image; NaN counts as not measured.
        mask : array_like of bool, shape (y, x), optional
            True where a sample was measured.
        time_s : float, optional
            Time of the frame in s; frames that come late are then expected farther along the drift.

        Raises
        ------
        ParameterError
            If the frame has another shape, or the times do not rise.
        """
        data, measured = checked_frame(frame, mask, self.shape)
        self._clock.tick(time_s)
        if not self.accepted:
            self._range = usual_range([data], None if measured is None else [measured])
        image, weight, reason = sampled(data, measured, *self._range)
        if reason:
            self._chain.drift.pass_by()
            return self._placement(make_frame(image, weight, self._visits, self._chain.drift.place), 0.0, reason)
        spectrum = self._correlator.transform(image, None if weight.all() else weight)
        before, mean = self._chain.drift.copy(), self._chain.mean
        place, _ = self._chain.add(spectrum)
        new = make_frame(image, weight, self._visits, place)
        if not self.accepted:
            self._accept(new)
            return self._placement(new, 1.0, "", begins=True)
        if mean is not None:
            self._detail.learn(mean, self._correlator.moved(spectrum, place))
        if self._fit.lines:
            new.lead(self._chain.drift.per_frame)
        self._make_room(new)
        self._fit.fit(new, self._fit.grid.reference(self._detail.blur_factor * BLUR_PX))
        quality, reason = self._judged_place(new, before)
        if reason:
            self._chain.drift, self._chain.mean = before, mean
            if self._doubtful:
                self._doubted += 1
                if self._doubted > 1 and not self._drifting:
                    before.turn(new.shift)
                before.put(new.shift)  # wherever that is: the drift goes on from there
            else:
                before.pass_by()
            self._rejected += 1
            early = self.accepted < TELLING and self._rejected >= LOST
            if early or self._doubted >= max(LOST, self.accepted):
                self._begin(before)
                self._chain.add(spectrum)
                new = make_frame(image, weight, self._visits, np.zeros(2))
                self._accept(new)
                return self._placement(new, 1.0, "", begins=True)
            return self._placement(new, quality, reason)
        if self._jumped:
            self._chain.drift = before  # a jump is no drift
        self._chain.drift.put(new.shift)
        self._likeness.append(quality)
        self._accept(new)
        return self._placement(new, quality, "")

    def _placement(self, frame: Frame, quality: float, reason: str, begins: bool = False) -> Placement:
        moved, quality = frame.moved, min(max(quality, 0.0), 1.0)
        by_drift = self._by_drift and not reason and not begins
        return Placement(moved.mean(axis=0), moved.astype(np.float32), quality, not reason, reason, begins, by_drift)

    def _accept(self, frame: Frame) -> None:
        self._make_room(frame)
        self._fit.grid.add(frame.image, frame.weight, frame.moved)
        self.accepted += 1
        self._rejected = self._doubted = 0
        if self._fit.lines and len(frame.normal):
            self._recent = [*self._recent, frame][-REMEMBERED:]
            frame.smoother.rescale(self._fit.jitter)
            frame.smoother.solve(frame.normal, frame.right, self._fit.jitter)
            self._fit.jitter = learn([f.smoother for f in self._recent]) or self._fit.jitter

    def _make_room(self, frame: Frame) -> None:
        """Make the padded grid larger if the frame would leave it."""
        far, old = math.ceil(float(np.abs(frame.moved).max())) + MARGIN_PX, self._fit.grid
        if far <= old.pad and old.pad:
            return
        grid = Grid(self.shape, far + 3 * MARGIN_PX)
        inner = tuple(slice(grid.pad - old.pad, grid.pad + old.pad + n) for n in self.shape)
        grid.total[inner], grid.weights[inner] = old.total, old.weights
        self._fit.grid, self._judge = grid, None

    def _judged_place(self, frame: Frame, drift: Drift) -> tuple[float, str]:
        """Return the likeness of a fitted frame, and why its place is not sure; a frame that hopped is moved back."""
        judge, corrected = self._reference(frame)
        images = [self._seen(corrected, frame)]
        quality = float(judge.likeness(images)[0])
        usual = float(np.median(self._likeness)) if self._likeness else 0.0
        least = least_likeness(usual, float(frame.weight.sum(dtype=np.float64)))
        if quality < least:
            return quality, foreign(quality, least)
        if reason := torn_reason(frame.chi):
            return quality, reason
        self._by_drift = bool(len(self._hops))
        if not len(self._hops):
            return quality, ""
        self._jumped = False
        steady = self._is_steady(float(np.hypot(*(frame.shift - drift.expected()))), drift.unknown_px())
        if self.accepted < TELLING:
            self._doubtful = self._doubtful or not steady
            return quality, doubt(self._hops) if self._doubtful else ""
        found = judge.ratios(images)
        if steady and not self._doubtful:
            ratio, power = found.ratio[0], found.power[0]
            self._by_drift = bool(ratio.min() < SURE)
            if ratio.min() + STEADY >= SURE and consistent(ratio, power, STEADY):
                return quality, ""
            self._drifting = STEADY
        return quality, self._in_doubt(frame, judge, corrected, found, steady)

    def _is_steady(self, deviation_px: float, unknown_px: float) -> bool:
        """Return whether a frame lies where the drift so far leads, and whether that tells one cell from the next."""
        cell = float(np.hypot(*self._hops.T).min())
        usual = 1.4826 * float(np.median(self._deviations)) if self._deviations else 0.0
        known = self.accepted >= TELLING  # the velocity is
        within = max(0.12 * cell, min(4 * usual, 0.2 * cell), 1.0) if known else 0.2 * cell
        if unknown_px > 0.2 * cell or deviation_px >= within + unknown_px:
            return False
        if known:
            self._deviations = [*self._deviations, deviation_px][-REMEMBERED:]
        return True

    def _in_doubt(self, frame: Frame, judge: Judge, corrected: Corrected, found: Ratios, steady: bool) -> str:
        """Decide about a frame behind a jump, or one that speaks against the drift: what all frames since say adds up.

        Until a frame jumps the drift so far stays evidence.
        """
        if not steady:
            self._drifting = 0.0
        if not (steady and self._doubtful and len(self._evidence) and self._evidence.shape[1] == len(found.hops)):
            self._evidence = np.zeros((2, len(found.hops)))
        self._evidence += found.ratio[0], found.power[0]
        self._doubtful, self._jumped = True, not self._drifting
        ratio, power = self._evidence
        self._by_drift = bool(ratio.min() < SURE)
        if ratio.min() + self._drifting >= SURE and consistent(ratio, power, self._drifting):
            self._doubtful = False
            return ""
        for h in np.argsort(ratio / np.maximum(power, 1.0))[:TRIALS]:  # -1 at the right one
            if ratio[h] + self._drifting >= -SURE:
                continue
            frame.shift = frame.shift + found.hops[h]
            there = judge.ratios([self._seen(corrected, frame)])
            if there.ratio[0].min() >= SURE and consistent(there.ratio[0], there.power[0], 0.0):
                self._doubtful, self._jumped, self._by_drift = False, True, False
                return ""
            frame.shift = frame.shift - found.hops[h]
        return doubt(self._hops)

    def _seen(self, corrected: Corrected, frame: Frame) -> Seen:
        return corrected.seen(*corrected.image(frame, 1.0), self._least)

    def _reference(self, frame: Frame) -> tuple[Judge, Corrected]:
        """Return the judge of places, made anew when the mean has grown."""
        if self._judge is None or self.accepted >= GROWTH * self._judged:
            grid = self._fit.grid
            self._corrected = Corrected(grid, self._detail.blur_factor)
            total, weights = self._corrected.of_sums(grid.total, grid.weights)
            enough = 0.5 * float(weights.max())
            seen = self._corrected.seen(total, weights, enough)
            self._hops = possible_hops(self._corrected, seen, min(self.shape) / 3, LIVE_HOPS)
            self._judge = Judge(self._corrected, total, weights, self._hops, frame.noise, frame.slope, enough)
            self._least = 0.3 * float(frame.weight.mean(dtype=np.float64))
            self._judged = self.accepted
        return self._judge, self._corrected
