"""Strain from the fringes of an image: of a lattice that is resolved, or of the moiré of a lattice with the scan."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import CalibrationError, ParameterError
from esteemcore._core.provenance import Provenance, digest, record
from esteemcore.diffraction.moire_fringes import find_vectors, local_wave, make_window, noise_near, spectrum

Floats = NDArray[np.float64]

WHOLE = 0.9
"""Share of the window that must lie on the image and on valid pixels."""
WEAK = 0.2
"""Amplitude of fringes, relative to the median in the reference, below which there is no crystal."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class MoireStrain:
    """Strain of the specimen relative to the mean of a reference; x along columns, y along rows of the image.

    Attributes
    ----------
    exx, eyy, exy : ndarray of float64, shape (y, x)
        Components of the strain, positive where the specimen is stretched; NaN where there are no fringes.
    rotation : ndarray of float64, shape (y, x)
        Rotation of the lattice in rad, positive from x towards y.
    sigma : ndarray of float64, shape (y, x)
        Standard error of a component of the strain: root mean square of those of exx, eyy and exy.
    component_sigma : ndarray of float64, shape (y, x, 4)
        Standard errors of exx, eyy, exy and rotation, from the noise of the image near the fringes' frequencies.
        Neighbouring pixels share them: the maps are smooth over `smoothing_px`. That a strain which changes within the
        window is smoothed is not in them.
    amplitude : ndarray of float64, shape (2, y, x)
        Amplitude of both sets of fringes, in units of the image.
    fringes : ndarray of float64, shape (2, 2)
        Mean vectors of the fringes in the reference, rows (row, column) in cycles per px.
    lattice : ndarray of float64, shape (2, 2)
        The reciprocal vectors of the lattice that belong to them: ``fringes + alias``.
    smoothing_px : float
        Standard deviation of the window in px.
    notes : tuple of str
        What is wrong, in words.
    provenance : Provenance
    """

    exx: Floats
    eyy: Floats
    exy: Floats
    rotation: Floats
    sigma: Floats
    component_sigma: Floats
    amplitude: Floats
    fringes: Floats
    lattice: Floats
    smoothing_px: float
    notes: tuple[str, ...]
    provenance: Provenance


