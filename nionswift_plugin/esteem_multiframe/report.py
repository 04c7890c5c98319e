"""What the panel says about a plan."""

from __future__ import annotations

import dataclasses

from esteemcore import multiframe


@dataclasses.dataclass(frozen=True)
class Report:
    """What the panel says about a plan.

    Attributes
    ----------
    lines : tuple of str
        Figures.
    xrays : tuple of str
        X-rays to expect.
    so_far : str
        What the place has had.
    exceeded : tuple of str
        What of the budget would be exceeded.
    error : str
        Why there are no figures.
    """

    lines: tuple[str, ...] = ()
    xrays: tuple[str, ...] = ()
    so_far: str = ""
    exceeded: tuple[str, ...] = ()
    error: str = ""


def writing_in_words(plan: multiframe.SeriesPlan, is_typed: bool, frames: int) -> str:
    """Return what the times of a plan count for the disk, and how that is known.

    Parameters
    ----------
    plan : SeriesPlan
    is_typed : bool
        Whether the user typed it.
    frames : int
        From how many frames it is known otherwise.
    """
    seconds = plan.settings.write_overhead_s
    if is_typed:
        return f"Writing: {seconds:.2g} s per frame counted, as typed"
    if not frames:
        return "Writing: not counted, nothing is measured yet"
    return f"Writing: {seconds:.2g} s per frame counted, from {frames} frame{'s' if frames > 1 else ''} measured"
