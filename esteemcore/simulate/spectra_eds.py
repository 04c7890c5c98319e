"""EDS spectra as X-ray events: characteristic lines and bremsstrahlung, seen with a detector's resolution."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants, special

from esteemcore import events
from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.simulate.composition import Composition, Content
from esteemcore.simulate.phases import ELEMENTS, Phase
from esteemcore.simulate.relativity import REST_EV, Electron
from esteemcore.simulate.spectra_eels import per_place
from esteemcore.simulate.xray_lines import SHELLS

_FWHM = 2 * math.sqrt(2 * math.log(2))
_BATCH = 4096


@dataclasses.dataclass(frozen=True)
class EdsDetector:
    """An X-ray detector.

    Parameters
    ----------
    channels : int
        Number of channels.
    kev_per_channel : float
        Width of a channel in keV.
    offset_kev : float
        Energy at the centre of channel 0 in keV.
    solid_angle_sr : float
        Solid angle in sr.
    fano : float
        Fano factor.
    pair_ev : float
        Energy per electron-hole pair in eV; 3.65 in silicon.
    noise_ev : float
        Full width at half maximum of the electronic noise in eV.
    lowest_kev : float
        X-rays below this energy in keV are not counted.

    Examples
    --------
    >>> from esteemcore import simulate
    >>> round(simulate.EdsDetector().fwhm_ev(5.895))
    126
    """

    channels: int = 1024
    kev_per_channel: float = 0.01
    offset_kev: float = 0.0
    solid_angle_sr: float = 0.9
    fano: float = 0.118
    pair_ev: float = 3.65
    noise_ev: float = 41.0
    lowest_kev: float = 0.15

    def __post_init__(self) -> None:
        checks.integer("channels", self.channels, minimum=1)
        for name, unit in (("kev_per_channel", "keV"), ("pair_ev", "eV"), ("fano", ""), ("lowest_kev", "keV")):
            checks.positive(name, getattr(self, name), unit)
        checks.finite("offset_kev", self.offset_kev, "keV")
        checks.not_negative("noise_ev", self.noise_ev, "eV")
        if checks.not_negative("solid_angle_sr", self.solid_angle_sr, "sr") > 4 * math.pi:
            raise ParameterError(f"solid_angle_sr is {self.solid_angle_sr:g} sr; a sphere has {4 * math.pi:.4g} sr")

    @property
    def energy_kev(self) -> NDArray[np.float64]:
        """Energy at the centre of each channel in keV."""
        return self.offset_kev + self.kev_per_channel * np.arange(self.channels, dtype=np.float64)

    def fwhm_ev(self, energy_kev: float) -> float:
        r"""Return the resolution at an energy, :math:`\sqrt{w_n^2 + (2.355)^2 F \epsilon E}`, in eV."""
        return math.sqrt(self.noise_ev**2 + _FWHM**2 * self.fano * self.pair_ev * energy_kev * 1e3)


class EdsSampler:
    r"""Draws X-ray events of places with known content.

    .. math:: N_l = N \frac{\Omega}{4 \pi} \sum_e n_e Q_e \omega_e w_l

    X-rays of a line l from N electrons, with solid angle Ω, n atoms per nm², the ionisation cross-section Q
    (`Shell.ionisation_nm2`), the fluorescence yield ω and the line's weight w. Bremsstrahlung is that of Bethe and
    Heitler without screening,

    .. math:: \frac{d\sigma}{dk} = \frac{16}{3} \alpha r_0^2 \frac{Z^2}{\beta^2} \frac{1}{k} \ln \frac{p + p'}{p - p'}

    taken as even in all directions: for thin specimens it falls about as 1/k, where Kramers' law for thick ones falls
    as (E0 - k)/k. Left out: absorption in specimen and window (but see `EdsDetector.lowest_kev`), fluorescence,
    incomplete charge collection, pile-up, spurious lines.

    Parameters
    ----------
    specimen : Composition or tuple of Phase
        What `Content` will be of.
    detector : EdsDetector
    energy_kev : float
        Beam energy in keV.
    bremsstrahlung : bool
        With it.
    seed : int
        Seed of the events.

    References
    ----------
    H. W. Koch, J. W. Motz, Rev. Mod. Phys. 31 (1959) 920, formula 3BN(a).

    Examples
    --------
    >>> from esteemcore import simulate
    >>> specimen = simulate.composition("needle")
    >>> sampler = simulate.EdsSampler(specimen, simulate.EdsDetector(), seed=1)
    >>> found = sampler.events(specimen.maps((16, 16), pixel_nm=4.0), electrons=1e6, shape=(16, 16))
    >>> found.shape
    (16, 16, 1024)
    """

    def __init__(
        self,
        specimen: Composition | tuple[Phase, ...],
        detector: EdsDetector,
        *,
        energy_kev: float = 200.0,
        bremsstrahlung: bool = True,
        seed: int = 0,
    ) -> None:
        phases = specimen.phases if isinstance(specimen, Composition) else tuple(specimen)
        self.components = tuple((phase.name, element) for phase in phases for element in phase.elements)
        self.elements = tuple(dict.fromkeys(element for _, element in self.components))
        self.detector = detector
        checks.integer("seed", seed, minimum=0)
        self._counting = np.random.default_rng((seed, 2))
        self._energies = [np.random.default_rng((seed, 3, number)) for number in range(len(self.elements))]
        self.cross_sections_nm2 = np.stack(
            [self._lines(element, energy_kev) for element in self.elements]
            if not bremsstrahlung
            else [self._lines(e, energy_kev) + self._bremsstrahlung(e, energy_kev) for e in self.elements]
        )
        self._collected = detector.solid_angle_sr / (4 * math.pi)
        self._of_element = np.array(
            [[component == element for element in self.elements] for _, component in self.components], np.float64
        )

    def _lines(self, element: str, energy_kev: float) -> NDArray[np.float64]:
        """Return the cross-section in nm² for X-rays of lines in each channel."""
        detector = self.detector
        edges = detector.offset_kev + detector.kev_per_channel * (np.arange(detector.channels + 1) - 0.5)
        total = np.zeros(detector.channels)
        for shell in SHELLS[element]:
            made = shell.ionisation_nm2(energy_kev) * shell.fluorescence_yield
            for _, line_kev, weight in shell.lines:
                if line_kev >= detector.lowest_kev:
                    sigma = detector.fwhm_ev(line_kev) / _FWHM * 1e-3
                    total += made * weight * np.diff(special.ndtr((edges - line_kev) / sigma))
        return total

    def _bremsstrahlung(self, element: str, energy_kev: float) -> NDArray[np.float64]:
        """Return the cross-section in nm² for bremsstrahlung in each channel."""
        electron, energy_ev = Electron(energy_kev), energy_kev * 1e3
        photon = self.detector.energy_kev * 1e3
        seen = (photon >= self.detector.lowest_kev * 1e3) & (photon < energy_ev)
        photon = np.where(seen, photon, energy_ev / 2)
        before, after = (np.sqrt(t * (t + 2 * REST_EV)) for t in (energy_ev, energy_ev - photon))
        radius_nm = constants.physical_constants["classical electron radius"][0] * 1e9
        strength = 16 / 3 * constants.alpha * radius_nm**2 * ELEMENTS[element][0] ** 2 / electron.beta_squared
        density = strength / photon * np.log((before + after) / (before - after))
        found: NDArray[np.float64] = np.where(seen, density * self.detector.kev_per_channel * 1e3, 0.0)
        return found

    def _checked(self, content: Content, electrons: ArrayLike) -> NDArray[np.float64]:
        """Return the atoms of each element times electrons that matter at each place."""
        if content.components != self.components:
            raise ParameterError(
                f"the content is of {content.components}; expected that of this sampler's specimen, {self.components}"
            )
        dose = per_place("electrons", electrons, len(content))
        if len(content) and dose.min() < 0:
            raise ParameterError(f"electrons are {dose.min():g}; expected zero or more")
        weighted: NDArray[np.float64] = content.atoms @ self._of_element * (dose * self._collected)[:, None]
        return weighted

    def expected(self, content: Content, electrons: ArrayLike) -> NDArray[np.float64]:
        """Return the mean number of X-rays in each channel.

        Parameters
        ----------
        content : Content
            What lies under each place.
        electrons : float or array_like, shape (n,)
            Electrons per place.

        Returns
        -------
        ndarray of float64, shape (n, channels)
        """
        found: NDArray[np.float64] = self._checked(content, electrons) @ self.cross_sections_nm2
        return found

    def events(self, content: Content, electrons: ArrayLike, shape: tuple[int, int] | None = None) -> events.SparseSI:
        """Draw X-rays, with Poisson's statistics in each channel.

        Parameters
        ----------
        content : Content
            What lies under each place, row after row.
        electrons : float or array_like, shape (n,)
            Electrons per place.
        shape : (int, int), optional
            Rows and columns of places. Default: (1, n).

        Returns
        -------
        SparseSI
            Counts in uint16, of shape (y, x, channels). They do not depend on how the calls are cut.
        """
        rows, columns = (1, len(content)) if shape is None else checks.shape_2d("shape", shape)
        if rows * columns != len(content):
            raise ParameterError(f"shape is {shape}; the content has {len(content)} places")
        matter = self._checked(content, electrons)
        channels = self.detector.channels
        totals = self.cross_sections_nm2.sum(axis=1)
        heaps = np.cumsum(self.cross_sections_nm2, axis=1)
        keys = []
        for first in range(0, len(content), _BATCH):
            counts = self._counting.poisson(matter[first : first + _BATCH] * totals)
            for column, heap in enumerate(heaps):
                place = np.repeat(np.arange(len(counts)), counts[:, column])
                drawn = self._energies[column].random(len(place)) * heap[-1]
                channel = np.minimum(np.searchsorted(heap, drawn, side="right"), channels - 1)
                keys.append((first + place) * channels + channel)
        entry, count = np.unique(np.concatenate(keys) if keys else np.zeros(0, np.int64), return_counts=True)
        if count.size and count.max() > np.iinfo(np.uint16).max:
            raise ParameterError(
                f"a channel has {count.max()} X-rays; more than 65,535 do not fit: lower the electrons"
            )
        offset = np.searchsorted(entry, np.arange(rows * columns + 1) * channels)
        return events.SparseSI(
            (rows, columns, channels),
            np.dtype(np.uint16),
            offset.astype(np.int64),
            (entry % channels).astype(np.uint32),
            count.astype(np.uint16),
        )