def moire_strain(
    image: ArrayLike,
    vectors: ArrayLike | None = None,
    *,
    alias: ArrayLike = ((0, 0), (0, 0)),
    reference: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    smoothing_px: float | None = None,
) -> MoireStrain:
    r"""Demodulate two sets of fringes of an image and return the strain that their local spacing tells.

    Parameters
    ----------
    image : array_like, shape (y, x)
        Image of a lattice, or of the moiré of a lattice with the raster of the scan, on square pixels.
    vectors : array_like, shape (2, 2), optional
        Frequencies of the two sets of fringes, rows (row, column) in cycles per px, as they appear in the Fourier
        transform of the image, to about a tenth. Default: its two strongest peaks that are not in a line.
    alias : array_like of int, shape (2, 2)
        What the sampling took from the frequencies of the lattice, rows (row, column) in whole cycles per px: the
        lattice has ``vectors + alias``. Zeros for a lattice that is resolved.
    reference : array_like of bool, shape (y, x), optional
        Where the strain is zero on average. Default: everywhere.
    mask : array_like of bool, shape (y, x), optional
        Pixels that count: True where the crystal is.
    smoothing_px : float, optional
        Standard deviation in px of the Gaussian window in which fringes are compared: the resolution of the maps.
        Default: two spacings of the wider fringes.

    Returns
    -------
    MoireStrain

    Raises
    ------
    ParameterError
        If the arrays do not fit.
    CalibrationError
        If there are no two sets of fringes, or none in the reference.

    Notes
    -----
    Fringes with the vectors :math:`g_j` are turned to zero frequency, and in a window round each pixel the gradient of
    the phase is fitted: it is the local vector. With these plus the alias as rows of :math:`G`, and :math:`G_0` those
    of the reference, the deformation gradient is :math:`F = G^{-1} G_0`, as in `strain`; it is split into a rotation
    and a stretch. Nothing is assumed to be small.

    A moiré magnifies: with an alias, a strain :math:`\epsilon` changes fringes of frequency :math:`g` by
    :math:`\epsilon (g + n)`, by many times their own share. It shows a large field at a low dose, but a step of the
    scan that is off by a share is a strain of that share.

    The standard error of a gradient is :math:`\sqrt{S / 16 \pi} / (\sigma^2 |a|)`, with the variance of the noise per
    pixel :math:`S` at that frequency, the window :math:`\sigma` and the amplitude of a fringe :math:`2 |a|`.

    References
    ----------
    V. Prabhakara et al., Semiconductor Science and Technology 35 (2020) 034002 (demodulation of moiré images).
    M. J. Hÿtch, E. Snoeck and R. Kilaas, Ultramicroscopy 74 (1998) 131 (phases of lattice fringes).

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import diffraction
    >>> y, x = np.mgrid[:120, :160]
    >>> u = np.where(x > 80, 0.01 * (x - 80), 0.0)  # stretched by 1 % on the right
    >>> image = 2 + np.cos(2 * np.pi * (x - u) / 5) + np.cos(2 * np.pi * y / 5)
    >>> found = diffraction.moire_strain(image, reference=x < 60)
    >>> print(f"{found.exx[60, 120]:.3f} {found.exx[60, 40]:.3f}")
    0.010 0.000
    """
    data = checks.array("image", image).astype(np.float64)
    if data.ndim != 2 or min(data.shape) < 16:
        raise ParameterError(f"image has shape {data.shape}; expected (y, x) of 16 pixels at least")
    valid = np.isfinite(data) if mask is None else checks.boolean_mask("mask", mask, data.shape)
    if not np.isfinite(data[valid]).all():
        raise ParameterError("image holds values that are not finite; exclude them by the mask")
    chosen = valid.copy() if reference is None else checks.boolean_mask("reference", reference, data.shape) & valid
    if not chosen.any():
        raise ParameterError("reference and mask have no pixel in common; mark where the strain is zero on average")
    whole = np.asarray(alias)
    if whole.shape != (2, 2) or not np.array_equal(whole, np.round(whole.astype(float))):
        raise ParameterError(f"alias is {whole.tolist()}; expected two rows of whole cycles per px, [[0, 0], [0, 0]]")
    if vectors is None and whole.any():
        raise ParameterError(
            "give vectors with the alias: a peak of the spectrum does not tell whether fringes run with the lattice "
            "or against it. For a lattice vector g in cycles per px they are g - round(g), and the alias is round(g)"
        )
    data = np.where(valid, data, 0.0)
    power = spectrum(data, valid)
    found = find_vectors(power) if vectors is None else _given(vectors)
    sigma = (
        2 / float(np.hypot(*found.T).min()) if smoothing_px is None else checks.positive("smoothing_px", smoothing_px)
    )
    if 4 * sigma > min(data.shape):
        raise ParameterError(
            f"a window of smoothing_px {sigma:.1f} px does not fit an image of {data.shape}; choose a smaller one"
        )
    amplitude, local = np.empty((2, *data.shape)), np.empty((*data.shape, 2, 2))
    window = make_window(data, valid, sigma)
    there = valid & (window.weight > WHOLE)
    inside = chosen & there
    if not inside.any():
        raise CalibrationError(
            f"no pixel of the reference is {1.5 * sigma:.0f} px from the edges of the image and of the mask; "
            "take a larger one or a smaller smoothing_px"
        )
    for j in range(2):
        for _ in range(3):  # the mean of the reference is what is demodulated
            wave, frequency = local_wave(data, window, found[j])
            step = np.median(frequency[inside], axis=0) - found[j]
            found[j] += step
            if np.hypot(*step) < 1e-4 / sigma:
                break
        amplitude[j], local[..., j, :] = 2 * np.abs(wave), frequency
        there &= amplitude[j] > WEAK * np.median(amplitude[j][inside])
    inside = chosen & there
    if not inside.any():
        raise CalibrationError("the fringes vanish in the reference; choose it on the crystal")
    each = local + whole
    if abs(np.linalg.det(found + whole)) < 1e-6:
        raise CalibrationError("the two lattice vectors lie in a line: they do not tell the strain; check the alias")
    zero = np.linalg.inv(np.linalg.inv(each[inside]).mean(axis=0))
    parts = np.full((*data.shape, 4), np.nan)
    parts[there] = _components(np.linalg.inv(each[there]) @ zero)
    error = np.full((*data.shape, 4), np.nan)
    noise = np.array([noise_near(power, found[j], 1 / (2 * math.pi * sigma)) for j in range(2)])
    with np.errstate(divide="ignore"):
        variance = noise[:, None, None] / (16 * math.pi * sigma**4 * (amplitude / 2) ** 2) / (2 * math.pi) ** 2
    error[there] = np.sqrt(_variances(np.linalg.inv(zero), variance[:, there].T))
    made = record(
        "diffraction.moire_strain",
        {
            "vectors": vectors if vectors is None else np.asarray(vectors), "alias": whole,
            "reference": reference if reference is None else chosen, "mask": mask if mask is None else valid,
            "smoothing_px": sigma,
        },
        input_digest=digest(data),
    )  # fmt: skip
    exx, eyy, exy, rotation = (np.ascontiguousarray(parts[..., i]) for i in range(4))
    return MoireStrain(
        exx=exx,
        eyy=eyy,
        exy=exy,
        rotation=rotation,
        sigma=np.sqrt((error[..., :3] ** 2).mean(axis=-1)),
        component_sigma=error,
        amplitude=amplitude,
        fringes=zero - whole,
        lattice=zero,
        smoothing_px=sigma,
        notes=_notes(there, valid, parts, local[there], sigma),
        provenance=made,
    )


