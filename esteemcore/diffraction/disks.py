"""Bragg disks of a stream of frames: where they are, how sure that is, how bright they are."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.provenance import digest, record
from esteemcore.diffraction.descan import Descan
from esteemcore.diffraction.disk_rows import (
    NOTHING_FOUND,
    FoundDisks,
    checked_frames,
    rows_of_events,
    rows_of_frames,
)
from esteemcore.diffraction.distortion import distortion_matrix
from esteemcore.diffraction.look import Look, make_look
from esteemcore.diffraction.origins import beam_places, given_beam
from esteemcore.diffraction.probe import Probe
from esteemcore.diffraction.structure import InnerStructure
from esteemcore.diffraction.table import COLUMNS, DiskTable
from esteemcore.diffraction.template import Template
from esteemcore.diffraction.template_fit import rows_of_template, rows_of_template_events
from esteemcore.diffraction.template_search import TemplateLook, template_look
from esteemcore.stream import Chunk, Spec
from esteemcore.stream.additive import add_widening

if TYPE_CHECKING:
    from esteemcore.diffraction.ellipse import Ellipse

LEAST_RADIUS = 1.5
"""Radius in px below which a disk has too few pixels to be told from a hot one."""
BATCH, MOST_BATCH = 64, 256
"""Frames that a thread takes at once, and at most where they have few electrons and are quick."""


@dataclasses.dataclass
class DiskState:
    """Disks found so far, in any order, and what is known about the frames.

    Attributes
    ----------
    spec : Spec
        The stream.
    visits : ndarray of uint32, shape (positions,)
        Frames at each position.
    saturated : ndarray of int64, shape (positions,)
        Pixels at the highest number that the frames can hold.
    pieces : list of (ndarray of int64 (n,), ndarray of float32 (n, columns))
        Positions and rows.
    in_order : bool
        True while the rows are one piece, sorted.
    """

    spec: Spec
    visits: NDArray[np.uint32]
    saturated: NDArray[np.int64]
    pieces: list[tuple[NDArray[np.int64], NDArray[np.float32]]]
    in_order: bool = False

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state as named arrays; rows in the order of positions, then of scores, whatever order they came in."""
        if not self.in_order:
            frame = np.concatenate([np.zeros(0, np.int64), *(piece[0] for piece in self.pieces)])
            rows = np.concatenate([np.zeros((0, len(COLUMNS)), np.float32), *(piece[1] for piece in self.pieces)])
            order = np.lexsort((rows[:, 1], rows[:, 0], rows[:, 2], -rows[:, 4], frame))
            self.pieces = [(frame[order], rows[order])]
            self.in_order = True
        frame, rows = self.pieces[0]
        return {"visits": self.visits, "saturated": self.saturated, "frame": frame, "rows": rows}

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return one of the arrays."""
        return self.arrays[name]

    def add(self, frame: NDArray[np.int64], rows: NDArray[np.float32]) -> None:
        """Take more rows."""
        if len(frame):
            self.pieces.append((frame, rows))
            self.in_order = False


class Disks:
    r"""Find the disks of every frame and fit each to a fraction of a pixel.

    Parameters
    ----------
    radius_px : float
        Radius of a disk in detector px, 1.5 or more.
    significance : float
        Least score of a disk, in standard deviations. At 4 some 0.1 false disks are found per frame of 128 x 128
        pixels; 5 finds hardly any, and misses disks of few electrons.
    center : Descan or array_like, shape (2,) or (y, x, 2), optional
        Direct beam (row, column), where something stops it, of all positions or of each, as `find_descan` returns it.
        Default: the brightest disk of each frame.
    mask : array_like of bool, shape (ky, kx), optional
        True where a pixel is good. Beam stop, dead rows and hot pixels belong to the others.
    distortion : Ellipse or array_like, shape (2, 2), optional
        What makes the ellipses on the detector of circles, (row, column), see `Ellipse.matrix`.
    structure : InnerStructure, optional
        What a first pass has learnt about the reflections, see `learn_structure`.
    probe : Probe or Template, optional
        What the disks look like along the radius, see `learn_probe`, or as an image, see `learn_template`. Default:
        flat with a soft edge.
    found : DiskTable, optional
        What a first pass over the same frames has found: these disks are fitted again instead of looked for, in a
        fraction of the time. Where it says that a position was visited more than once, or not at all, disks are looked
        for.
    overlapping : bool
        Also look for disks that lie partly on others, where crystals lie on top of each other. Where the disks of a
        frame lie on two lattices or three, at their points: a disk is taken if it makes the counts likelier by 1.2
        standard deviations less than `significance`, and the scores of all disks on lattices are larger by as much.
        Elsewhere beside each disk, where two must make the counts likelier than one by 2.5 more. Needs `found`.
    threads : int, optional
        Threads that work at once. Default: one per processor.

    Notes
    -----
    1. The counts in a disk round every pixel and in the ring round it, from sums down columns. The score is the square
       root of twice the log-likelihood ratio of two Poisson rates against one. Maxima nearer than 1.6 radii to a
       higher one are left out, and so is what does not stand out of its ring round the direct beam: a halo is bright
       all along it.
    2. Fisher scoring, on the counts of the pixels round a disk,

       .. math:: \lambda = B e^{g \rho} + (A + t \cdot u / R)\, m(|u|) + \text{neighbours}, \quad u = D^{-1} (x - c)

       with the background B and its slope g along the distance :math:`\rho` from the direct beam, the soft disk m, its
       gradient t and its place c. Slope and gradient have Gaussian priors, of a usual spread or of what was learnt.
       `DiskTable.sigma_px` is the standard error of c from the information
       :math:`\sum \partial\lambda\, \partial\lambda^T / \lambda` with all other parameters free.

    Frames hold counts of electrons. Positions that are visited again add their rows to the table, which carries the
    visits.

    References
    ----------
    B. H. Savitzky et al., Microscopy and Microanalysis 27 (2021) 712 (Bragg disks as the data of 4D-STEM).
    """

    def __init__(
        self,
        radius_px: float,
        *,
        significance: float = 4.0,
        center: ArrayLike | Descan | None = None,
        mask: ArrayLike | None = None,
        distortion: ArrayLike | Ellipse | None = None,
        structure: InnerStructure | None = None,
        probe: Probe | Template | None = None,
        found: DiskTable | None = None,
        overlapping: bool = False,
        threads: int | None = None,
    ) -> None:
        self.radius_px = checks.positive("radius_px", radius_px, "px")
        if self.radius_px < LEAST_RADIUS:
            raise ParameterError(
                f"radius_px is {self.radius_px:g} px; expected {LEAST_RADIUS} px or more, or disks cannot be told from "
                "hot pixels"
            )
        self.significance = checks.positive("significance", significance)
        if self.significance < 2:
            raise ParameterError(f"significance is {self.significance:g}; expected 2 or more standard deviations")
        self.center = None if center is None else given_beam(center)
        self.mask = None if mask is None else np.asarray(mask)
        self.distortion = distortion_matrix(distortion)
        self.structure = structure
        self.probe = probe
        if probe is not None and abs(probe.radius_px - self.radius_px) > 0.01 * self.radius_px:
            raise ParameterError(
                f"the probe was learnt for a radius of {probe.radius_px:g} px, but radius_px is {self.radius_px:g} px"
            )
        self.found = None if found is None else FoundDisks(found)
        self.overlapping = bool(overlapping)
        if overlapping and found is None:
            raise ParameterError(
                "overlapping disks are told apart by what a first pass has found; give its table as found, or use "
                "find_disks with two passes"
            )
        self.threads = checks.integer("threads", threads or processors(), minimum=1)
        self._look: tuple[tuple[int, int], Look] | None = None
        self._template_look: TemplateLook | None = None

    def init(self, spec: Spec) -> DiskState:
        """Return the state before the first chunk."""
        self.check(spec)
        return DiskState(spec, np.zeros(spec.positions, np.uint32), np.zeros(spec.positions, np.int64), [])

    def check(self, spec: Spec) -> None:
        """Raise `ParameterError` unless mask, centre and disks of a first pass are those of this stream."""
        self.look(spec.frame_shape)
        if self.center is not None:
            beam_places(self.center, spec.scan_shape, spec.frame_shape)
        if self.found is not None:
            self.found.check(spec)

    def look(self, frame_shape: tuple[int, int]) -> Look:
        """Return what the compiled loops need to know about frames (ky, kx)."""
        if self._look is None or self._look[0] != frame_shape:
            if 2 * self.radius_px + 3 > min(frame_shape):
                raise ParameterError(
                    f"disks of radius {self.radius_px:g} px do not fit on frames of {frame_shape[0]} x {frame_shape[1]}"
                )
            valid = np.ones(frame_shape, np.bool_)
            if self.mask is not None:
                valid = checks.boolean_mask("mask", self.mask, frame_shape)
            center = np.full((1, 2), np.nan)
            none = np.zeros((0, 2)), np.zeros((0, 3)), np.zeros((0, 3))
            known = none if self.structure is None else self.structure.known
            profile = self.probe.table if isinstance(self.probe, Probe) else None
            look = make_look(
                valid, self.radius_px, self.significance, self.distortion, center, known, profile, self.overlapping
            )
            if not look.share.any():
                raise ParameterError("the mask leaves no room for a disk; True marks the pixels that are good")
            self._look = frame_shape, look
            if isinstance(self.probe, Template):
                self._template_look = template_look(
                    self.probe, valid, self.significance, center, self.distortion, known
                )
                if not self._template_look.usable.any():
                    raise ParameterError("the mask leaves no room for a disk; True marks the pixels that are good")
        return self._look[1]

    def update(self, state: DiskState, chunk: Chunk) -> None:
        """Find the disks of a chunk."""
        chunk.check(state.spec)
        number, rows, saturated = self.rows(state.spec, chunk)
        np.add.at(state.saturated, chunk.index, saturated)
        np.add.at(state.visits, chunk.index, np.uint32(1))
        state.add(np.repeat(chunk.index, number), rows)

    def rows(self, spec: Spec, chunk: Chunk) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
        """Return the number of disks of each frame of a checked chunk, their rows `COLUMNS`, and saturated pixels.

        Parameters
        ----------
        spec : Spec
            The stream.
        chunk : Chunk
            Frames of it.
        """
        look, like = self.look(spec.frame_shape), self._template_look
        if self.center is not None:
            beam = beam_places(self.center, spec.scan_shape)
            axis = beam if len(beam) == 1 else beam[chunk.index]
            look, like = look._replace(axis=axis), None if like is None else like._replace(axis=axis)
        known, first = NOTHING_FOUND if self.found is None else self.found.rows_of(chunk.index)
        electrons = chunk.electrons(spec)
        if electrons is not None:

            def of_events(part: slice) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
                if like is not None:
                    return rows_of_template_events(electrons, part, like, known, first)
                return rows_of_events(electrons, part, spec, look, known, first)

            most = MOST_BATCH if like is None else BATCH
            return *self._in_parts(len(chunk), of_events, most), np.zeros(len(chunk), np.int64)
        frames, saturated = checked_frames(chunk, look)

        def of_frames(part: slice) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
            if like is not None:
                return rows_of_template(frames, part, like, known, first)
            return rows_of_frames(frames, part, look, known, first)

        return *self._in_parts(len(chunk), of_frames), saturated

    def _in_parts(self, n: int, work: Any, most: int = BATCH) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the number of disks of each frame, and all rows, from some frames after the other in threads."""
        size = min(max(n // (2 * self.threads), BATCH), most)
        parts = [slice(i, min(i + size, n)) for i in range(0, n, size)]
        if self.threads > 1 and len(parts) > 1:
            with ThreadPoolExecutor(min(self.threads, len(parts))) as pool:
                found = list(pool.map(work, parts))
        else:
            found = [work(part) for part in parts]
        number = np.concatenate([np.zeros(0, np.int64), *(f[0] for f in found)])
        return number, np.concatenate([np.zeros((0, len(COLUMNS)), np.float32), *(f[1] for f in found)])

    def merge(self, state: DiskState, other: DiskState) -> DiskState:
        """Return the state of the frames of both."""
        if state.spec != other.spec:
            raise ParameterError(f"states of different streams cannot be merged: {state.spec} and {other.spec}")
        return DiskState(
            state.spec,
            add_widening(state.visits, other.visits),
            state.saturated + other.saturated,
            [*state.pieces, *other.pieces],
        )

    def result(self, state: DiskState) -> DiskTable:
        """Return the disks of what has come so far."""
        arrays = state.arrays
        columns = {name: arrays["rows"][:, i].copy() for i, name in enumerate(COLUMNS)}
        return DiskTable(
            frame=arrays["frame"].copy(),
            **columns,
            visits=state.visits.reshape(state.spec.scan_shape).copy(),
            notes=_notes(state, columns, self.radius_px),
            provenance=record("diffraction.Disks", self.parameters(), input_digest=digest(*arrays.values())),
        )

    def dump(self, state: DiskState) -> dict[str, NDArray[Any]]:
        """Return the state as named arrays."""
        return {name: array.copy() for name, array in state.arrays.items()}

    def load(self, spec: Spec, dump: Mapping[str, NDArray[Any]]) -> DiskState:
        """Return the state that `dump` wrote."""
        state = self.init(spec)
        shapes: dict[str, tuple[int, ...]] = {
            "visits": (spec.positions,),
            "saturated": (spec.positions,),
            "frame": np.shape(dump.get("frame", ())),
            "rows": (*np.shape(dump.get("frame", ())), len(COLUMNS)),
        }
        for name, shape in shapes.items():
            if name not in dump or np.shape(dump[name]) != shape:
                raise ParameterError(
                    f"the dumped state has {name!r} of shape {np.shape(dump[name]) if name in dump else None}; this "
                    f"reducer and stream need {shape}"
                )
        state.visits, state.saturated = np.array(dump["visits"]), np.array(dump["saturated"])
        state.add(np.array(dump["frame"]), np.array(dump["rows"]))
        return state

    def parameters(self) -> dict[str, Any]:
        """Return what disks are looked for with, for a provenance."""
        return {
            "radius_px": self.radius_px,
            "significance": self.significance,
            "center": self.center if self.center is None or self.center.ndim > 1 else tuple(self.center),
            "mask": self.mask,
            "distortion": self.distortion,
            "structure": self.structure,
            "probe": self.probe.profile if isinstance(self.probe, Probe) else getattr(self.probe, "digest", None),
            "overlapping": self.overlapping,
            "found": None if self.found is None else len(self.found.known),
        }


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _notes(state: DiskState, columns: dict[str, NDArray[np.float32]], radius: float) -> tuple[str, ...]:
    """Return what the user should know before the table is believed."""
    notes = []
    frames = int(state.visits.sum())
    if frames and not len(columns["y"]):
        return ("no disk was found in any frame: is the radius right, and do the frames hold counts of electrons?",)
    full = int((state.saturated > 0).sum())
    if full:
        notes.append(
            f"pixels are saturated at {full} of {int((state.visits > 0).sum())} positions: disks there are too faint, "
            "and their places less sure than they seem; use a beam stop and a mask, less current or shorter dwell times"
        )
    measured, weight = columns["measured_radius_px"], columns["intensity"]
    known = np.isfinite(measured)
    if known.sum() >= 10:
        order = np.argsort(measured[known])
        share = np.cumsum(weight[known][order].astype(np.float64))
        usual = float(measured[known][order][np.searchsorted(share, share[-1] / 2)])
        if abs(usual - radius) > 0.07 * radius:
            notes.append(
                f"the disks look as if their radius were {usual:.1f} px, not {radius:g} px; give that of the beam"
            )
    failed = ~np.isfinite(columns["sigma_px"])
    if len(failed) >= 10 and failed.mean() > 0.2:
        notes.append(
            f"{100 * failed.mean():.0f} % of the disks could not be fitted: they may not be disks of this radius"
        )
    return tuple(notes)
