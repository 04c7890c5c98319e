"""What other methods find in the same data, and what noise explains of how they differ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from esteemcore.spectral._matching import angles_deg
from esteemcore.spectral.methods import Factors
from esteemcore.spectral.uncertainty_parts import Deviations, MethodAgreement, Squares, beyond

LIMIT = 3.0
"""Standard deviations of an angle beyond its mean that noise still explains."""

COVERED = 2.0
"""A disagreement is none where an interval of so many standard deviations of the noise holds what is beyond it."""


def between_methods(rivals: dict[str, Factors], theirs: dict[str, Deviations], found: Factors) -> Squares:
    """Return what the methods differ by beyond what noise explains, mean over the methods."""
    seen = Deviations(found)
    for other in rivals.values():
        seen.add(other)
    expected = [theirs[name].squares() for name in rivals]
    number = len(expected)
    mean = Squares(
        np.sum([e.spectra for e in expected], axis=0) / number,
        np.sum([e.abundances for e in expected], axis=0) / number,
        np.sum([e.angle for e in expected], axis=0) / number,
    )
    return seen.squares() if found.doubted else beyond(seen.squares(), mean)


def compared_with(
    name: str, other: Factors, drawn: NDArray[np.float64], noise: Squares, found: Factors
) -> MethodAgreement:
    """Return how a method compares; `drawn` are the angles (draws, n) in drawn data."""
    mean, spread = drawn.mean(axis=0), drawn.std(axis=0, ddof=1)
    chance = mean + LIMIT * np.sqrt(1 + 1 / len(drawn)) * spread
    limit = np.maximum(chance, np.sqrt(mean**2 + COVERED**2 * noise.angle))
    return MethodAgreement(name, angles_deg(other.spectra, found.spectra), mean, limit)


def warnings_of(agreement: tuple[MethodAgreement, ...], method: str, doubted: bool) -> tuple[str, ...]:
    """Return in words where methods disagree, and why they are believed or not."""
    doubt = (
        f"what method {method!r} takes for granted is in doubt, see the notes: all that other methods differ by is "
        "taken for uncertainty",
    )
    return (doubt if doubted and agreement else ()) + tuple(
        f"methods {method!r} and {other.method!r} disagree on component {k} by {other.angle_deg[k]:.1f} degrees, of "
        f"which noise explains {other.limit_deg[k]:.1f} at most: the data do not decide between their assumptions"
        for other in agreement
        for k in np.flatnonzero(other.disagrees)
    )
