"""Where the electrons of a frame go on average, and the phase that bends them there."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import CalibrationError, ParameterError
from esteemcore._core.provenance import Provenance, digest, record
from esteemcore.fourd.geometry import Geometry
from esteemcore.fourd.ssb_bins import half_spectrum, in_band
from esteemcore.fourd.statistics import mean_per_visit, sum_dtype
from esteemcore.fourd.virtual import add_projection
from esteemcore.stream import AdditiveReducer, Chunk, Spec, Sums

NOISE_MARGIN = 2.5
"""How far below that of noise the power across must be, in units of 1 / sqrt(number of independent q)."""


@dataclasses.dataclass(frozen=True)
class CenterOfMassResult:
    """Mean deflection of the beam.

    Attributes
    ----------
    com : ndarray of float64, shape (y, x, 2)
        Deflection (row, column) in mrad, turned into scan axes; NaN where no electron was counted.
    counts : ndarray of float64, shape (y, x)
        Mean counts per visit; NaN where there is no frame.
    visits : ndarray of uint32, shape (y, x)
        Frames at each position.
    provenance : Provenance
    """

    com: NDArray[np.float64]
    counts: NDArray[np.float64]
    visits: NDArray[np.uint32]
    provenance: Provenance


class CenterOfMass(AdditiveReducer):
    """First moment of every frame, measured from the optical axis.

    Parameters
    ----------
    geometry : Geometry
        Pixel size, centre, rotation and flip.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry

    def zeros(self, spec: Spec) -> dict[str, NDArray[Any]]:
        """Return empty sums of counts, rows and columns."""
        return {"moments": np.zeros((spec.positions, 3), sum_dtype(spec))}

    def add(self, state: Sums, chunk: Chunk) -> None:
        """Add counts, and counts times row and column."""
        ky, kx = state.spec.frame_shape
        row, column = np.divmod(np.arange(ky * kx, dtype=np.int32), np.int32(kx))
        weight = np.stack([np.ones_like(row), row, column], axis=1)
        add_projection(state["moments"], weight, state.spec, chunk)

    def result(self, state: Sums) -> CenterOfMassResult:
        """Return the deflections of what has come so far."""
        counts, rows, columns = state["moments"].astype(np.float64).T
        counted = counts > 0
        row, column = np.full((2, counts.size), np.nan)
        np.divide(rows, counts, out=row, where=counted)
        np.divide(columns, counts, out=column, where=counted)
        row0, column0 = self.geometry.center_px(state.spec.frame_shape)
        pitch_row, pitch_column = self.geometry.pixel_pair_mrad
        row, column = (row - row0) * pitch_row, (column - column0) * pitch_column
        if self.geometry.flip:
            row, column = column, row
        com = np.stack(self.geometry.to_scan(row, column), axis=-1)
        return CenterOfMassResult(
            com.reshape(*state.spec.scan_shape, 2),
            mean_per_visit(state["moments"][:, 0], state),
            state["visits"].reshape(state.spec.scan_shape).copy(),
            record("fourd.CenterOfMass", {"geometry": self.geometry}, input_digest=digest(*state.arrays.values())),
        )


def _deflections(com: ArrayLike) -> NDArray[np.float64]:
    """Return deflections (y, x, 2) with the mean taken away and positions without a value set to zero."""
    field = np.array(com, dtype=np.float64)
    if field.ndim != 3 or field.shape[2] != 2 or not field.size:
        raise ParameterError(f"com has shape {field.shape}; expected (y, x, 2), as CenterOfMass gives it")
    known = np.isfinite(field).all(axis=2)
    if not known.any():
        return np.zeros_like(field)
    field -= field[known].mean(axis=0)
    field[~known] = 0.0
    return field


