r"""Is a frame where it seems to be, or one unit cell farther? Decided on what in the image is not periodic.

Let R(x) be the mean of other frames and d a displacement by which R nearly repeats itself. A frame I, corrected for its
lines, that seems to lie at 0 may just as well lie at d. With D = R(x + d) - R(x) and M the mean of both,

.. math:: T = -2 \sum_x w (I - M) \tilde D, \quad E = \sum_x w D \tilde D

is +E on average if it lies at 0 and -E if it lies at d, whatever noise R has. D̃ is D without what the noise of R may
have made. The log likelihood ratio of the two places is 2 T E / var(T); the variance follows from the power spectrum of
the residuals. All is done on a grid of half the resolution, blurred, without the lowest frequencies.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from esteemcore.register import _hop_kernels as kernels
from esteemcore.register import _splat_kernels as splats
from esteemcore.register.grid import Grid, Image, gaussian_taps, spread
from esteemcore.register.lines import LEAST_NOISE, Frame

Floats = NDArray[np.float64]

BLUR_PX = 1.5
"""Blur before the resolution is halved."""
LOW_PX = 16.0
"""Shading wider than this (standard deviation) says nothing about the place."""
LEAST_FACTOR = 0.5
"""Least factor of this blur, for fine lattices: less would leave the noise of single counts."""
FINE = 0.8
"""Where the blur is smaller than by this factor, the nearest cells are looked for between the pixels."""
LOBES = 6
"""Half width of the windowed sinc that the reference is moved with, in pixels; not on fine lattices."""
ALIKE = 0.35
"""Autocorrelation from which a displacement is a possible hop."""
EDGE = 2
"""Pixels of the half resolution that are left out along the edge of the reference."""
QUIETEST = 1e-9
"""Least variance of the noise, of that of the mean image: a frame of something else may seem to have none."""
DOUBT = 3.0
"""Differences within this many standard deviations of the noise of the reference do not count."""
DISTORTION_PX = 0.06
"""By how much the grid of the reference may be distorted; differences that this explains do not count either."""
BY_CHANCE = 3 * 0.005 / DOUBT**2
"""What noise brings to E per pixel: the mean of z² - 9 of a normal z beyond 3, three times that for uneven noise."""
CLEAR = 3.0
"""Standard deviations of T within which a frame says nothing of E."""
MOST_HOPS = 16
"""No more displacements than this are looked at, the nearest ones."""


@dataclasses.dataclass(frozen=True, eq=False)
class Ratios:
    """Log likelihood ratios of frames, seen place over hop.

    Attributes
    ----------
    hops : ndarray, shape (h, 2)
        Displacements (dy, dx) in px that a frame may be off by.
    ratio : ndarray, shape (n, h)
        ln p(frame | seen place) - ln p(frame | seen place + hop).
    power : ndarray, shape (n, h)
        What the ratio would be on average if the seen place is right: how well the two places can be told apart.
    """

    hops: Floats
    ratio: Floats
    power: Floats


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """What a corrected frame shows.

    Attributes
    ----------
    image : ndarray of float32
        Without its local mean; 0 where it is not known.
    known : ndarray of bool
        Where it is known.
    """

    image: Image
    known: NDArray[np.bool_]


class Corrected:
    """Frames on the common grid at half resolution, blurred, as sums and weights.

    Parameters
    ----------
    grid : Grid
        The common grid that holds all frames.
    blur_factor : float
        The blur is smaller by this factor, for fine lattices; see `detail`.
    """

    def __init__(self, grid: Grid, blur_factor: float = 1.0) -> None:
        self._pad = grid.pad
        self.fine = blur_factor < FINE
        self._full = [np.zeros_like(grid.total) for _ in range(2)]
        self._taps = gaussian_taps(max(blur_factor, LEAST_FACTOR) * BLUR_PX)
        self.shape = self._full[0][::2, ::2].shape
        self.size = (fft.next_fast_len(self.shape[0], True), fft.next_fast_len(self.shape[1], True))
        self._shading_taps = gaussian_taps(LOW_PX / 2 / kernels.BIN)
        fy, fx = fft.fftfreq(self.size[0])[:, None], fft.rfftfreq(self.size[1])[None]
        self._frequency = fy, fx
        self._low_pass = np.exp(-2 * np.pi**2 * (LOW_PX / 2) ** 2 * (fy**2 + fx**2)).astype(np.float32)

    def image(self, frame: Frame, gain: float) -> tuple[Image, Image]:
        """Return sum and weights of a frame, its counts divided by ``gain``."""
        total, weights = self._full[:2]
        total[:] = 0
        weights[:] = 0
        spread(frame.image, frame.weight, frame.moved, frame.visits.axis, float(self._pad), 1.0, total, weights)
        small, cover = self.of_sums(total, weights)
        small /= np.float32(gain)
        return small, cover

    def of_sums(self, total: Image, weights: Image) -> tuple[Image, Image]:
        """Return sums and weights of the full grid, blurred, at half resolution."""
        small, cover = np.empty(self.shape, np.float32), np.empty(self.shape, np.float32)
        splats.blur_halved(total, self._taps, small)
        splats.blur_halved(weights, self._taps, cover)
        return small, cover

    def seen(self, total: Image, weights: Image, least: float) -> Seen:
        """Return ``total / weights`` without its local mean, and where it is known."""
        known = weights > least
        level = float(total[known].sum(dtype=np.float64) / max(weights[known].sum(dtype=np.float64), 1e-9))
        image = np.where(known, total / np.where(known, weights, 1) - np.float32(level), np.float32(0))
        if not self.fine:
            kernels.take_shading(image, known, self._shading_taps)
            return Seen(image, known)
        shading = self._filtered(image, self._low_pass)
        shading /= np.maximum(self._filtered(known.astype(np.float32), self._low_pass), kernels.LEAST_COVER)
        return Seen(np.where(known, image - shading, np.float32(0)), known)

    def move(self, image: Image, hop_px: Floats, there: Image) -> None:
        """Write R(x + hop); the waves of fine lattices come near the limit of the grid and need all of the image."""
        dy, dx = (float(d / 2) for d in hop_px)  # half resolution
        if not self.fine:
            kernels.move(image, dy, dx, LOBES, there)
            return
        fy, fx = self._frequency
        y, x = (np.exp(2j * np.pi * f * d).astype(np.complex64) for f, d in ((fy, dy), (fx, dx)))
        there[:] = self._filtered(image, y * x)

    def _filtered(self, image: Image, gains: NDArray[Any]) -> Image:
        """Return an image whose waves are multiplied by ``gains``."""
        spectrum = fft.rfft2(image, self.size) * gains
        result: Image = fft.irfft2(spectrum, self.size)[: self.shape[0], : self.shape[1]]
        return result


def possible_hops(corrected: Corrected, seen: Seen, reach_px: float, most: int = MOST_HOPS) -> Floats:
    """Return the displacements (h, 2) in px, nearest first, by which an image nearly repeats itself."""
    rows, columns = (fft.next_fast_len(2 * n, True) for n in corrected.shape)
    image, inside = seen.image, seen.known.astype(np.float32)
    f, g, m = (fft.rfft2(a, (rows, columns)) for a in (image, image**2, inside))
    steps = 2 if corrected.fine else 1  # per pixel
    product, energy, overlap = (_back(a, columns, steps) for a in (np.abs(f) ** 2, g * np.conj(m), np.abs(m) ** 2))
    turned = np.roll(energy[::-1, ::-1], 1, axis=(0, 1))
    enough = overlap > 0.3 * overlap[0, 0]
    alike = np.where(enough, product / np.sqrt(np.maximum(energy * turned, 1e-12 * energy[0, 0] ** 2 + 1e-30)), -1)
    reach = int(min(reach_px / 2, min(corrected.shape) // 2 - 2)) * steps
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    near = alike[y, x]
    top = near >= ALIKE
    for a, b in ((1, 0), (0, 1), (1, 1), (1, -1)):
        top &= (near >= alike[y + a, x + b]) & (near > alike[y - a, x - b])
    top &= (y != 0) | (x != 0)
    found = np.argsort(np.where(top, y**2 + x**2, 10**9), axis=None)[: min(most, int(top.sum()))]
    hops = []
    for i, j in zip(y.flat[found], x.flat[found], strict=True):
        place = [float(i), float(j)]
        for axis, (a, b) in enumerate(((1, 0), (0, 1))):
            before, here, after = alike[i - a, j - b], alike[i, j], alike[i + a, j + b]
            bend = before - 2 * here + after
            place[axis] += 0.0 if bend >= 0 else float(0.5 * (before - after) / bend)
        hops.append(place)
    return 2 / steps * np.array(hops, np.float64).reshape(-1, 2)


def _back(spectrum: NDArray[Any], columns: int, steps: int) -> Image:
    """Return the image of a half spectrum, sampled this many times per pixel."""
    rows, half = spectrum.shape
    if steps > 1:
        wide = np.zeros((steps * rows, half), spectrum.dtype)
        wide[: rows // 2], wide[-(rows // 2) :] = spectrum[: rows // 2], spectrum[-(rows // 2) :]
        spectrum = wide
    image: Image = fft.irfft2(spectrum, (steps * rows, steps * columns))
    return image


class Judge:
    """Compare frames with a reference at their places and one hop farther.

    Parameters
    ----------
    corrected : Corrected
        Geometry.
    total, weights : ndarray
        Sum and weights of the frames that make the reference.
    hops : ndarray, shape (h, 2)
        Displacements in px.
    noise, slope : float
        Variance of a sample is ``noise + slope * mean``.
    enough : float
        Weight from which a pixel of the reference is known.
    """

    def __init__(
        self,
        corrected: Corrected,
        total: Image,
        weights: Image,
        hops: Floats,
        noise: float,
        slope: float,
        enough: float,
    ) -> None:
        self._corrected, self._hops = corrected, hops
        mean = corrected.seen(total, weights, enough)
        self._here, known = mean.image, mean.known
        self._known = known = ndimage.binary_erosion(known, iterations=EDGE)  # beside it shifted edges ring
        variance = noise + slope * np.where(known, total / np.where(known, weights, 1), 0)
        usual = float(variance[known].mean()) if known.any() else 1.0
        spread = float((total[known] / weights[known]).var()) if known.any() else 1.0
        weight = (1 / np.maximum(variance, max(LEAST_NOISE * usual, QUIETEST * spread, 1e-30))).astype(np.float32)
        steepness = sum((0.5 * g) ** 2 for g in np.gradient(self._here)) * weight  # a pixel here is two of the frames
        self._inside = known.astype(np.float32)
        self._weight, self._steepness = weight, steepness
        self._compared = False

    def _compare(self) -> None:
        """Learn how the reference differs from itself one hop farther; put off until a frame is compared."""
        corrected, hops = self._corrected, self._hops
        self._filter = np.empty((len(hops), *corrected.shape), np.float32)
        self._middle = np.empty_like(self._filter)
        self._expected = np.empty_like(self._filter)
        self._by_chance = np.empty_like(self._filter)
        there, both, some = (np.empty(corrected.shape, np.float32) for _ in range(3))
        for h, hop in enumerate(hops):
            hops[h] = self._refine(hop, there, both)
            self._move(hops[h], there, both)
            count = kernels.squares(self._here, there, both, self._weight, some.ravel())
            doubt = DOUBT**2 * 1.4826**2 * float(np.median(some.ravel()[:count])) if count else 0.0
            kernels.telling(
                self._here, there, both, self._weight, self._steepness,
                doubt, (DOUBT * DISTORTION_PX) ** 2, BY_CHANCE * doubt,
                self._filter[h], self._middle[h], self._expected[h], self._by_chance[h],
            )  # fmt: skip
        double = np.full(corrected.size[1] // 2 + 1, 2 / np.prod(corrected.size), np.float32)  # of a half spectrum
        double[0] /= 2
        if corrected.size[1] % 2 == 0:
            double[-1] /= 2
        self._power = np.empty((len(hops), corrected.size[0], double.size), np.float32)
        for filtered, power in zip(self._filter, self._power, strict=True):
            kernels.power(fft.rfft2(filtered, corrected.size), double, power)
        self._compared = True

    def _move(self, hop: Floats, there: Image, both: Image) -> None:
        """Write R(x + hop), and where it and R(x) are known."""
        self._corrected.move(self._here, hop, there)
        kernels.both_known(self._inside, round(hop[0] / 2), round(hop[1] / 2), both)

    def _refine(self, hop: Floats, there: Image, both: Image) -> Floats:
        """Return the hop that makes R(x + hop) most like R(x): one Gauss-Newton step."""
        self._move(hop, there, both)
        sums = np.empty(5)
        kernels.step_sums(self._here, there, both, sums)
        yy, yx, xx, b, c = sums
        determinant = yy * xx - yx * yx
        if determinant <= 1e-6 * yy * xx:
            return hop
        step = 4 * np.array([xx * b - yx * c, yy * c - yx * b]) / determinant  # 2 pixels, 4 px, for a difference
        refined: Floats = hop + np.clip(step, -0.5, 0.5)
        return refined

    def ratios(self, frames: list[Seen]) -> Ratios:
        """Return the log likelihood ratios of frames."""
        if not self._compared:
            self._compare()
        n, h = len(frames), len(self._hops)
        images = np.zeros((n, self._here.size), np.float32)
        inside = np.zeros((n, self._here.size), np.float32)
        power = np.zeros((self._corrected.size[0], self._corrected.size[1] // 2 + 1))
        scatter = np.ones(n)
        for k, frame in enumerate(frames):
            known = frame.known & self._known
            images[k] = np.where(known, frame.image, 0).ravel()
            inside[k] = known.ravel()
            residual = (images[k].reshape(known.shape) - self._here) * known
            count = max(int(known.sum()), 1)
            scatter[k] = max(float((residual**2).sum()) / count, 1e-30)
            power += np.abs(fft.rfft2(residual, self._corrected.size)) ** 2 / count / scatter[k]
        power /= max(n, 1)
        filters = self._filter.reshape(h, -1)
        statistic = -2 * (images @ filters.T - inside @ self._middle.reshape(h, -1).T).astype(np.float64)
        expected = (inside @ self._expected.reshape(h, -1).T).astype(np.float64)
        noise = (self._power.reshape(h, power.size) @ power.ravel().astype(np.float32)).astype(np.float64)
        variance = 4 * scatter[:, None] * np.maximum(noise, 1e-30)
        highest = expected + inside @ self._by_chance.reshape(h, -1).T
        shown = np.abs(statistic) - CLEAR * np.sqrt(variance)  # what the frame itself says of E, beyond its noise
        expected = np.clip(shown, np.maximum(expected, 0), np.maximum(highest, 0))
        return Ratios(self._hops, 2 * statistic * expected / variance, 2 * expected**2 / variance)

    def likeness(self, frames: list[Seen]) -> Floats:
        """Return the correlation coefficient of each frame with the reference."""
        result = np.zeros(len(frames))
        for k, frame in enumerate(frames):
            known = frame.known & self._known
            a, b = frame.image[known], self._here[known]
            norm = float(np.sqrt((a.astype(np.float64) @ a) * (b.astype(np.float64) @ b)))
            result[k] = float(a.astype(np.float64) @ b) / norm if norm > 0 else 0.0
        return result
