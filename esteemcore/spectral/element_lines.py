"""X-ray lines of elements as spectra: what EDS unmixing can be given as known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import DependencyError, ParameterError
from esteemcore._core.provenance import Provenance, record

FANO, PAIR_EV, MN_KALPHA_EV = 0.118, 3.65, 5895.0
"""Fano factor and energy per pair of silicon; the line that detectors are rated by."""

HIGHEST_KEV = 200.0
"""No axis of X-rays in a microscope ends higher; one in eV does."""

FAMILIES = {
    "K": {"K": 2},
    "L": {"L1": 2, "L2": 2, "L3": 4},
    "M": {"M1": 2, "M2": 2, "M3": 4, "M4": 4, "M5": 6},
}
"""Subshells of each family of lines, and their electrons."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ElementLines:
    """Spectra of the lines of elements.

    Attributes
    ----------
    names : tuple of str
        Element and family of each spectrum: ``"Fe K"``.
    spectra : ndarray of float64, shape (k, energy)
        Of unit sum.
    main_kev : ndarray of float64, shape (k,)
        Energy of the strongest line of each.
    provenance : Provenance
    """

    names: tuple[str, ...]
    spectra: NDArray[np.float64]
    main_kev: NDArray[np.float64]
    provenance: Provenance


def element_lines(
    elements: Sequence[str],
    energy_kev: ArrayLike,
    *,
    fwhm_ev: float = 130.0,
    families: Sequence[str] = ("K", "L", "M"),
    lowest_kev: float = 0.15,
) -> ElementLines:
    r"""Return the spectra of the X-ray lines of elements, as a detector shows them.

    One spectrum for each family of each element, since absorption, beam energy and thickness change how K, L and M
    lines compare. Energies, intensities and fluorescence yields are those of XrayDB [1]_ (extra ``eds``). Within a
    family the subshells are weighted by their electrons and yields; vacancies that move to another subshell
    (Coster-Kronig) are left out, so that intensities within L and M families are rough. A line of energy E is a
    Gaussian of

    .. math:: \mathrm{FWHM}^2 = \mathrm{FWHM}_{Mn}^2 + 8 \ln 2 \, F \epsilon (E - 5895\,\mathrm{eV}),

    integrated over each channel.

    Parameters
    ----------
    elements : sequence of str
        Symbols.
    energy_kev : array_like, shape (energy,)
        Middle of each channel in keV, evenly spaced, rising: the calibrated axis of the spectra.
    fwhm_ev : float
        Width of the Mn K alpha line in eV that the detector is rated by, 60 to 300.
    families : sequence of {"K", "L", "M"}
        Families whose strongest line is not on the axis are left out.
    lowest_kev : float
        The detector sees no lines below this.

    Returns
    -------
    ElementLines

    Raises
    ------
    DependencyError
        If XrayDB is not installed.
    ParameterError
        If an element is unknown, or one or a family given twice, none has a line on the axis, or the axis is no
        calibrated one in keV.

    References
    ----------
    .. [1] W. T. Elam, B. D. Ravel, J. R. Sieber, Radiation Physics and Chemistry 63, 121 (2002).

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import spectral
    >>> lines = spectral.element_lines(["Ni", "Cr"], np.arange(0.005, 10.24, 0.01))
    >>> lines.names, lines.spectra.shape
    (('Ni K', 'Ni L', 'Cr K', 'Cr L'), (4, 1024))

    With ``unmix(si, 5, method="nmf", known=lines.spectra)`` the fifth spectrum is free for bremsstrahlung and what else
    there is.
    """
    width = checks.finite("fwhm_ev", fwhm_ev, "eV")
    if not 60 <= width <= 300:
        raise ParameterError(f"fwhm_ev is {width:g}; expected 60 to 300 eV, the width of Mn K alpha")
    axis, step = _axis(energy_kev, width)
    if isinstance(elements, str):
        raise ParameterError(f"elements are {elements!r}; expected a list of symbols, such as ['C', 'O']")
    wanted = [checks.choice("family", family, tuple(FAMILIES)) for family in families]
    if len(set(wanted)) != len(wanted):
        raise ParameterError(f"families are {wanted}; expected each once")
    lowest = checks.not_negative("lowest_kev", lowest_kev, "keV")
    symbols = [str(element) for element in elements]
    if len(set(symbols)) != len(symbols) or not symbols:
        raise ParameterError(f"elements are {symbols}; expected symbols, each once")
    edges = np.append(axis - step / 2, axis[-1] + step / 2)
    names, spectra, main = [], [], []
    for symbol, table in zip(symbols, _tables(symbols), strict=True):
        for family in wanted:
            lines = np.array([(kev, weight) for shell, kev, weight in table if shell in FAMILIES[family]])
            if not len(lines) or not max(axis[0], lowest) <= lines[lines[:, 1].argmax(), 0] <= axis[-1]:
                continue
            lines = lines[lines[:, 0] >= lowest]
            spectrum = _as_seen(lines, edges, width)
            names.append(f"{symbol} {family}")
            spectra.append(spectrum / spectrum.sum())
            main.append(lines[lines[:, 1].argmax(), 0])
    if not names:
        raise ParameterError(
            f"none of {', '.join(symbols)} has a line of the families {', '.join(wanted)} between "
            f"{max(axis[0], lowest):g} and {axis[-1]:g} keV; energy_kev is in keV"
        )
    parameters = {"elements": symbols, "energy_kev": axis, "fwhm_ev": width, "families": wanted, "lowest_kev": lowest}
    return ElementLines(
        tuple(names), np.array(spectra), np.array(main), record("spectral.element_lines", parameters)
    )  # fmt: skip


