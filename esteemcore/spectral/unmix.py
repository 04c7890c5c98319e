"""Which spectra a spectrum image is made of, and how much of each is where: one door to all methods."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore._core.provenance import Provenance, record
from esteemcore.lowrank.operators import Sums, sums
from esteemcore.spectral._noise import Noise, noise_of, unit_of
from esteemcore.spectral._smoothing import suited
from esteemcore.spectral._spectra import MOST_HELD, Spectra, held, spectra_of
from esteemcore.spectral.methods import METHODS, Factors, Problem
from esteemcore.spectral.methods.spa import FEW
from esteemcore.spectral.unmixing import Uncertainty, Unmixing, normalised, residuals

FEW_COUNTS = 20.0
"""Mean counts of a pixel below which abundances are smoothed unless the user says otherwise."""

FEW_PER_CHANNEL = 1.0
"""Mean counts of a channel of a pixel below which the likelihood of counts is worth its time."""

CORNERS = ("spa", "mvsa")
"""Methods whose corners and maps are smoothed as the noise asks."""

LARGEST = 1e50
"""Sums of more than this, or less than its inverse, are no measurement, and their powers overflow."""


def unmix(
    si: Any,
    n_components: int,
    method: str = "auto",
    mask: ArrayLike | None = None,
    seed: int = 0,
    *,
    noise: str = "auto",
    gain: float = 1.0,
    readout_sigma: float = 0.0,
    smoothing_px: float | None = None,
    known: ArrayLike | None = None,
    sum_to_one: bool = False,
    unimodal: bool = False,
    restarts: int | None = None,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> Unmixing:
    """Return the spectra that a spectrum image is mixed from, and maps of their amounts.

    Parameters
    ----------
    si : array_like, lazy array (Dask, h5py, zarr) or SparseSI, shape (y, x, energy)
        Counts or other real numbers. With or without background; what is linear in the background comes out as part of
        the spectra.
    n_components : int
        How many; see `estimate_rank`. At least 1, no more than pixels or channels.
    method : str
        ``"auto"`` or one of the methods below; what was taken is `Unmixing.method`, why is in `Unmixing.notes`.

        - ``"nmf"``: spectra and abundances nowhere negative, of the highest likelihood. The default for X-rays and
          other sparse counts.
        - ``"spa"``: the purest pixels, by successive projection in the space of the principal components, each
          averaged over its likes. The default for EELS and other data with many counts per channel.
        - ``"blu"``: the posterior of spectra and maps by Gibbs sampling, with standard deviations. Takes longest.
        - ``"vca"``, ``"nfindr"``: single pixels at the corners of the cloud: by random directions, by the largest
          volume.
        - ``"mvsa"``: corners of the smallest simplex that holds the cloud, for data where no pixel is pure. Taken
          instead of ``"spa"`` for three and more components where next to no pixels are as pure as the purest ones.
        - ``"mcr"``: non-negative alternating least squares from the purest pixels.
        - ``"kmeans"``, ``"gmm"``: clusters of pixels, each pixel of one kind, or of one kind with a probability.
        - ``"pca"``, ``"ica"``: principal and independent components, of either sign.
    mask : array_like of bool, shape (y, x), optional
        True for the pixels that take part; all by default.
    seed : int
        The same seed gives the same result.
    noise : {"auto", "poisson", "gaussian"}
        ``"poisson"``: counts, of variance ``gain * mean + readout_sigma**2``. ``"gaussian"``: the same everywhere.
        ``"auto"``: counts if all values are whole and none is below zero, or if `gain` or `readout_sigma` is given;
        else a variance by pixel and by channel, estimated from what the components and four more leave.
    gain, readout_sigma : float
        With counts of a camera: its units per electron, and the noise without signal in those units. Where neither is
        given and a whole number divides all values, which scatter as counts of it, that is the gain.
    smoothing_px : float, optional
        Standard deviation, in pixels, of the Gaussian that the abundances are smoothed by; 0 turns it off. By default 1
        for counts of less than 20 per pixel, where single pixels tell next to nothing. Otherwise, with ``"spa"`` and
        ``"mvsa"``, the width from 0 to 2.8 whose maps of the even channels foretell those of the odd ones best, and the
        other way round: 0 where smoothing takes as much detail as noise. With other methods 0.
    known : array_like, shape (k, energy), optional
        Spectra that are components and are held fixed, up to their scale; they come first in the result.
    sum_to_one : bool
        The abundances of a pixel sum to 1: right only where thickness and current are the same everywhere. Known
        spectra must then be those of a pixel full of the component, in the units of the data.
    unimodal : bool
        Each spectrum rises to one maximum and falls: ``"mcr"`` on luminescence bands, say.
    restarts : int, optional
        Independent starts of methods that have any.
    progress, cancel
        Called with the fraction done; stops the work when set.

    Returns
    -------
    Unmixing

    Raises
    ------
    ParameterError
        If the data are not finite, hold nothing but zeros, hold values below zero though the noise is that of counts
        alone, are a masked array, or have fewer pixels or channels than components are asked for; if mask or known
        spectra do not fit; if the method cannot do what is asked.
    CancelledError
        If `cancel` was set.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import spectral
    >>> share = np.linspace(0, 1, 40).reshape(5, 8)
    >>> energy = np.arange(30.0)
    >>> peaks = np.exp(-((energy - np.array([[10], [20]])) ** 2) / 20)
    >>> data = 500 * (share[..., None] * peaks[0] + (1 - share[..., None]) * peaks[1])
    >>> result = spectral.unmix(data, 2, method="spa")
    >>> result.spectra.argmax(axis=1).tolist(), result.abundances.shape
    ([10, 20], (2, 5, 8))
    """
    stated = state(
        si, n_components, method, mask, seed, noise=noise, gain=gain, readout_sigma=readout_sigma,
        smoothing_px=smoothing_px, known=known, sum_to_one=sum_to_one, unimodal=unimodal, restarts=restarts,
        progress=progress, cancel=cancel,
    )  # fmt: skip
    if smoothing_px is None and stated.problem.smoothing_px == 0 and stated.method in CORNERS:
        stated = _suited_to_noise(stated, free=method == "auto")
    parameters = {
        "n_components": stated.problem.n, "method": method, "mask": mask, "noise": noise, "gain": gain,
        "readout_sigma": readout_sigma, "smoothing_px": smoothing_px, "known": stated.problem.known,
        "sum_to_one": sum_to_one, "unimodal": unimodal, "restarts": restarts,
    }  # fmt: skip
    made = record("spectral.unmix", parameters, seed=seed, input_digest=stated.spectra.digest)
    return result_of(stated, solve(stated.problem, stated.method), made)


class Stated(NamedTuple):
    """What is to be solved by which method, why by that one, and the spectra that it is about."""

    problem: Problem
    method: str
    notes: tuple[str, ...]
    spectra: Spectra


def state(
    si: Any,
    n_components: int,
    method: str,
    mask: ArrayLike | None,
    seed: int,
    *,
    noise: str,
    gain: float,
    readout_sigma: float,
    smoothing_px: float | None,
    known: ArrayLike | None,
    sum_to_one: bool,
    unimodal: bool,
    restarts: int | None,
    progress: ProgressFunction | None,
    cancel: threading.Event | None,
) -> Stated:
    """Return the problem that the arguments of `unmix` pose, checked."""
    checks.choice("method", method, ("auto", *METHODS))
    spectra = spectra_of(si, mask)
    stop = Progress(1, None, cancel)
    stop.step(0)
    if spectra.lazy:
        spectra = dataclasses.replace(spectra, matrix=spectra.matrix.watched(lambda: stop.step(0)))
    spectra = held(spectra)
    total = sums(spectra.matrix)
    n = _number(spectra, total, n_components)
    stop.step(0)
    if noise == "auto" and gain == 1 and readout_sigma == 0:
        gain = unit_of(spectra, total)
    model = noise_of(spectra, total, n, noise, gain, readout_sigma)
    stop.step(0)
    given = _known(known, n, spectra)
    name, notes = (method, ()) if method != "auto" else _choose(spectra, total, model, gain, readout_sigma)
    chosen = METHODS[name]
    for asked, able, what in (
        (given is not None, chosen.known, "known"),
        (sum_to_one, chosen.sum_to_one, "sum_to_one"),
        (unimodal, chosen.unimodal, "unimodal"),
    ):
        if asked and not able:
            able_ones = [repr(m) for m in METHODS if getattr(METHODS[m], what)]
            raise ParameterError(f"method {name!r} cannot take {what}; these can: {', '.join(able_ones)}")
    if spectra.lazy and not chosen.lazy:
        raise ParameterError(f"method {name!r} needs the image in memory; give an array or SparseSI, or bin it first")
    problem = Problem(
        matrix=_in_float64(spectra.matrix),
        mask=spectra.mask,
        n=n,
        noise=model.name,
        gain=gain,
        readout_sigma=readout_sigma,
        row_weights=model.row,
        channel_weights=model.channel,
        seed=checks.integer("seed", seed, minimum=0),
        smoothing_px=_smoothing(smoothing_px, spectra, total, model.name, gain),
        known=given,
        sum_to_one=bool(sum_to_one),
        unimodal=bool(unimodal),
        restarts=None if restarts is None else checks.integer("restarts", restarts, minimum=1),
        precision=_precision(spectra.matrix),
        progress=progress,
        cancel=cancel,
    )
    return Stated(problem, name, notes, spectra)


def _suited_to_noise(stated: Stated, *, free: bool) -> Stated:
    """Return the problem with the smoothing that its noise asks for and, if the method is free, the one that suits."""
    best = suited(stated.problem)
    if best is None:
        return stated
    problem, notes, name = stated.problem, stated.notes, stated.method
    if best.width_px > 0:
        problem = dataclasses.replace(problem, smoothing_px=best.width_px)
        notes = (*notes, f"maps are smoothed by {best.width_px:g} px, which takes more noise than detail from them")
    if free and problem.n > 2 and problem.known is None and best.share < FEW:
        name = "mvsa"
        why = f"only {best.share:.0%} of the pixels are as pure as the purest ones, so that no pixel may be pure"
        notes = (f"method 'mvsa': the smallest simplex, as {why}", *notes[1:])
    return stated._replace(problem=problem, method=name, notes=notes)


def solve(problem: Problem, method: str) -> Factors:
    """Return what a method finds, normalised."""
    found = METHODS[method].solve(problem)
    return normalised(found, n_known=0 if problem.known is None else len(problem.known), sum_to_one=problem.sum_to_one)


def result_of(stated: Stated, found: Factors, made: Provenance) -> Unmixing:
    """Return normalised factors as maps and spectra, with what they leave over."""
    problem, spectra = stated.problem, stated.spectra
    left, left_spectrum = residuals(problem, found)
    spread = found.sigma_abundances
    return Unmixing(
        spectra=found.spectra,
        abundances=np.moveaxis(spectra.as_maps(found.abundances), -1, 0),
        uncertainty=Uncertainty(
            found.sigma_spectra, None if spread is None else np.moveaxis(spectra.as_maps(spread), -1, 0)
        ),
        residual=spectra.as_maps(left),
        residual_spectrum=left_spectrum,
        method=stated.method,
        noise=problem.noise,
        smoothing_px=problem.smoothing_px,
        notes=(*stated.notes, *found.notes),
        mask=spectra.mask,
        provenance=made,
    )


def _number(spectra: Spectra, total: Sums, n_components: int) -> int:
    """Return the number of components, if the data can have as many."""
    rows, channels = spectra.matrix.shape
    n = checks.integer("n_components", n_components, minimum=1)
    if n > min(rows, channels):
        raise ParameterError(
            f"n_components is {n}, but {rows} pixels with {channels} channels have no more than {min(rows, channels)}"
        )
    if total.lowest >= 0 and not total.rows.any():
        raise ParameterError("all values are zero: there is nothing to unmix")
    size = max(float(np.abs(total.columns).max()), -total.lowest)
    if not 1 / LARGEST < size < LARGEST:
        raise ParameterError(f"the values add up to {size:g} in a channel, which has no square; scale them first")
    return n


def _known(known: ArrayLike | None, n: int, spectra: Spectra) -> NDArray[np.float64] | None:
    """Return the given spectra, checked."""
    if known is None:
        return None
    try:
        given = np.array(known, np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"the known spectra are no array of numbers: {error}") from None
    channels = spectra.matrix.shape[1]
    if given.ndim != 2 or given.shape[1] != channels:
        raise ParameterError(f"known has shape {given.shape}; expected (k, {channels}), one spectrum per row")
    if not 1 <= len(given) <= n:
        raise ParameterError(f"known holds {len(given)} spectra; expected 1 to n_components = {n}")
    if not np.isfinite(given).all() or not given.any(axis=1).all():
        raise ParameterError("known holds NaN, infinite values or a spectrum of zeros")
    return given


def _choose(spectra: Spectra, total: Sums, model: Noise, gain: float, readout_sigma: float) -> tuple[str, tuple[str]]:
    """Return the method for these data, and why."""
    if model.name != "poisson":
        return "spa", ("method 'spa': the purest pixels, as the noise is not that of counts",)
    level = float(total.rows.mean()) / gain / spectra.matrix.shape[1]
    held = min(float(total.rows.sum()) / gain, float(np.prod(spectra.matrix.shape)))
    if level < FEW_PER_CHANNEL and readout_sigma == 0 and spectra.lazy and held > MOST_HELD:
        return "spa", (f"method 'spa': the purest pixels, as {held:.2g} counts are too many for 'nmf' to keep",)
    if level < FEW_PER_CHANNEL and readout_sigma == 0:
        return "nmf", (f"method 'nmf': the likelihood of counts, as there are {level:.2g} per channel and pixel",)
    return "spa", (f"method 'spa': the purest pixels, as there are {level:.2g} counts per channel and pixel",)


def _smoothing(smoothing_px: float | None, spectra: Spectra, total: Sums, noise: str, gain: float) -> float:
    """Return the width that abundances are smoothed by."""
    if smoothing_px is not None:
        return checks.not_negative("smoothing_px", smoothing_px, "px")
    few = noise == "poisson" and float(total.rows.mean()) / gain < FEW_COUNTS
    return 1.0 if few else 0.0


def _precision(matrix: Any) -> float:
    """Return the relative rounding error of the data; whole numbers have none and are kept as float64."""
    return float(np.finfo(matrix.dtype if matrix.dtype.kind == "f" else np.float64).eps)


def _in_float64(matrix: Any) -> Any:
    """Return arrays and compressed rows as float64; blocks are converted as they are read."""
    return np.asarray(matrix, np.float64) if isinstance(matrix, np.ndarray) else matrix
