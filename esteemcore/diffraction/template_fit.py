"""Between chunks of frames and the compiled loops that look for disks of any pattern: one row of numbers per disk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.diffraction.disk_rows import Numbers, Rows, limits_of, of_part, room
from esteemcore.diffraction.template_search import TemplateLook, correlations
from esteemcore.events import EventTable

TOGETHER = 8
"""Frames whose sums are in memory, and in the cache of a processor, at once."""


def rows_of_template(
    frames: NDArray[Any], part: slice, look: TemplateLook, known: Rows, first: Numbers | None
) -> tuple[Numbers, Rows]:
    """Return the number of disks of each frame of a part of dense ones (n, ky, kx), and their rows.

    The rows ``known`` from and up to ``first`` (n, 2) are fitted again; where these are negative, or None, disks are
    looked for.
    """
    from esteemcore.diffraction import _template_frame_kernels

    frames, look = frames[part], of_part(look, part)
    limits = limits_of(first, part, len(frames))
    number, rows = room(len(frames))
    ky, kx = look.valid.shape
    counts = np.zeros((min(TOGETHER, len(frames)), ky, kx))
    sums, scratch = np.empty_like(counts), _template_frame_kernels.make_scratch(ky, kx, look)
    at = 0
    for start in range(0, len(frames), TOGETHER):
        some = slice(start, min(start + TOGETHER, len(frames)))
        here = counts[: some.stop - start]
        np.copyto(here, frames[some], casting="unsafe", where=look.valid)
        direct = correlations(here, look, limits[some, 0] < 0, sums)
        at += _template_frame_kernels.find_templates(
            here, sums, direct, of_part(look, some), known, limits[some], scratch, number[some], rows[at:]
        )
    return number, rows[:at].copy()


def rows_of_template_events(
    electrons: EventTable, part: slice, look: TemplateLook, known: Rows, first: Numbers | None
) -> tuple[Numbers, Rows]:
    """Do the same for frames of events."""
    offset = electrons.offset[part.start : part.stop + 1]
    mine = slice(offset[0], offset[-1])
    frames = np.zeros((len(offset) - 1, look.valid.size))
    frame = np.repeat(np.arange(len(frames)), np.diff(offset))
    np.add.at(frames, (frame, electrons.pixel[mine].astype(np.int64)), electrons.count[mine])
    between = None if first is None else first[part]
    return rows_of_template(frames.reshape(-1, *look.valid.shape), slice(None), of_part(look, part), known, between)
