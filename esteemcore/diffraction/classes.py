"""What a classification of diffraction patterns found."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from esteemcore._core.provenance import Provenance
from esteemcore.diffraction.descan import Descan
from esteemcore.diffraction.ellipse import Ellipse

KINDS = ("crystalline", "amorphous")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """Classes of scan positions by their diffraction patterns, with the evidence for them.

    Crystalline classes come first, those with most positions first within each kind.

    Attributes
    ----------
    labels : ndarray of int64, shape (y, x)
        Class of each position, with a quarter of its fractions at least or the largest; -1 where nothing but the beam
        is seen, or what looks like none of the classes.
    confidence : ndarray of float64, shape (y, x)
        Posterior probability of the class times the part that it has of the two largest fractions: 1 for a position
        that is surely and wholly of its class, 0.5 where two classes are mixed in equal parts, 0 where there is none.
        The probability that a position is a blend, which looks like a third class, counts for its class too.
    patterns : ndarray of float64, shape (n, ky, kx)
        Mean counts per frame of each class, moved back by the descan to `Descan.reference`; NaN where no frame of the
        class has pixels.
    fractions : ndarray of float64, shape (n, y, x)
        Share of each class in each position; they add up to 1, and are NaN where there is no class.
    agreement : float
        Adjusted Rand index between the classes and those that Bragg disks alone give (`other`): 1 for the same, 0 for
        no more than chance; NaN where there are too few disks to tell.
    kinds : tuple of str
        ``"crystalline"`` or ``"amorphous"``, for each class.
    other : ndarray of int64, shape (y, x)
        The classes by Bragg disks, numbered as the classes that they have most positions in common with; -1 where
        there are too few disks, numbers from n on are classes that only the disks show.
    agreed : ndarray of bool, shape (y, x)
        Where both ways give the same class.
    unexplained : ndarray of float64, shape (y, x)
        Part of the squared pattern of each position that no mixture of the classes explains, without that of noise:
        near 0, up to 0.4 in bent grains; from 0.5 on, beyond its error, the position has no class. NaN where nothing
        but the beam is seen.
    texture : ndarray of float64, shape (n,)
        Squared relative variation of the pattern round the beam; amorphous below 0.05, within two standard errors.
    profiles : ndarray of float64, shape (n, r)
        Counts per frame and pixel against the distance from the beam in steps of 1 px, along circles of the specimen
        where the ellipse of the detector is known.
    curve : ndarray of float64, shape (m, 3)
        Number of patterns in the mixture, log-likelihood gained per electron that did not help to find them, and its
        standard error.
    reason : str
        In words: why there are so many classes.
    descan : Descan
        Where the direct beam is.
    ellipse : Ellipse or None
        What circles look like on the detector: given, or found in the largest amorphous class; None if neither.
    binning : int
        Side of the bins in px in which patterns were compared.
    notes : tuple of str
        What is wrong with the data, or doubtful, in words.
    provenance : Provenance
    """

    labels: NDArray[np.int64]
    confidence: NDArray[np.float64]
    patterns: NDArray[np.float64]
    fractions: NDArray[np.float64]
    agreement: float
    kinds: tuple[str, ...]
    other: NDArray[np.int64]
    agreed: NDArray[np.bool_]
    unexplained: NDArray[np.float64]
    texture: NDArray[np.float64]
    profiles: NDArray[np.float64]
    curve: NDArray[np.float64]
    reason: str
    descan: Descan
    ellipse: Ellipse | None
    binning: int
    notes: tuple[str, ...]
    provenance: Provenance

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self.patterns)

    @property
    def areas(self) -> NDArray[np.int64]:
        """Positions of each class, (n,)."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self))

    @property
    def places(self) -> NDArray[np.float64]:
        """Position (row, column) of each class that lies farthest from what is not of the class, (n, 2); NaN if none.

        A name written there lies within the class.
        """
        found = np.full((len(self), 2), np.nan)
        for c in np.flatnonzero(self.areas):
            inside = ndimage.distance_transform_edt(np.pad(self.labels == c, 1))[1:-1, 1:-1]
            found[c] = np.unravel_index(int(inside.argmax()), inside.shape)
        return found