def integrate(com: ArrayLike, geometry: Geometry, boundary: str = "mirror") -> NDArray[np.float32]:
    r"""Return the phase whose gradient is the deflection: integrated CoM, or iDPC from a segmented detector.

    .. math:: \nabla \varphi = 2 \pi \langle k \rangle, \quad k = \theta / \lambda

    solved by least squares in Fourier space. The result is the phase of the object blurred by the intensity of the
    probe. Positions without a value take the mean over the others.

    Parameters
    ----------
    com : array_like, shape (y, x, 2)
        Deflection (row, column) in mrad, in scan axes.
    geometry : Geometry
        Scan step and beam energy.
    boundary : {"mirror", "periodic"}
        How the image goes on beyond its edges.

    Returns
    -------
    ndarray of float32, shape (y, x)
        Phase in rad, mean zero.

    References
    ----------
    I. Lazić, E. G. T. Bosch, S. Lazar, Ultramicroscopy 160 (2016) 265.
    """
    checks.choice("boundary", boundary, ("mirror", "periodic"))
    field = _deflections(com)
    shape = field.shape[:2]
    gradient = 2 * np.pi * 1e-3 / geometry.wavelength_nm * field
    along_y, along_x = gradient[..., 0], gradient[..., 1]
    if boundary == "mirror":
        along_y = _mirror(along_y, sign_y=-1, sign_x=1)
        along_x = _mirror(along_x, sign_y=1, sign_x=-1)
    step_y, step_x = geometry.step_nm
    wave_y = 2j * np.pi * scipy.fft.fftfreq(along_y.shape[0], step_y)[:, None]
    wave_x = 2j * np.pi * scipy.fft.rfftfreq(along_y.shape[1], step_x)[None, :]
    for wave, n in ((wave_y, along_y.shape[0]), (wave_x, along_y.shape[1])):
        if n % 2 == 0:
            wave.reshape(-1)[n // 2] = 0.0
    power = np.abs(wave_y) ** 2 + np.abs(wave_x) ** 2
    spectrum = wave_y.conj() * scipy.fft.rfft2(along_y) + wave_x.conj() * scipy.fft.rfft2(along_x)
    phase = np.zeros_like(spectrum)
    np.divide(spectrum, power, out=phase, where=power > 0)
    image = scipy.fft.irfft2(phase, s=along_y.shape)[: shape[0], : shape[1]]
    return np.asarray(image - image.mean(), np.float32)


def _mirror(component: NDArray[np.float64], *, sign_y: int, sign_x: int) -> NDArray[np.float64]:
    """Continue a gradient component beyond the lower and right edge as that of the mirrored phase."""
    wide = np.concatenate([component, sign_x * component[:, ::-1]], axis=1)
    return np.concatenate([wide, sign_y * wide[::-1]], axis=0)


def fit_rotation(com: ArrayLike, geometry: Geometry) -> tuple[float, bool]:
    r"""Find the angle from scan to detector, and whether the detector is transposed, from measured deflections.

    The deflection by a potential is a gradient: in Fourier space it lies along q. The rotation R is the one that leaves
    the least power across,

    .. math:: \sum_q w(q) \, |\hat q \times R^T k(q)|^2

    with the weight of what a probe without aberrations transfers of a point, :math:`w = (q T(q))^2`, which keeps the
    noise of high and the edges of low frequencies out. It is right up to 180 degrees, which the skewness of the
    deflections along q, taken back to an image, decides: atoms, where the potential is high, are compact, and the space
    between them is wide. Check that sign once on a specimen that you know.

    Parameters
    ----------
    com : array_like, shape (y, x, 2)
        Deflection in mrad, in the scan axes that ``geometry`` assumed.
    geometry : Geometry
        The geometry that made ``com``.

    Returns
    -------
    rotation_deg : float
        What ``Geometry.rotation_deg`` should be, in (-180, 180].
    flip : bool
        What ``Geometry.flip`` should be.

    Raises
    ------
    CalibrationError
        If noise alone could look like this: too few electrons or positions, or nothing in the field.
    """
    from scipy.signal.windows import tukey

    row, column = np.moveaxis(_deflections(com), 2, 0)
    if min(row.shape) < 4:
        raise ParameterError(f"com has shape {row.shape}; a rotation needs at least 4 x 4 positions")
    row, column = geometry.to_detector(row, column)
    window = np.outer(*(tukey(n + 2, 0.5)[1:-1] for n in row.shape))
    band = in_band(row.shape, geometry)
    q_row, q_column = (q[band] for q in half_spectrum(row.shape, geometry.step_nm))
    q = np.hypot(q_row, q_column)
    q_row, q_column = q_row / q, q_column / q
    x = q * geometry.wavelength_nm / (2e-3 * geometry.semiangle_mrad)
    weight = x * (np.arccos(x) - x * np.sqrt(1 - x**2))
    best: tuple[float, float, bool, NDArray[np.complex128]] | None = None
    for swap in (False, True):
        r, c = (weight * scipy.fft.rfft2(window * part)[band] for part in ((column, row) if swap else (row, column)))
        # across(a) = cos(a) u - sin(a) v: its power is a quadratic form of (cos, sin)
        u, v = q_row * c - q_column * r, q_row * r + q_column * c
        angle = 0.5 * np.arctan2(2 * np.vdot(u, v).real, np.vdot(v, v).real - np.vdot(u, u).real)
        for a in (angle, angle + np.pi / 2):
            across, along = np.cos(a) * u - np.sin(a) * v, np.cos(a) * v + np.sin(a) * u
            power = float(np.vdot(across, across).real)
            if best is None or power < best[0]:
                best = (power, float(a), swap, along)
    power, angle, swap, along = best  # type: ignore[misc]
    total = power + float(np.vdot(along, along).real)
    # half of the power of noise is across; the least of four angles a little less, by the number of independent q
    independent = (weight**2).sum() ** 2 / max((weight**4).sum(), 1e-300)
    if not power < (0.5 - NOISE_MARGIN / np.sqrt(max(independent, 1.0))) * total:
        raise CalibrationError(
            f"the deflections show no direction ({power / max(total, 1e-300):.1%} of their power is across, of noise "
            "about half): too few electrons or positions to fit the rotation; give rotation_deg and flip"
        )
    sharpened = np.zeros(band.shape, np.complex128)
    sharpened[band] = -1j * along
    image = scipy.fft.irfft2(sharpened, s=row.shape)
    degrees = np.rad2deg(angle) + (180.0 if (image**3).mean() < 0 else 0.0)
    return float(-((-degrees + 180.0) % 360.0 - 180.0)), geometry.flip != swap
