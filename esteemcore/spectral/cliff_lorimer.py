"""Compositions from X-ray lines by the ratios of Cliff and Lorimer, with propagated errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.provenance import Provenance, digest, record
from esteemcore.spectral.background import EdgeMap


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class MeasuredComposition:
    """Fractions of elements, place by place.

    Attributes
    ----------
    elements : tuple of str
    fractions : ndarray of float64, shape (n, ...)
        Of each element; they sum to 1. Below 0 or above 1 where noise makes them so; NaN where the weighted counts of
        all elements together are not above zero.
    sigma : ndarray of float64, shape (n, ...)
        Standard error of `fractions` by the noise of the counts.
    sigma_k : ndarray of float64, shape (n, ...), or None
        Standard error by the k-factors, the same way everywhere: it does not shrink when pixels are averaged. None
        where no errors of k-factors were given.
    unit : str
        ``"mass"`` or ``"atomic"``: what the fractions are of.
    provenance : Provenance
    """

    elements: tuple[str, ...]
    fractions: NDArray[np.float64]
    sigma: NDArray[np.float64]
    sigma_k: NDArray[np.float64] | None
    unit: str
    provenance: Provenance


def cliff_lorimer(
    lines: Mapping[str, EdgeMap],
    k_factors: Mapping[str, float],
    *,
    k_sigma: Mapping[str, float] | None = None,
    atomic_masses: Mapping[str, float] | None = None,
) -> MeasuredComposition:
    r"""Return the composition from net counts of lines and the k-factors of the microscope.

    In a thin film, without absorption and fluorescence, ratios of mass fractions are ratios of counts [1]_:
    :math:`C_A / C_B = k_{AB} I_A / I_B`. With k-factors to one common reference and fractions that sum to 1,

    .. math:: C_i = \frac{x_i}{\sum_j x_j}, \qquad x_i = k_i I_i \; [\, / A_i \,], \qquad
       \mathrm{var}\, C_i = \frac{\sum_j (\delta_{ij} - C_i)^2 \, \mathrm{var}\, x_j}{(\sum_j x_j)^2},

    the noise of the lines being independent (windows that do not overlap) and propagated by first order.

    Parameters
    ----------
    lines : mapping of str to EdgeMap
        Net counts and their variance for each element: of `edge_map`, all of the same shape.
    k_factors : mapping of str to float
        Of each element, to one reference (its own is 1), in mass, as manufacturers and standards give them.
    k_sigma : mapping of str to float, optional
        Standard errors of the k-factors, 0 for elements that are not named.
    atomic_masses : mapping of str to float, optional
        Masses of the atoms; the fractions are then those of atoms.

    Returns
    -------
    MeasuredComposition

    Raises
    ------
    ParameterError
        If there are fewer than two elements, k-factors or masses are missing or not above zero, or maps or their
        variances do not fit.

    References
    ----------
    .. [1] G. Cliff, G. W. Lorimer, J. Microsc. 103, 203 (1975).

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import spectral
    >>> energy = np.arange(0.0, 10, 0.01)
    >>> si = 50 * (abs(energy - 5.4) < 0.1) + 50 * (abs(energy - 7.5) < 0.1)
    >>> lines = {"Cr": spectral.edge_map(si, energy, (5.2, 5.6)), "Ni": spectral.edge_map(si, energy, (7.3, 7.7))}
    >>> found = spectral.cliff_lorimer(lines, {"Cr": 1.0, "Ni": 1.5})
    >>> found.elements, found.fractions.round(2).tolist(), found.sigma.round(3).tolist()
    (('Cr', 'Ni'), [0.4, 0.6], [0.011, 0.011])
    """
    elements = tuple(lines)
    if len(elements) < 2:
        raise ParameterError(f"lines are of {', '.join(elements) or 'no element'}; expected two elements at least")
    _check(lines, {"k_factors": k_factors, "k_sigma": k_sigma or {}, "atomic_masses": atomic_masses or {}})
    factor = np.array([_of(k_factors, element, "k_factors") for element in elements])
    if atomic_masses is not None:
        factor = factor / [_of(atomic_masses, element, "atomic_masses") for element in elements]
    counts = np.stack([np.asarray(lines[element].data, np.float64) for element in elements])
    variance = np.stack([np.asarray(lines[element].variance, np.float64) for element in elements])
    each = factor.reshape(-1, *[1] * (counts.ndim - 1))
    weighted = each * counts
    total = weighted.sum(axis=0)
    total = np.where(total > 0, total, np.nan)
    fractions = weighted / total
    sigma_k = None
    if k_sigma is not None:
        relative = [checks.not_negative(f"k_sigma[{e!r}]", k_sigma.get(e, 0.0)) / k_factors[e] for e in elements]
        sigma_k = _spread(fractions, (np.reshape(relative, each.shape) * fractions) ** 2)
    parameters = {"k_factors": dict(k_factors), "k_sigma": k_sigma, "atomic_masses": atomic_masses}
    return MeasuredComposition(
        elements=elements,
        fractions=fractions,
        sigma=_spread(fractions, each**2 * variance / total**2),
        sigma_k=sigma_k,
        unit="mass" if atomic_masses is None else "atomic",
        provenance=record("spectral.cliff_lorimer", parameters, input_digest=digest(counts, variance)),
    )


def _check(lines: Mapping[str, EdgeMap], named: Mapping[str, Mapping[str, float]]) -> None:
    """Refuse what are no maps of the same places with a variance, and numbers that are not given by element."""
    for element, found in lines.items():
        if not (hasattr(found, "data") and hasattr(found, "variance")) or isinstance(found, np.ndarray):
            raise ParameterError(f"the map of {element} is a {type(found).__name__}; expected an EdgeMap, of edge_map")
        data, variance = np.shape(found.data), np.asarray(found.variance, np.float64)
        if variance.shape != data:
            raise ParameterError(f"the variance of {element} has shape {variance.shape} but its map has {data}")
        if (variance < 0).any():
            raise ParameterError(
                f"the variance of {element} falls to {np.nanmin(variance):g}; expected none below zero"
            )
    shapes = {element: np.shape(found.data) for element, found in lines.items()}
    if len(set(shapes.values())) > 1:
        raise ParameterError(f"the maps have shapes {shapes}; expected maps of the same places")
    for what, values in named.items():
        if not isinstance(values, Mapping):
            example = ", ".join(f"{element!r}: ..." for element in lines)
            raise ParameterError(f"{what} is a {type(values).__name__}; expected a number by element, {{{example}}}")
        for name in values:
            if name not in lines:
                raise ParameterError(f"there are no lines of {name!r}; the maps are of {', '.join(lines)}")


def _of(values: Mapping[str, float], element: str, what: str) -> float:
    if element not in values:
        raise ParameterError(f"{what} names {', '.join(values) or 'nothing'}; {element!r} is missing")
    return checks.positive(f"{what}[{element!r}]", values[element])


def _spread(fractions: NDArray[np.float64], relative: ArrayLike) -> NDArray[np.float64]:
    """Return standard errors of fractions from variances (n, ...) of weighted counts over the square of their sum."""
    variance = np.asarray(relative)
    others = variance.sum(axis=0) - variance
    found: NDArray[np.float64] = np.sqrt((1 - fractions) ** 2 * variance + fractions**2 * others)
    return found
