"""EELS spectra: zero loss, plasmons with plural scattering, edges, and the camera that counts them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, special

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.simulate.composition import Composition, Content
from esteemcore.simulate.edges import edges_of
from esteemcore.simulate.phases import Phase
from esteemcore.simulate.relativity import Electron

_FWHM = 2 * math.sqrt(2 * math.log(2))
_FRACTIONS = 32
_SUBSAMPLES = 8
_BATCH = 256
_LOWEST_TOP_EV = 200.0


@dataclasses.dataclass(frozen=True)
class ZeroLoss:
    """The zero-loss peak: a Gaussian with an exponential tail towards losses; its mean is at zero.

    Parameters
    ----------
    fwhm_ev : float
        Full width at half maximum of the Gaussian in eV.
    tail_ev : float
        Decay length of the tail in eV; 0 for none.
    """

    fwhm_ev: float = 0.6
    tail_ev: float = 0.1

    def __post_init__(self) -> None:
        checks.positive("fwhm_ev", self.fwhm_ev, "eV")
        checks.not_negative("tail_ev", self.tail_ev, "eV")

    def below(self, energy_ev: NDArray[np.float64], blur_ev: float = 0.0) -> NDArray[np.float64]:
        """Return the part of the peak below energies in eV, the Gaussian widened by a standard deviation in eV."""
        sigma, tail = math.hypot(self.fwhm_ev / _FWHM, blur_ev), self.tail_ev
        gauss: NDArray[np.float64] = special.ndtr((energy_ev + tail) / sigma)
        if tail < 1e-3 * sigma:
            return special.ndtr(energy_ev / sigma)  # type: ignore[no-any-return]
        x = energy_ev + tail
        # exponentially modified Gaussian, with the product of exponential and error function kept finite
        tailed = np.exp(np.minimum(special.log_ndtr(x / sigma - sigma / tail) + sigma**2 / (2 * tail**2) - x / tail, 0))
        below: NDArray[np.float64] = gauss - tailed
        return below


@dataclasses.dataclass(frozen=True, eq=False)
class EelsCamera:
    """The camera of the spectrometer, one row of channels.

    Parameters
    ----------
    channels : int
        Number of channels.
    ev_per_channel : float
        Dispersion in eV per channel.
    offset_ev : float
        Loss at the centre of channel 0 in eV, with the drift tube at zero.
    spread_channels : float
        Full width at half maximum of the point spread in channels.
    gain : float
        Counts per electron.
    dark : float
        Mean counts of a spectrum without beam.
    readout_sigma : float
        Standard deviation of the readout in counts.
    gain_map : array_like, shape (channels,), optional
        Relative gain of each channel; 1 by default. A mean gain of 1 keeps the counts.

    Examples
    --------
    >>> from esteemcore import simulate
    >>> simulate.EelsCamera(channels=4, ev_per_channel=0.5, offset_ev=-1.0).energy_ev
    array([-1. , -0.5,  0. ,  0.5])
    """

    channels: int = 512
    ev_per_channel: float = 1.0
    offset_ev: float = 430.0
    spread_channels: float = 1.5
    gain: float = 1.0
    dark: float = 0.0
    readout_sigma: float = 0.0
    gain_map: ArrayLike | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        checks.integer("channels", self.channels, minimum=1)
        checks.positive("ev_per_channel", self.ev_per_channel, "eV")
        checks.finite("offset_ev", self.offset_ev, "eV")
        checks.not_negative("spread_channels", self.spread_channels)
        checks.positive("gain", self.gain)
        checks.finite("dark", self.dark)
        checks.not_negative("readout_sigma", self.readout_sigma)
        if self.gain_map is not None:
            gains = np.array(self.gain_map, np.float64)
            if gains.shape != (self.channels,) or not np.isfinite(gains).all() or (gains < 0).any():
                raise ParameterError(
                    f"gain_map has shape {gains.shape}; expected {self.channels} gains, finite and not negative"
                )
            gains.flags.writeable = False
            object.__setattr__(self, "gain_map", gains)

    @property
    def energy_ev(self) -> NDArray[np.float64]:
        """Loss at the centre of each channel in eV."""
        return self.offset_ev + self.ev_per_channel * np.arange(self.channels, dtype=np.float64)


class EelsSampler:
    r"""Draws EELS spectra of places with known content.

    The spectrum is the zero-loss peak Z, convolved with everything that an electron may lose, plural scattering by
    Poisson's law included; in Fourier space

    .. math:: \hat S = N \hat Z \exp\Bigl(q \sum_p \frac{t_p}{\lambda_p} (\hat P_p - 1)\Bigr)
       \frac{1 + \sum_c n_c \hat\sigma_c}{1 + \sum_c n_c \sigma_c}

    with N electrons, thickness t and mean free path λ of each phase, its single-scattering distribution P, atoms
    n per nm² of each element in each phase, and their cross-sections σ (`Edge.cross_section`). The mean free path
    counts core losses too; q leaves them to the edges, so that no electron is lost and the zero loss has
    :math:`\exp(-\sum_p t_p / \lambda_p)` of them. P is the loss function
    of a Drude plasmon times :math:`\ln(1 + \beta^2 / \theta_E^2)`, and a part of it a power law of the loss that stands
    for all that is not modelled; together they are the background of the edges. All electrons enter the spectrometer;
    losses below the plasmon, Čerenkov and surface losses are missing.

    Parameters
    ----------
    specimen : Composition or tuple of Phase
        What `Content` will be of.
    camera : EelsCamera
    energy_kev : float
        Beam energy in keV.
    semiangle_mrad, collection_mrad : float
        Convergence and collection semi-angles in mrad.
    zero_loss : ZeroLoss
    background : (float, float)
        Part of the single scattering that follows a power law, and its exponent.
    seed : int
        Seed of the noise. Spectra do not depend on how the calls are cut.

    References
    ----------
    R. F. Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope, 3rd ed., ch. 3.3, 3.4 and 4.1.

    Examples
    --------
    >>> from esteemcore import simulate
    >>> specimen = simulate.composition("needle")
    >>> sampler = simulate.EelsSampler(specimen, simulate.EelsCamera(offset_ev=-20.0), seed=1)
    >>> spectra = sampler.spectra(specimen.at([[0.0, 0.0], [0.0, 900.0]]), electrons=1e5)
    >>> spectra.shape, int(spectra[1].argmax())
    ((2, 512), 20)
    """

    def __init__(
        self,
        specimen: Composition | tuple[Phase, ...],
        camera: EelsCamera,
        *,
        energy_kev: float = 200.0,
        semiangle_mrad: float = 15.0,
        collection_mrad: float = 30.0,
        zero_loss: ZeroLoss | None = None,
        background: tuple[float, float] = (0.25, 2.3),
        seed: int = 0,
    ) -> None:
        self.phases = specimen.phases if isinstance(specimen, Composition) else tuple(specimen)
        self.components = tuple((phase.name, element) for phase in self.phases for element in phase.elements)
        self.camera = camera
        self.zero_loss = ZeroLoss() if zero_loss is None else zero_loss
        self.energy_kev, self.collection_mrad = energy_kev, collection_mrad
        share, exponent = background
        if not 0 <= checks.finite("background", share) < 1 or checks.finite("background", exponent) <= 1:
            raise ParameterError(f"background is {background}; expected a part from 0 to 1 and an exponent above 1")
        self._background = float(share), float(exponent)
        self.mean_free_path_nm = np.array(
            [phase.mean_free_path_nm(energy_kev, semiangle_mrad, collection_mrad) for phase in self.phases]
        )
        seed = checks.integer("seed", seed, minimum=0)
        self._counting, self._reading = (np.random.default_rng((seed, stream)) for stream in (0, 1))
        self._prepare()

    def _prepare(self) -> None:
        camera, step = self.camera, self.camera.ev_per_channel
        self._first = math.floor(camera.offset_ev / step)
        self._fraction = camera.offset_ev / step - self._first
        width = 8 * (self.zero_loss.fwhm_ev + self.zero_loss.tail_ev) + 4 * camera.spread_channels * step
        self._half = math.ceil(width / step) + 2
        self._margin = self._half + camera.channels // 8
        top = max(self._first + camera.channels + self._margin, math.ceil(_LOWEST_TOP_EV / step))
        # twice the range, so that plural scattering beyond the camera does not come back at its other end
        self._size = int(fft.next_fast_len(2 * top + 2 * self._margin + max(0, -self._first), real=True))
        inside = (np.arange(_SUBSAMPLES) + 0.5) / _SUBSAMPLES - 0.5
        losses = (np.arange(top)[:, None] + inside) * step
        self._single = np.stack([self._transform(self._scattering(phase, losses)) for phase in self.phases])
        sections = []
        for name, element in self.components:
            total = np.zeros(losses.shape)
            for edge in edges_of(name, element):
                total += edge.cross_section(losses, self.energy_kev, self.collection_mrad)
            sections.append(total * step)
        self.cross_sections_nm2 = np.stack([section.mean(axis=1) for section in sections])
        self._sections = np.stack([self._transform(section) for section in sections])
        self._peaks = np.stack([self._peak(k / _FRACTIONS) for k in range(_FRACTIONS + 1)])

    def _transform(self, density: NDArray[np.float64]) -> NDArray[np.complex128]:
        hat: NDArray[np.complex128] = fft.rfft(density.mean(axis=1), self._size)
        return hat

    def _scattering(self, phase: Phase, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the single-scattering distribution of a phase, per channel, of area 1 over all losses."""

        def density(loss: NDArray[np.float64]) -> NDArray[np.float64]:
            energy = np.maximum(loss, 1e-6)
            width, center = phase.plasmon_width_ev, phase.plasmon_ev
            plasmon = energy * width / ((energy**2 - center**2) ** 2 + (energy * width) ** 2)
            theta = energy / Electron(self.energy_kev).pv_ev * 1e3
            found: NDArray[np.float64] = plasmon * np.log1p((self.collection_mrad / theta) ** 2) * (loss > 0)
            return found

        def tail(loss: NDArray[np.float64]) -> NDArray[np.float64]:
            squared = (np.maximum(loss, 0) / phase.plasmon_ev) ** 2
            found: NDArray[np.float64] = squared * (1 + squared) ** (-exponent / 2 - 1)
            return found

        share, exponent = self._background
        grid = np.geomspace(1e-2, 1e5, 20001)
        areas = [float(np.trapezoid(shape(grid) * grid, np.log(grid))) for shape in (density, tail)]
        step = self.camera.ev_per_channel
        return step * ((1 - share) * density(losses) / areas[0] + share * tail(losses) / areas[1])

    def _peak(self, fraction: float) -> NDArray[np.complex128]:
        """Return the transform of a zero-loss peak at a fraction of a channel."""
        camera = self.camera
        step = camera.ev_per_channel
        edges = (np.arange(-self._half, self._half + 2, dtype=np.float64) - 0.5 - fraction) * step
        parts = np.diff(self.zero_loss.below(edges, camera.spread_channels / _FWHM * step))
        channels = np.zeros(self._size)
        channels[np.arange(-self._half, self._half + 1)] = np.maximum(parts, 0) / parts.sum()
        hat: NDArray[np.complex128] = fft.rfft(channels)
        return hat

    def expected(self, content: Content, electrons: ArrayLike, offset_ev: ArrayLike = 0.0) -> NDArray[np.float64]:
        """Return the mean number of electrons in each channel.

        Parameters
        ----------
        content : Content
            What lies under each place.
        electrons : float or array_like, shape (n,)
            Electrons per place.
        offset_ev : float or array_like, shape (n,)
            By how much the spectrum is moved towards higher channels in eV by drift, up to an eighth of the camera.

        Returns
        -------
        ndarray of float64, shape (n, channels)
        """
        n = len(content)
        if content.components != self.components:
            raise ParameterError(
                f"the content is of {content.components}; expected that of this sampler's specimen, {self.components}"
            )
        dose = per_place("electrons", electrons, n)
        offsets = per_place("offset_ev", offset_ev, n)
        if n and dose.min() < 0:
            raise ParameterError(f"electrons are {dose.min():g}; expected zero or more")
        most = self.camera.channels // 8 * self.camera.ev_per_channel
        if n and np.abs(offsets).max() > most:
            raise ParameterError(
                f"offset_ev reaches {np.abs(offsets).max():g} eV; expected at most an eighth of the camera, "
                f"{most:g} eV: move further by the offset_ev of EelsCamera"
            )
        found = np.empty((n, self.camera.channels))
        for first in range(0, n, _BATCH):
            part = slice(first, first + _BATCH)
            found[part] = dose[part, None] * self._expected(content[part], offsets[part])
        return found

    def _expected(self, content: Content, offsets: NDArray[np.float64]) -> NDArray[np.float64]:
        channel = offsets / self.camera.ev_per_channel - self._fraction
        whole = np.floor(channel).astype(np.int64)
        step, weight = np.divmod((channel - whole) * _FRACTIONS, 1)
        step = np.minimum(step.astype(np.int64), _FRACTIONS - 1)
        path = content.thickness_nm / self.mean_free_path_nm
        core = 1 + content.atoms @ self._sections[:, 0].real
        total = path.sum(axis=1)
        others = np.maximum(1 - np.log(core) / np.where(total > 0, total, np.inf), 0)
        hat = (path * others[:, None]) @ (self._single - 1)
        np.exp(hat, out=hat)
        hat *= (1 + content.atoms @ self._sections) / core[:, None]
        hat *= self._peaks[step] * (1 - weight)[:, None] + self._peaks[step + 1] * weight[:, None]
        spectra = fft.irfft(hat, self._size, axis=1)
        start = self._first - whole
        index = (start[:, None] + np.arange(self.camera.channels)) % self._size
        found: NDArray[np.float64] = np.maximum(np.take_along_axis(spectra, index, axis=1), 0)
        return found

    def spectra(self, content: Content, electrons: ArrayLike, offset_ev: ArrayLike = 0.0) -> NDArray[np.float32]:
        """Draw spectra: Poisson counts, through gain, dark and readout of the camera.

        Parameters
        ----------
        content, electrons, offset_ev
            See `expected`.

        Returns
        -------
        ndarray of float32, shape (n, channels)
            Counts.
        """
        return self.count(self.expected(content, electrons, offset_ev))

    def count(self, expected: NDArray[np.float64]) -> NDArray[np.float32]:
        """Draw what the camera reads for expected electrons (n, channels)."""
        camera = self.camera
        found = self._counting.poisson(expected.astype(np.float32)).astype(np.float32)
        if camera.gain != 1:
            found *= np.float32(camera.gain)
        if camera.gain_map is not None:
            found *= np.asarray(camera.gain_map, np.float32)
        if camera.readout_sigma:
            noise = self._reading.standard_normal(found.shape, np.float32)
            noise *= np.float32(camera.readout_sigma)
            found += noise
        if camera.dark:
            found += np.float32(camera.dark)
        return found


def per_place(name: str, values: ArrayLike, n: int) -> NDArray[np.float64]:
    """Return a number for each place."""
    array = np.asarray(values, np.float64)
    if array.shape not in ((), (n,)) or not np.isfinite(array).all():
        raise ParameterError(f"{name} has shape {array.shape}; expected a finite number, or {n} of them, one per place")
    return np.broadcast_to(array, (n,))
