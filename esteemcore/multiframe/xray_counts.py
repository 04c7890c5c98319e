"""X-rays to expect from a series, and whether they will show columns of atoms."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError

COLUMN_WIDTH_NM = 0.19
"""Full width at half maximum of a column in a map: probe of 0.1 nm, channelling, delocalisation and what registration
leaves."""
LOST, CLEAR = 3.0, 10.0
"""Signal-to-noise ratio of a column below which it is lost in the noise, and from which it is clear."""

_ANGSTROM2_PER_NM2 = 100.0
_LINE = re.compile(r"([^:\s]+):([0-9.]+):([0-9.]+(?:e[+-]?[0-9]+)?)")


@dataclasses.dataclass(frozen=True)
class XrayLine:
    """A characteristic line and the columns that it comes from.

    Parameters
    ----------
    name : str
    spacing_nm : float
        Distance of the nearest columns of this element in projection, in nm.
    counts_per_electron : float
        Net counts of the line for each incident electron, as a first frame or another series of this specimen gave:
        counts per nm² over the dose per nm².
    width_nm : float
        Full width at half maximum of a column in the map, in nm.
    """

    name: str
    spacing_nm: float
    counts_per_electron: float
    width_nm: float = COLUMN_WIDTH_NM

    def __post_init__(self) -> None:
        for name, unit in (("spacing_nm", "nm"), ("counts_per_electron", "counts per electron"), ("width_nm", "nm")):
            value = checks.positive(f"{name} of {self.name}", getattr(self, name), unit)
            object.__setattr__(self, name, value)


@dataclasses.dataclass(frozen=True)
class XrayPrediction:
    """Counts per nm² to expect, and the signal-to-noise ratio of a column, see `column_snr`.

    Attributes
    ----------
    line : XrayLine
    motifs : int
        Places that the average is over.
    frame, series, average : float
        Counts per nm² in a frame, in the sum of the series, and in the average over its repeats of a motif (as a sum).
    frame_snr, series_snr, average_snr : float
    """

    line: XrayLine
    motifs: int
    frame: float
    series: float
    average: float
    frame_snr: float
    series_snr: float
    average_snr: float


def predict_xrays(line: XrayLine, dose_per_frame: float, frames: int = 1, motifs: int = 1) -> XrayPrediction:
    """Return the X-rays of a line to expect from a series.

    Parameters
    ----------
    line : XrayLine
    dose_per_frame : float
        In e/Å².
    frames : int
        Frames that are added up, those of other areas included.
    motifs : int
        Repeats of the motif in the field, over which the sum is averaged in addition.

    References
    ----------
    L. Jones et al., Microscopy 67, i98 (2018), appendix, doi:10.1093/jmicro/dfx125; S. Wenner et al., Micron 96, 103
    (2017).

    Examples
    --------
    >>> from esteemcore import multiframe
    >>> silver = multiframe.XrayLine("Ag", spacing_nm=0.3, counts_per_electron=2.18e-7)
    >>> found = multiframe.predict_xrays(silver, dose_per_frame=3.44e5, frames=230, motifs=112)
    >>> f"{found.frame:.1f} {found.series:.0f} {found.average:.0f} counts/nm²"
    '7.5 1725 193179 counts/nm²'
    """
    dose = checks.positive("dose_per_frame", dose_per_frame, "e/Å²")
    frames = checks.integer("frames", frames, minimum=1)
    motifs = checks.integer("motifs", motifs, minimum=1)
    counts = [line.counts_per_electron * dose * _ANGSTROM2_PER_NM2]
    counts += [counts[0] * frames, counts[0] * frames * motifs]
    snr = [column_snr(value, line.spacing_nm, line.width_nm) for value in counts]
    return XrayPrediction(line, motifs, *counts, *snr)


def column_snr(counts_per_nm2: float, spacing_nm: float, width_nm: float = COLUMN_WIDTH_NM) -> float:
    r"""Return how far a column stands above the noise in a map of a square lattice of columns.

    Parameters
    ----------
    counts_per_nm2 : float
        Mean net counts of the line per nm².
    spacing_nm : float
        Distance of neighbouring columns in nm.
    width_nm : float
        Full width at half maximum of a column in the map, in nm.

    Notes
    -----
    Columns of Gaussian shape (standard deviation s) at distance d give a map with Fourier coefficients
    :math:`V_{hk} = \exp(-2 \pi^2 s^2 (h^2 + k^2) / d^2)` in units of its mean. Whoever knows the lattice tells the n d²
    counts of one column from as many counts without columns with a signal-to-noise ratio of

    .. math::

        \sqrt{n d^2 \sum_{hk \neq 00} V_{hk}^2}

    It is that of the best linear filter for counts with Poisson noise; the background under the line is left out. Below
    3 columns are lost, from 10 on they are clear; with columns of 0.19 nm this says of the maps of Jones et al. what
    they say of them.

    Examples
    --------
    >>> f"{column_snr(1099, 0.62):.0f} {column_snr(1149, 0.3):.0f}"
    '40 5'
    """
    counts = checks.not_negative("counts_per_nm2", counts_per_nm2, "counts/nm²")
    spacing = checks.positive("spacing_nm", spacing_nm, "nm")
    sigma = checks.positive("width_nm", width_nm, "nm") / (2 * math.sqrt(2 * math.log(2)))
    order = np.arange(1, 2 + math.ceil(2 * spacing / sigma))
    along = 1 + 2 * float(np.exp(-4 * (math.pi * sigma * order / spacing) ** 2).sum())
    return math.sqrt(counts * spacing**2 * (along**2 - 1))


def counts_needed(snr: float, spacing_nm: float, width_nm: float = COLUMN_WIDTH_NM) -> float:
    """Return the net counts per nm² that a column needs for a signal-to-noise ratio, see `column_snr`.

    Examples
    --------
    >>> f"{counts_needed(10, 0.3):.0f}"
    '4566'
    """
    wanted = checks.positive("snr", snr)
    return (wanted / column_snr(1.0, spacing_nm, width_nm)) ** 2


def lines_from_words(text: str) -> tuple[XrayLine, ...]:
    """Return lines as a user types them: ``NAME:SPACING:COUNTS``, several with spaces between.

    The spacing is that of the nearest columns in nm, the counts are for a million electrons.

    Raises
    ------
    ParameterError
        With what was typed and what is expected.

    Examples
    --------
    >>> [(line.name, line.spacing_nm) for line in lines_from_words("Ag:0.3:0.22 Sn:0.62:0.14")]
    [('Ag', 0.3), ('Sn', 0.62)]
    """
    found = []
    for word in text.split():
        match = _LINE.fullmatch(word)
        try:
            name, spacing, counts = match.groups() if match else ("", "", "")
            numbers = float(spacing), float(counts) * 1e-6
        except ValueError:
            raise ParameterError(
                f"{word!r} is no X-ray line; expected NAME:SPACING:COUNTS, columns in nm and counts for a million "
                "electrons, as in Ag:0.3:0.22"
            ) from None
        found.append(XrayLine(name, *numbers))
    return tuple(found)
