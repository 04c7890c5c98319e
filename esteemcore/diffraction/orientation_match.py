"""Templates prepared for a detector, and their matching with the disks of many frames in threads."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from esteemcore.diffraction._orientation_kernels import UNIT, match_frames
from esteemcore.diffraction._tilt_kernels import refine_tilts
from esteemcore.diffraction.orientation_library import TemplateLibrary
from esteemcore.diffraction.orientation_tilt import Around

Floats = NDArray[np.float64]

RINGS_PER_PX = 4
"""Spots whose radii are equal to this fraction of a pixel are searched for together."""
PIECE = 64
"""Frames that a thread takes at a time."""


class Prepared(NamedTuple):
    """A library in the pixels of a detector, as the compiled loops want it: see `match_frames`."""

    spots: tuple[Any, ...]
    groups: tuple[Any, ...]
    templates: tuple[Any, ...]
    reach: float


class Matches(NamedTuple):
    """What `match_frames` wrote, for each frame and rank."""

    best: Floats
    rotation: Floats
    found: NDArray[np.int64]


def prepare(library: TemplateLibrary, pixel_per_nm: float, tolerance: float, steps: int, gamma: float) -> Prepared:
    """Return a library with places in px and steps of a turn, and weights of unit norm."""
    n = len(library)
    template = np.repeat(np.arange(n), np.diff(library.offset))
    radius = np.hypot(*library.vectors.T) / pixel_per_nm
    azimuth = np.arctan2(library.vectors[:, 0], library.vectors[:, 1])
    weight = library.intensity**gamma
    norm = np.sqrt(np.bincount(template, weight**2, n))
    weight = weight / np.maximum(norm, 1e-300)[template]
    rounded, ring_of = np.unique(np.maximum(np.round(RINGS_PER_PX * radius), 1), return_inverse=True)
    ring = rounded / RINGS_PER_PX
    step = np.round(azimuth * steps / (2 * math.pi)).astype(np.int64) % steps
    spots = (ring, ring_of, step, np.round(UNIT * weight).astype(np.int32), radius, azimuth, weight)
    key, group = np.unique(template * ring.size + ring_of, return_inverse=True)
    of, number = np.divmod(key, ring.size)
    strongest = np.zeros(key.size)
    np.maximum.at(strongest, group, weight)
    groups = (
        np.searchsorted(of, np.arange(n + 1)),
        number,
        np.bincount(group, weight, key.size),
        np.sqrt(np.bincount(group, weight**2, key.size)),
        strongest,
        _crowds(group, azimuth * ring[ring_of], 2 * math.pi * ring[number], 2 * tolerance + 2 * math.pi * ring / steps),
    )
    assert library.phase is not None
    counts = [len(s) for s in library.symmetries]
    templates = (
        library.offset,
        library.rotations,
        library.phase,
        np.concatenate(library.symmetries),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )
    return Prepared(spots, groups, templates, float(radius.max(initial=0.0)))


def _crowds(group: NDArray[np.int64], arc: Floats, around: Floats, near: Floats) -> Floats:
    """Return for each ring of a template how many of its spots one disk can match at most."""
    most = np.ones(around.size)
    order = np.lexsort((arc, group))
    first = np.searchsorted(group[order], np.arange(around.size + 1))
    width = float(near.max(initial=0.0))
    for ahead in range(1, int(np.diff(first).max(initial=1))):
        k = np.arange(order.size)
        of = group[order]
        size = np.diff(first)[of]
        other = first[of] + (k - first[of] + ahead) % size
        distance = (arc[order][other] - arc[order]) % around[of]
        close = (size > ahead) & (distance < width)
        if not close.any():
            break
        most[np.unique(of[close])] = ahead + 1
    return most


def match(
    rows: NDArray[np.int64],
    place: tuple[Floats, Floats, Floats],
    library: Prepared,
    search: tuple[float, int, bool, float],
    tilts: Around | None,
    wanted: int,
    threads: int,
    done: Callable[[int], None],
    stop: threading.Event,
) -> Matches:
    """Match frames in threads: ``rows`` are the offsets of their disks, ``place`` radius, azimuth and weight."""
    frames = rows.size - 1
    result = Matches(
        np.zeros((frames, wanted, 3)), np.full((frames, wanted, 4), np.nan), np.full((frames, wanted, 3), -1, np.int64)
    )

    def piece(start: int) -> int:
        if stop.is_set():
            return 0
        end = min(start + PIECE, frames)
        match_frames(
            rows[start : end + 1],
            *place,
            *library[:3],
            search,
            result.best[start:end],
            result.rotation[start:end],
            result.found[start:end],
        )
        if tilts is not None:
            refine_tilts(
                rows[start : end + 1],
                *place,
                library.spots,
                library.templates,
                tuple(tilts),
                search[0],
                result.best[start:end],
                result.rotation[start:end],
                result.found[start:end],
            )
        return end - start

    starts = range(0, frames, PIECE)
    if threads == 1 or len(starts) < 2:
        for start in starts:
            done(piece(start))
    else:
        with ThreadPoolExecutor(min(threads, len(starts))) as pool:
            try:
                for finished in pool.map(piece, starts):
                    done(finished)
            except BaseException:
                stop.set()  # the threads finish what they hold and begin nothing more
                raise
    return result
