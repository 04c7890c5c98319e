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


def overheads_in_words(plan: multiframe.SeriesPlan, begin: tuple[float, int], write: tuple[float, int]) -> str:
    """Return what the times of a plan count beside the scan itself, and how that is known.

    Parameters
    ----------
    plan : SeriesPlan
    begin, write : (float, int)
        What was typed, in s, and from how many frames it is known otherwise.
    """
    settings = plan.settings
    parts = (("to begin", settings.scan_overhead_s, *begin), ("to write", settings.write_overhead_s, *write))
    words = []
    for what, seconds, typed, frames in parts:
        how = "as typed" if typed else "as measured"
        words.append(f"{seconds:.2g} s {what} ({how})" if typed or frames else f"{what} not known yet")
    return f"Beside the scan, per frame: {', '.join(words)}"
