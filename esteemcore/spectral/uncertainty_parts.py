"""What makes spectra and maps of an unmixing uncertain, each cause for itself, and how the causes add up."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.provenance import Provenance
from esteemcore.spectral._matching import angles_deg
from esteemcore.spectral.methods.problem import Factors
from esteemcore.spectral.unmixing import Unmixing


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class UncertaintyPart:
    """What one cause adds to the uncertainty, or all causes together.

    Attributes
    ----------
    spectra : ndarray of float64, shape (n, energy)
        Standard deviation in each channel, in units of the spectra.
    abundances : ndarray of float64, shape (n, y, x)
        Standard deviation in each pixel, in units of the abundances; NaN where the mask is False.
    angle_deg : ndarray of float64, shape (n,)
        Root mean square angle between a spectrum and where it might be as well.
    """

    spectra: NDArray[np.float64]
    abundances: NDArray[np.float64]
    angle_deg: NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class MethodAgreement:
    """How far the components of another method are, and how far the noise alone would take them.

    Attributes
    ----------
    method : str
    angle_deg : ndarray of float64, shape (n,)
        Between the matched spectra of both methods.
    expected_deg : ndarray of float64, shape (n,)
        Mean of that angle in data drawn from the model: both methods see the same data, whose truth is the result.
    limit_deg : ndarray of float64, shape (n,)
        What noise explains at most: the mean and three standard deviations of those angles, or the mean and, in
        quadrature, two standard deviations of the noise of the result.
    disagrees : ndarray of bool, shape (n,)
        Where the angle is larger than the limit.
    """

    method: str
    angle_deg: NDArray[np.float64]
    expected_deg: NDArray[np.float64]
    limit_deg: NDArray[np.float64]

    @property
    def disagrees(self) -> NDArray[np.bool_]:
        """Whether the methods disagree on each component beyond what noise explains."""
        return np.asarray(self.angle_deg > self.limit_deg)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class UnmixingUncertainty:
    """An unmixing, how sure it is, and why it is not surer.

    Attributes
    ----------
    result : Unmixing
        Its `uncertainty` is that of all causes together.
    total : UncertaintyPart
        All causes together: the larger one of noise and posterior, with repeats and methods added in quadrature.
    parts : mapping of str to UncertaintyPart
        ``"noise"``: the result would come out so far away in data with other noise. ``"posterior"``: standard
        deviations of Gibbs sampling. ``"repeats"``: the same method from other starts. ``"methods"``: what other
        methods find, beyond what noise explains, or all of it where the method is in doubt. Only those that were
        looked at.
    agreement : tuple of MethodAgreement
        One for each other method.
    warnings : tuple of str
        Methods that disagree beyond what noise explains, and a method that doubts itself, in words; else empty.
    provenance : Provenance
    """

    result: Unmixing
    total: UncertaintyPart
    parts: Mapping[str, UncertaintyPart]
    agreement: tuple[MethodAgreement, ...]
    warnings: tuple[str, ...]
    provenance: Provenance


class Deviations:
    """Mean squares of how far matched factors lie from a reference; nothing but sums is kept."""

    def __init__(self, reference: Factors) -> None:
        self._reference = reference
        self.number = 0
        self._spectra = np.zeros_like(reference.spectra)
        self._abundances = np.zeros_like(reference.abundances)
        self._angles: list[NDArray[np.float64]] = []

    def add(self, found: Factors, reference: Factors | None = None) -> None:
        """Add factors; another reference takes the place of that of all, for these factors."""
        beside = self._reference if reference is None else reference
        self._spectra += np.square(found.spectra - beside.spectra)
        self._abundances += np.square(found.abundances - beside.abundances)
        self._angles.append(angles_deg(found.spectra, beside.spectra))
        self.number += 1

    @property
    def angles(self) -> NDArray[np.float64]:
        """All angles in degrees, shape (number, n)."""
        return np.array(self._angles)

    def squares(self) -> Squares:
        """Return the means."""
        return Squares(self._spectra / self.number, self._abundances / self.number, np.square(self.angles).mean(axis=0))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Squares:
    """Variances of spectra (n, energy) and abundances (rows, n), and the mean square of the angle (n,) in degrees."""

    spectra: NDArray[np.float64]
    abundances: NDArray[np.float64]
    angle: NDArray[np.float64]

    def plus(self, other: Squares) -> Squares:
        """Return the variances of the sum of independent causes."""
        return Squares(self.spectra + other.spectra, self.abundances + other.abundances, self.angle + other.angle)

    def or_larger(self, other: Squares) -> Squares:
        """Return the larger ones of two estimates of the same cause."""
        return Squares(
            np.maximum(self.spectra, other.spectra),
            np.maximum(self.abundances, other.abundances),
            np.maximum(self.angle, other.angle),
        )


def of_posterior(found: Factors, reference: Factors) -> Squares:
    """Return the variances of matched factors that have standard deviations, as they are in the reference's place."""
    variance = np.square(np.asarray(found.sigma_spectra, np.float64))
    size = np.maximum(np.square(reference.spectra).sum(axis=1), 1e-300)
    angle = np.square(np.degrees(np.arctan(np.sqrt(variance.sum(axis=1) / size))))
    return Squares(variance, np.square(np.asarray(found.sigma_abundances, np.float64)), angle)


def beyond(seen: Squares, expected: Squares) -> Squares:
    """Return the share of mean squares that is more than expected, component by component.

    One factor for all channels of a spectrum, and one for all pixels of a map, so that chance in single ones does not
    add up.
    """

    def share(of: NDArray[np.float64], less: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        whole = np.maximum(of.sum(axis=axis), 1e-300)
        return np.asarray(np.maximum(1 - less.sum(axis=axis) / whole, 0))

    return Squares(
        seen.spectra * share(seen.spectra, expected.spectra, 1)[:, None],
        seen.abundances * share(seen.abundances, expected.abundances, 0),
        np.maximum(seen.angle - expected.angle, 0),
    )
