"""What a disk looks like on the detector, whatever the shape of the aperture: measured on the probe in vacuum."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import CalibrationError, ParameterError
from esteemcore._core.provenance import Provenance, digest, record
from esteemcore.diffraction.probe import LEAST_ELECTRONS

BEYOND_PX = 2.5
"""How far beyond the radius a template reaches; there it is zero."""
LEAST_INSIDE = 0.8
"""Share of the electrons of a frame in vacuum, above its background, that the disk holds, or it is not the probe."""


@dataclasses.dataclass(frozen=True, eq=False)
class Template:
    """A disk as an image.

    Attributes
    ----------
    values : ndarray of float64, shape (n, n)
        Intensity, zero from `BEYOND_PX` beyond the radius on; its mean over the area of a disk of the radius is 1.
    center : tuple of float
        Place of the disk (row, column) in that image, in px.
    radius_px : float
        Radius of the circle that holds the aperture.
    provenance : Provenance
    """

    values: NDArray[np.float64]
    center: tuple[float, float]
    radius_px: float
    provenance: Provenance = dataclasses.field(repr=False)

    @property
    def digest(self) -> str:
        """Digest of the image and its centre, for a provenance."""
        return digest(self.values, np.array(self.center))


def learn_template(
    vacuum: ArrayLike, radius_px: float, *, center: tuple[float, float] | None = None, mask: ArrayLike | None = None
) -> Template:
    """Take the image of the probe in vacuum for what all disks look like: rings, bars, any pattern of the aperture.

    The probe must have the camera length, the aperture and the focus of the scan. The background, the median of the
    counts beyond the disk, is subtracted. The place of a disk is the centre of its electrons.

    Parameters
    ----------
    vacuum : array_like, shape (..., ky, kx)
        Counts of electrons; several frames are added as they lie, so the probe must not move between them.
    radius_px : float
        Radius in detector px of the circle that holds the aperture.
    center : (float, float), optional
        About where the probe lies (row, column). Default: where a disk of the radius holds most electrons.
    mask : array_like of bool, shape (ky, kx), optional
        True where a pixel is good; there must be no others in the disk.

    Returns
    -------
    Template
        To be given to `find_disks` or `Disks` as ``probe``.

    Raises
    ------
    ParameterError
        If the counts are negative or not finite, or the disk does not lie on the frame, or on masked pixels.
    CalibrationError
        If there are too few electrons, or too many beside a disk of this radius.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import diffraction
    >>> y, x = np.mgrid[:32, :32]
    >>> r = np.hypot(y - 15.2, x - 16.4)
    >>> ring = np.random.default_rng(0).poisson(900 * ((r > 3) & (r < 6)) + 2)
    >>> found = diffraction.learn_template(ring, radius_px=6)
    >>> found.values.shape, round(float(found.values.sum() / (np.pi * 36)), 6)
    ((21, 21), 1.0)
    """
    radius = checks.positive("radius_px", radius_px, "px")
    image = np.asarray(vacuum, np.float64)
    if image.ndim < 2 or 0 in image.shape:
        raise ParameterError(f"vacuum has shape {image.shape}; expected frames (..., ky, kx)")
    image = image.reshape(-1, *image.shape[-2:]).sum(axis=0)
    valid = np.ones(image.shape, np.bool_)
    if mask is not None:
        valid = checks.boolean_mask("mask", mask, (image.shape[0], image.shape[1]))
    if not np.isfinite(image[valid]).all() or (image[valid] < 0).any():
        raise ParameterError("vacuum holds values that are negative or not finite; expected counts of electrons")
    image = np.where(valid, image, 0)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    place = _brightest(image, radius) if center is None else np.array(center, np.float64)
    for _ in range(4):
        far = np.hypot(y - place[0], x - place[1])
        outside = valid & (far > radius + BEYOND_PX)
        background = float(np.median(image[outside])) if outside.any() else 0.0
        near = far <= radius + BEYOND_PX
        above = np.where(near & valid, np.maximum(image - background, 0), 0)
        electrons = float(above.sum())
        if electrons < LEAST_ELECTRONS:
            raise CalibrationError(
                f"the disk near (row, column) = ({place[0]:.1f}, {place[1]:.1f}) has {electrons:.0f} electrons; "
                f"{LEAST_ELECTRONS:.0f} are needed to learn what the probe looks like"
            )
        place = np.array([(y * above).sum(), (x * above).sum()]) / electrons
    beside = float((image - background)[outside].sum()) if outside.any() else 0.0
    if electrons < LEAST_INSIDE * (electrons + beside):
        raise CalibrationError(
            f"{beside / (electrons + beside):.0%} of the electrons lie beside a disk of radius {radius:g} px: check "
            "radius_px, and whether the frame shows the probe in vacuum"
        )
    reach = math.ceil(radius + BEYOND_PX) + 1
    middle = np.round(place).astype(np.int64)
    window = tuple(slice(m - reach, m + reach + 1) for m in middle)
    if (middle < reach).any() or (middle + reach >= np.array(image.shape)).any():
        raise ParameterError(
            f"the probe at (row, column) = ({place[0]:.1f}, {place[1]:.1f}) lies too near to the edge of the frame: "
            f"{reach} px round it are needed"
        )
    if not valid[near].all():
        raise ParameterError("the mask leaves out pixels of the probe; move it to a place where all of them are good")
    values = above[window] * (np.pi * radius**2 / electrons)
    made = record(
        "diffraction.learn_template",
        {"radius_px": radius, "center": center, "mask": mask if mask is None else valid, "electrons": electrons},
        input_digest=digest(image),
    )
    at = (float(place[0] - middle[0] + reach), float(place[1] - middle[1] + reach))
    return Template(np.ascontiguousarray(values), at, radius, made)


def _brightest(image: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Return the pixel round which a disk holds most."""
    from scipy import signal

    n = math.ceil(radius)
    disk = (np.hypot(*np.mgrid[-n : n + 1, -n : n + 1]) <= radius + 0.5).astype(np.float64)
    held = signal.fftconvolve(image, disk, mode="same")
    return np.array(np.unravel_index(int(held.argmax()), held.shape), np.float64)
