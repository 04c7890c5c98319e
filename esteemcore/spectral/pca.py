"""Principal components of spectrum images, with the noise of counts taken into account."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore import lowrank
from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore._core.provenance import Provenance, record
from esteemcore.lowrank.operators import sums
from esteemcore.spectral._spectra import Spectra, spectra_of

LEAST_COUNTS = 10.0
"""Counts added to the sum of each pixel and channel before weights are made, see `esteemcore.lowrank.noise_weights`."""

PASSES = 9
"""How often a lazy image is read: for checks, weights, the decomposition and the shares of the components."""

ROUNDING = 100
"""What is smaller than this many times the last digit of the mean is a rounding error of it."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PrincipalComponents:
    """Spectra and maps whose sums of products are the denoised spectrum image.

    Attributes
    ----------
    components : ndarray, shape (n, energy)
        Spectrum of each component, in the units of the data; the largest entry of each is positive.
    maps : ndarray, shape (n, y, x)
        How much of each component is in each pixel; NaN where the mask is False.
    mean : ndarray, shape (energy,)
        What was subtracted from every spectrum first; zeros unless `center` was asked for.
    variances : ndarray, shape (n,)
        Variance along each component, mean over the pixels, of the weighted data: the scree curve. With
        ``noise="poisson"`` it is in units of the noise of one channel.
    explained : ndarray, shape (n,)
        Share of each component in the sum of squares of the weighted data.
    pixel_weights, channel_weights : ndarray, shapes (y, x) and (energy,)
        What the data were multiplied by for the decomposition; ones with ``noise="gaussian"``.
    mask : ndarray of bool, shape (y, x)
        The pixels that took part.
    provenance : Provenance
    """

    components: NDArray[Any]
    maps: NDArray[Any]
    mean: NDArray[Any]
    variances: NDArray[Any]
    explained: NDArray[Any]
    pixel_weights: NDArray[Any]
    channel_weights: NDArray[Any]
    mask: NDArray[np.bool_]
    provenance: Provenance

    def reconstruct(self, channels: slice | ArrayLike = slice(None), n_components: int | None = None) -> NDArray[Any]:
        """Return the denoised spectrum image, or some channels of it.

        Parameters
        ----------
        channels : slice or array_like of integers, optional
            Which channels; all by default. A window of a large image needs memory for the window only.
        n_components : int, optional
            Use the first few components only.

        Returns
        -------
        ndarray, shape (y, x, channels)
            NaN where the mask is False.
        """
        n = len(self.components)
        n = n if n_components is None else checks.integer("n_components", n_components, minimum=1, maximum=n)
        if not isinstance(channels, slice):
            channels = checks.flat_indices("channels", channels, self.components.shape[1])
        shares = np.moveaxis(self.maps[:n], 0, -1)
        data: NDArray[Any] = shares @ self.components[:n, channels] + self.mean[channels]
        return data