def _given(vectors: ArrayLike) -> Floats:
    """Return the vectors that the user gave, checked."""
    given = np.array(vectors, np.float64)
    if given.shape != (2, 2) or not np.isfinite(given).all():
        raise ParameterError(f"vectors have shape {given.shape}; expected two rows (row, column) in cycles per px")
    if np.abs(given).max() > 0.5:
        raise ParameterError(
            f"vectors reach {np.abs(given).max():.2f} cycles per px, but an image shows 0.5 at most: give those of the "
            "fringes, and what the sampling took from them as alias"
        )
    if abs(np.linalg.det(given)) < 0.05 * np.prod(np.hypot(*given.T)):
        raise ParameterError("the two vectors lie in a line: they do not tell the strain")
    return given


def _components(gradient: Floats) -> Floats:
    """Return exx, eyy, exy and rotation of deformation gradients [[yy, yx], [xy, xx]]."""
    angle = np.arctan2(gradient[:, 0, 1] - gradient[:, 1, 0], gradient[:, 0, 0] + gradient[:, 1, 1])
    c, s = np.cos(angle), np.sin(angle)
    stretch = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], 1) @ gradient
    return np.stack(
        [stretch[:, 1, 1] - 1, stretch[:, 0, 0] - 1, 0.5 * (stretch[:, 0, 1] + stretch[:, 1, 0]), angle], axis=1
    )


def _variances(inverse: Floats, variance: Floats) -> Floats:
    """Return variances of exx, eyy, exy and rotation from those of the rows of G along each axis, (n, 2)."""
    spread = variance @ (inverse**2).T  # of the rows of F: the inverse of G times what G is off by
    both = (spread[:, 0] + spread[:, 1]) / 4
    return np.stack([spread[:, 1], spread[:, 0], both, both], axis=1)


def _notes(
    there: NDArray[np.bool_], valid: NDArray[np.bool_], parts: Floats, local: Floats, sigma: float
) -> tuple[str, ...]:
    """Return what the user should know before the maps are believed."""
    notes = []
    lost = 1 - there.sum() / valid.sum()
    if lost > 0.5:
        notes.append(
            f"{100 * lost:.0f} % of the pixels are too near to an edge or have no fringes: NaN; a smaller smoothing_px "
            "leaves more"
        )
    if np.nanmax(np.abs(parts[..., :3]), initial=0.0) > 0.1:
        notes.append("strains above 10 % were found: are the fringes those of one crystal, and the alias right?")
    if np.hypot(local[..., 0], local[..., 1]).min(initial=1.0) < 1 / (2 * math.pi * sigma):
        notes.append(
            "some fringes are wider than the window and cannot be told from slow changes of the image: use a larger "
            "smoothing_px, or another step of the scan"
        )
    return tuple(notes)