def _axis(energy_kev: ArrayLike, fwhm_ev: float) -> tuple[NDArray[np.float64], float]:
    """Return the axis and its step, checked: channels that tell lines apart, and no energies that X-rays have not."""
    axis = np.asarray(energy_kev, np.float64)
    if axis.ndim != 1 or len(axis) < 2 or not np.isfinite(axis).all():
        raise ParameterError(f"energy_kev has shape {axis.shape}; expected two channels at least, in keV")
    step = float(axis[-1] - axis[0]) / (len(axis) - 1)
    if step <= 0 or np.abs(np.diff(axis) - step).max() > 0.01 * step:
        raise ParameterError("energy_kev must rise in even steps; expected the calibrated axis of the spectra")
    if 1e3 * step > 2 * fwhm_ev or axis[-1] > HIGHEST_KEV:
        raise ParameterError(
            f"energy_kev goes to {axis[-1]:g} in steps of {step:g} keV, but lines are {fwhm_ev:g} eV wide and below "
            f"{HIGHEST_KEV:g} keV; is the axis in eV?"
        )
    return axis, step


def _as_seen(lines: NDArray[np.float64], edges: NDArray[np.float64], fwhm_ev: float) -> NDArray[np.float64]:
    """Return the sum of Gaussian lines (keV, weight), integrated between the edges of channels."""
    from scipy.special import ndtr

    seen = np.zeros(len(edges) - 1)
    for kev, weight in lines:
        squared = fwhm_ev**2 + 8 * math.log(2) * FANO * PAIR_EV * (kev * 1e3 - MN_KALPHA_EV)
        sigma = math.sqrt(max(squared, 30.0**2) / (8 * math.log(2))) * 1e-3
        seen += weight * np.diff(ndtr((edges - kev) / sigma))
    return seen


def _tables(symbols: Sequence[str]) -> list[list[tuple[str, float, float]]]:
    """Return the lines of elements: subshell, energy in keV and weight."""
    try:
        import xraydb
    except ImportError:
        raise DependencyError("xraydb", "eds") from None
    table: Any = xraydb.XrayDB()
    try:
        return [_lines(table, symbol) for symbol in symbols]
    finally:
        table.close()


def _lines(table: Any, symbol: str) -> list[tuple[str, float, float]]:
    """Return the lines of one element."""
    try:
        edges, lines = table.xray_edges(symbol), table.xray_lines(symbol)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ParameterError(f"{symbol!r} is no element with X-ray lines; expected symbols like 'Fe'") from None
    electrons = {shell: n for shells in FAMILIES.values() for shell, n in shells.items()}
    return [
        (line.initial_level, line.energy * 1e-3, electrons[shell] * edges[shell].fyield * line.intensity)
        for line in lines.values()
        if (shell := line.initial_level) in electrons and shell in edges and edges[shell].fyield > 0
    ]