def pca(
    si: Any,
    n_components: int,
    noise: str = "poisson",
    *,
    mask: ArrayLike | None = None,
    center: bool = False,
    gain: float = 1.0,
    readout_sigma: float = 0.0,
    seed: int = 0,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> PrincipalComponents:
    """Return the leading principal components of a spectrum image.

    With ``noise="poisson"`` each pixel and channel is weighted by the inverse square root of its mean, so that the
    noise is as equal as such weights make it [1]_. Pixels and channels of a few events only are held back: up to 10
    counts are added to their sums. Sparse images stay sparse (Lanczos iterations); lazy ones are read in 9 passes,
    block by block.

    Parameters
    ----------
    si : array_like, lazy array (Dask, h5py, zarr) or SparseSI, shape (y, x, energy)
        Counts or other real numbers.
    n_components : int
        Components asked for, at least 1, no more than pixels or channels.
    noise : {"poisson", "gaussian"}
        ``"poisson"``: counts. ``"gaussian"``: the same noise everywhere, no weights.
    mask : array_like of bool, shape (y, x), optional
        True for the pixels that take part; all by default.
    center : bool
        Subtract the mean spectrum first. The first component then is not the mean.
    gain, readout_sigma : float
        With ``noise="poisson"``: variance per mean, and the noise that does not depend on the signal, in the units of
        the data.
    seed : int
        Seed of the decomposition; the same seed gives the same result.
    progress, cancel
        Called with the fraction done; stops the work when set: of lazy images before the next block is read.

    Returns
    -------
    PrincipalComponents

    Raises
    ------
    ParameterError
        If the data are not finite, hold nothing but zeros, hold values below zero though the noise is that of counts
        alone, or have fewer pixels or channels than components are asked for; if all spectra are alike and the mean is
        subtracted; if the mask does not fit.
    CancelledError
        If `cancel` was set.

    References
    ----------
    .. [1] M. R. Keenan, P. G. Kotula, Surface and Interface Analysis 36, 203 (2004).

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import spectral
    >>> rate = np.multiply.outer(np.linspace(5, 50, 40).reshape(5, 8), np.linspace(2, 1, 30))
    >>> result = spectral.pca(np.random.default_rng(0).poisson(rate), 1)
    >>> result.maps.shape, result.reconstruct(channels=slice(0, 10)).shape
    ((1, 5, 8), (5, 8, 10))
    """
    checks.choice("noise", noise, ("poisson", "gaussian"))
    spectra = spectra_of(si, mask)
    passes = PASSES + bool(center)
    work = Progress(passes * (spectra.matrix.parts if spectra.lazy else 1), progress, cancel)
    work.step(0)
    if spectra.lazy:
        spectra = dataclasses.replace(spectra, matrix=spectra.matrix.watched(work.step))
    _check(spectra, n_components, noise == "poisson" and readout_sigma == 0)
    least = LEAST_COUNTS * checks.positive("gain", gain)
    parts = lowrank.pca(
        spectra.matrix, n_components, noise=noise, center=bool(center), seed=seed, gain=gain,
        readout_sigma=readout_sigma, least_counts=least,
    )  # fmt: skip
    of_mean = float(np.square(parts.mean * parts.column_weights).sum() * np.square(parts.row_weights).sum())
    if not parts.sum_of_squares > (ROUNDING * np.finfo(parts.mean.dtype).eps) ** 2 * of_mean:
        raise ParameterError(
            "all spectra are alike: without their mean there is nothing to decompose; take center=False"
        )
    work.finish()
    n = spectra.matrix.shape[0]
    parameters = {
        "n_components": n_components, "noise": noise, "mask": mask, "center": center, "gain": gain,
        "readout_sigma": readout_sigma,
    }  # fmt: skip
    return PrincipalComponents(
        components=parts.loadings,
        maps=np.moveaxis(spectra.as_maps(parts.scores), -1, 0),
        mean=parts.mean,
        variances=parts.singular_values**2 / n,
        explained=parts.singular_values**2 / parts.sum_of_squares,
        pixel_weights=spectra.as_maps(parts.row_weights),
        channel_weights=parts.column_weights,
        mask=spectra.mask,
        provenance=record("spectral.pca", parameters, seed=seed, input_digest=spectra.digest),
    )


def _check(spectra: Spectra, n_components: int, counts: bool) -> None:
    """Refuse what has no such components."""
    n, channels = spectra.matrix.shape
    checks.integer("n_components", n_components, minimum=1)
    if n_components > min(n, channels):
        raise ParameterError(
            f"n_components is {n_components}, but {n} pixels with {channels} channels have no more than "
            f"{min(n, channels)}"
        )
    rows, _, lowest = sums(spectra.matrix)
    if lowest < 0 and counts:
        raise ParameterError(
            f"the data hold values down to {lowest:g}, which counts cannot be; use noise='gaussian', or give "
            "readout_sigma if the camera adds noise to counts"
        )
    if lowest >= 0 and not rows.any():
        raise ParameterError("all values are zero: there is nothing to decompose")
