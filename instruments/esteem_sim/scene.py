"""What the detectors see of a specimen under a beam."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore import simulate
from esteemcore.errors import CancelledError, ParameterError

CHANNELS = ("HAADF", "BF", "ADF")
"""Detectors of the scan device; `Scene.signal` knows their angles."""
WITH_PATTERNS = simulate.SPECIMENS
"""Specimens whose diffraction patterns are known; of the others the 4D camera sees the beam alone."""

_BANK_SHARE = 0.8


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """A specimen in both of its descriptions.

    Attributes
    ----------
    name : str
        One of `esteemcore.simulate.COMPOSITIONS`.
    potential : esteemcore.simulate.Specimen
        For diffraction; empty where the name is none of `WITH_PATTERNS`.
    composition : esteemcore.simulate.Composition
        For spectra and, where there are no patterns, for images.
    thickness_nm : float or None
        As it was asked for.
    """

    name: str
    potential: simulate.Specimen
    composition: simulate.Composition
    thickness_nm: float | None = None

    @property
    def has_patterns(self) -> bool:
        """Whether its diffraction is known."""
        return self.name in WITH_PATTERNS


def sample(name: str, thickness_nm: float | None = None) -> Sample:
    """Return a specimen by name.

    Parameters
    ----------
    name : str
        One of `esteemcore.simulate.COMPOSITIONS`.
    thickness_nm : float, optional
        See `esteemcore.simulate.specimen` and `esteemcore.simulate.composition`.
    """
    if name in WITH_PATTERNS:
        potential = simulate.specimen(name, thickness_nm)
        thickness = potential.thickness_nm if name in ("zeolite", "srtio3") else None
        return Sample(name, potential, simulate.composition(name, thickness), thickness_nm)
    composition = simulate.composition(name, thickness_nm)
    nothing = simulate.specimen("vacuum")
    potential = dataclasses.replace(nothing, name=name, description=composition.description)
    return Sample(name, potential, composition, thickness_nm)


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """All that the detectors see of a specimen under a beam.

    Attributes
    ----------
    sample : Sample
    bank : esteemcore.simulate.Bank
        Expected diffraction patterns over one cell.
    images : dict of str to ndarray of float64, shape (y, x)
        Fraction of the beam on each detector of `CHANNELS` at the positions of the bank; none without patterns.
    """

    sample: Sample
    bank: simulate.Bank
    images: dict[str, NDArray[np.float64]] = dataclasses.field(repr=False)

    def signal(
        self, channel: str, places_nm: ArrayLike, content: simulate.Content | None = None
    ) -> NDArray[np.float64]:
        """Return the fraction of the beam on a detector at places (n, 2) on the specimen in nm.

        Parameters
        ----------
        channel : str
            One of `CHANNELS`.
        places_nm : array_like, shape (n, 2)
        content : Content, optional
            What lies there where it is not what the sample had at the start. Patterns do not know damage: what it
            changes is then taken from the composition.
        """
        if not self.images:
            return self._scattered(channel, self.sample.composition.at(places_nm) if content is None else content)
        found = simulate.interpolate_cell(self.images[channel], places_nm, self.bank.spacing_nm)
        if content is not None:
            found += self._scattered(channel, content) - self._scattered(channel, self.sample.composition.at(places_nm))
            np.clip(found, 0, 1, out=found)
        return found

    def _scattered(self, channel: str, content: simulate.Content) -> NDArray[np.float64]:
        """Return the fraction of the beam on a detector by the composition alone; angles as in `make_scene`."""
        beam = self.bank.beam
        if channel == "HAADF":
            return content.scattered(beam.energy_kev, 2 * beam.semiangle_mrad)
        if channel == "ADF":
            return content.scattered(beam.energy_kev, 1.05 * beam.semiangle_mrad, self.bank.max_angle_mrad)
        # the inner half of the disk has a quarter of what is not scattered
        return 0.25 * (1 - content.scattered(beam.energy_kev, beam.semiangle_mrad))


def make_scene(
    sample: Sample,
    beam: simulate.Beam,
    cancel: threading.Event,
    progress: Callable[[float], None] | None = None,
    **options: Any,
) -> Scene:
    """Compute the patterns and images of a specimen under a beam.

    HAADF collects beyond twice the semi-angle (beyond the semi-angle where the potential is not sampled that finely),
    BF within half of it, ADF the ring around the bright-field disk.

    Parameters
    ----------
    sample : Sample
    beam : Beam
    cancel : Event
        When set, the computation ends soon with a `CancelledError`.
    progress : callable, optional
        Called with the fraction done, 0 to 1.
    **options
        Passed to `esteemcore.simulate.bank`.
    """
    share = None if progress is None else lambda done: progress(_BANK_SHARE * done)
    bank = simulate.bank(sample.potential, beam, progress=share, cancel=cancel, **options)
    images = _images(sample.potential, beam, bank) if sample.has_patterns else {}
    if cancel.is_set():
        raise CancelledError("the diffraction patterns are not needed any more")
    _ = bank.alias  # made when first used, which would hold up the first frame
    return Scene(sample, bank, images)


def _images(specimen: simulate.Specimen, beam: simulate.Beam, bank: simulate.Bank) -> dict[str, NDArray[np.float64]]:
    shape = bank.outside.shape
    places = np.argwhere(np.ones(shape, bool)) * bank.spacing_nm
    try:
        haadf = simulate.haadf_image(specimen, beam, places)
    except ParameterError:
        haadf = simulate.haadf_image(specimen, beam, places, inner_angle_mrad=beam.semiangle_mrad)
    bright = simulate.bright_field_image(bank, places, max_angle_mrad=beam.semiangle_mrad / 2)
    ring = simulate.bright_field_image(
        bank, places, inner_angle_mrad=1.05 * beam.semiangle_mrad, max_angle_mrad=bank.max_angle_mrad
    )
    images = {"HAADF": haadf, "BF": bright, "ADF": np.maximum(ring, 0)}
    return {name: image.reshape(shape) for name, image in images.items()}
