"""Compiled loops that sum a few electrons over disks: each adds itself to the disks that it lies in."""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True)
def _add_run_ends(pixel, count, valid, pad, span, runs):
    """Add the electrons of a frame to the ends of the columns of the disks round them, as differences.

    The places that have an electron in their disk make a disk round the electron. ``runs`` is zero before; it has `pad`
    rows and columns more than the frame on every side.
    """
    columns = runs.shape[1] - 2 * pad
    reach, width = span.shape[0] // 2, runs.shape[1]
    good, ends = valid.ravel(), runs.ravel()
    for e in range(pixel.shape[0]):
        at = int(pixel[e])
        if good[at]:
            n = runs.dtype.type(count[e])
            first = at + 2 * pad * (at // columns) + pad * (width + 1) - reach
            for j in range(span.shape[0]):
                here = first + j
                ends[here - span[j] * width] += n
                ends[here + (span[j] + 1) * width] -= n


@njit(cache=True, nogil=True)
def _pile_up(runs, pad, out):
    """Write the sums down the columns of ``runs`` to ``out`` (ky, kx), and leave ``runs`` zero."""
    rows, columns = out.shape
    out[0] = 0
    for r in range(rows + pad):
        line, ends = out[max(r - pad, 0)], runs[r][pad:]
        above = out[max(r - pad - 1, 0)]
        for x in range(columns):
            line[x] = above[x] + ends[x]
    runs[:] = 0


@njit(cache=True, nogil=True)
def sum_events(pixel, count, look, runs, inner):
    """Write the sum over the disk round every pixel to ``inner`` (ky, kx), from the electrons of a frame.

    ``runs`` (ky + 2 pad, kx + 2 pad) is zero before and after.
    """
    _add_run_ends(pixel, count, look.valid, look.pad, look.inner_span, runs)
    _pile_up(runs, look.pad, inner)
