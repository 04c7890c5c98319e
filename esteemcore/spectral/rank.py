"""How many components a spectrum image holds that are not noise, or that it cannot be told."""

from __future__ import annotations

import dataclasses
import math
import threading
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore._core.provenance import Provenance, record
from esteemcore.lowrank.operators import is_sparse, sums
from esteemcore.spectral import _rank_tests
from esteemcore.spectral._binning import binned
from esteemcore.spectral._rank_tests import Scree
from esteemcore.spectral._spectra import Spectra, held, spectra_of

METHODS = ("parallel", "marchenko_pastur", "gavish_donoho", "elbow")

SURE, DOUBTFUL = 4.5, 3.0
"""Standard deviations from which a component in held-out events is taken as there, and as perhaps there."""

LEAST_EVENTS = 100
"""Fewer events than this tell nothing about components."""

MATRIX_ENTRIES = 4_000_000
"""A dense matrix of more entries is binned further."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Rank:
    """How many components there are.

    Attributes
    ----------
    n : int or None
        Components above noise, the mean spectrum included; None where it cannot be told.
    at_least : int
        Components that are surely above noise, by parallel analysis whatever `method` says: its number where that can
        be told. Where it cannot there may be more; 0 if the data are too few to show any.
    curve : ndarray of float64, shape (r,)
        Scree: variance along each component in units of the noise of one channel, falling.
    noise_curve : ndarray of float64, shape (r,)
        The same of noise alone, with the same pixel sums and the same mean spectrum.
    threshold : float
        The largest variance that noise is taken to make; `curve` counts above it.
    scores : ndarray of float64, shape (k,)
        Of counts: the strength of each component in events that did not help to find it, in standard deviations.
        Empty for other data.
    reason : str
        In words: how `n` was found, or why it could not.
    noise : str
        The model of the noise: ``"poisson"``, ``"gaussian"`` (given sigma) or ``"estimated"``.
    bins : tuple of int
        ``(pixels, channels)``: side of the blocks of pixels, and channels, that were added up for `curve`.
    methods : dict of str to int or None
        What each method says, by name.
    provenance : Provenance
    """

    n: int | None
    at_least: int
    curve: NDArray[np.float64]
    noise_curve: NDArray[np.float64]
    threshold: float
    scores: NDArray[np.float64]
    reason: str
    noise: str
    bins: tuple[int, int]
    methods: dict[str, int | None]
    provenance: Provenance


def estimate_rank(
    si: Any,
    method: str = "parallel",
    *,
    noise: str = "auto",
    sigma: float | None = None,
    mask: ArrayLike | None = None,
    max_components: int = 12,
    seed: int = 0,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> Rank:
    """Return how many components of a spectrum image stand above its noise.

    ``"parallel"`` compares the singular values of the data with those of noise of the same kind (parallel analysis
    [1]_), at several bin widths, because binning can only take components away and makes weak ones stand out. Noise of
    counts: the channels of all events are permuted, which keeps the counts of every pixel and of every channel. A
    component of counts must besides be present in events held back when it was found. Halves of thinned counts are
    independent, so this holds whatever the true rates are; a rare phase with many counts, whose noise the weights do
    not make equal, adds no false components. Other data: each pixel and channel is scaled to noise of variance 1
    [2]_, estimated from what the components leave.

    Parameters
    ----------
    si : array_like, lazy array (Dask, h5py, zarr) or SparseSI, shape (y, x, energy)
        Counts or other real numbers.
    method : {"parallel", "marchenko_pastur", "gavish_donoho", "elbow"}
        The one that `Rank.n` reports; all are in `Rank.methods`. The others look at the scree without binning:
        the edge of noise of variance 1 [3]_, the optimal hard threshold [4]_, and the corner of the logarithmic curve.
        They are for comparison: each fails on some of the data that the first one reads rightly.
    noise : {"auto", "poisson", "gaussian"}
        ``"poisson"``: whole counts. ``"gaussian"``: with `sigma`, or with variances estimated by pixel and channel.
        ``"auto"``: counts if all values are whole, none below zero, and their scatter fits.
    sigma : float, optional
        Standard deviation of the noise, the same everywhere, for ``noise="gaussian"``.
    mask : array_like of bool, shape (y, x), optional
        True for the pixels that take part.
    max_components : int
        More than this are not looked for.
    seed : int
        Seed of permutations and splits; the same seed gives the same result.
    progress, cancel
        Called with the fraction done; stops the work when set.

    Returns
    -------
    Rank
        `Rank.n` is None with the reason where there are too few events, pixels or channels, or where a component is on
        the verge.

    Raises
    ------
    ParameterError
        If the data are no spectrum image of finite numbers, or no counts though ``noise="poisson"``.

    References
    ----------
    .. [1] J. L. Horn, Psychometrika 30, 179 (1965).
    .. [2] B. Landa, T. Zhang, Y. Kluger, SIAM J. Math. Data Sci. 4, 1420 (2022).
    .. [3] V. A. Marchenko, L. A. Pastur, Math. USSR Sbornik 1, 457 (1967).
    .. [4] M. Gavish, D. L. Donoho, IEEE Trans. Inf. Theory 60, 5040 (2014).

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import spectral
    >>> rng = np.random.default_rng(0)
    >>> rate = rng.dirichlet([0.3, 0.3], size=(40, 40)) @ rng.gamma(0.5, size=(2, 60))
    >>> spectral.estimate_rank(rng.poisson(rate)).n
    2
    """
    checks.choice("method", method, METHODS)
    checks.choice("noise", noise, ("auto", "poisson", "gaussian"))
    most = checks.integer("max_components", max_components, minimum=1)
    if sigma is not None:
        sigma = checks.positive("sigma", sigma)
        if noise != "gaussian":
            raise ParameterError(f"sigma is given but noise is {noise!r}; it belongs to noise='gaussian'")
    spectra = held(spectra_of(si, mask))
    rng = np.random.default_rng(checks.integer("seed", seed, minimum=0))
    levels = _levels(spectra)
    work = Progress(len(levels) + 1, progress, cancel)
    finest, filled = _level(spectra, levels[0])
    work.step()
    model = _noise_model(finest, noise, sigma)
    screes: list[Scree] = []
    small = _too_little(finest, model)
    for number, bins in enumerate(levels if not small else levels[:1]):
        matrix, pixels = (finest, filled) if number == 0 else _level(spectra, bins)
        screes.append(_scree(matrix, pixels, model, sigma, bins, most, rng))
        work.step()
    if not screes[0].values.any():
        small = "all values are zero"
    n, sure, best, reason = (None, 0, 0, small) if small else _decide(screes, levels, model, most)
    methods = {"parallel": n, **({} if small else _other_methods(screes[0]))}
    methods = {name: methods.get(name) for name in METHODS}
    if method != "parallel":
        n, best = methods[method], 0
        reason = small or f"{n} by the method {method!r}, without binning; parallel analysis says {methods['parallel']}"
    scree = screes[best]
    work.finish()
    parameters = {
        "method": method, "noise": noise, "sigma": sigma, "mask": mask, "max_components": max_components,
    }  # fmt: skip
    return Rank(
        n=n,
        at_least=sure,
        curve=scree.values**2 / scree.shape[0],
        noise_curve=scree.noise**2 / scree.shape[0],
        threshold=scree.edge**2 / scree.shape[0],
        scores=scree.scores,
        reason=reason,
        noise=model,
        bins=levels[best],
        methods=methods,
        provenance=record("spectral.estimate_rank", parameters, seed=seed, input_digest=spectra.digest),
    )


def _levels(spectra: Spectra) -> list[tuple[int, int]]:
    """Return the bin widths, pixels and channels, from fine to coarse."""
    n, channels = spectra.matrix.shape
    levels: list[tuple[int, int]] = []
    for pixels in (1, 2, 4, 8, 16, 32):
        energy = max(1, math.ceil(channels / (512 if pixels < 4 else 256)))
        blocks = n / pixels**2
        affordable = spectra.sparse or blocks * channels / energy <= MATRIX_ENTRIES
        if affordable and (not levels or (pixels <= 4 and blocks >= 64)):
            levels.append((pixels, energy))
    return levels or [(32, max(1, math.ceil(channels / 256)))]


def _level(spectra: Spectra, bins: tuple[int, int]) -> tuple[Any, NDArray[np.float64]]:
    matrix, filled = binned(spectra, *bins)
    if not is_sparse(matrix) and np.count_nonzero(matrix) < 0.1 * matrix.size:
        import scipy.sparse

        matrix = scipy.sparse.csr_array(matrix)
    return matrix, filled


def _noise_model(matrix: Any, noise: str, sigma: float | None) -> str:
    """Return ``"poisson"``, ``"gaussian"`` or ``"estimated"``."""
    _, _, lowest = sums(matrix)  # refuses NaN
    values = matrix.data if is_sparse(matrix) else matrix
    whole = lowest >= 0 and bool((values == np.rint(values)).all())
    if noise == "poisson" and not whole:
        what = f"values down to {lowest:g}" if lowest < 0 else "fractions"
        raise ParameterError(f"the data hold {what}, which counts cannot be; use noise='gaussian' or 'auto'")
    if noise == "gaussian":
        return "estimated" if sigma is None else "gaussian"
    if noise == "auto" and whole and not is_sparse(matrix) and float(matrix.mean()) > 0.2:
        whole = 0.8 < _rank_tests.dispersion(matrix, 12) < 1.25
    return "poisson" if whole else "estimated"


def _too_little(matrix: Any, model: str) -> str:
    """Return why the data cannot tell, or nothing."""
    n, m = matrix.shape
    least = 4 if model != "estimated" else 16
    if min(n, m) < least:
        return f"cannot be told: {n} pixels and {m} channels; at least {least} of each are needed"
    if model == "poisson" and (events := float(matrix.sum())) < LEAST_EVENTS:
        return f"cannot be told: {events:.0f} events in all; at least {LEAST_EVENTS} are needed"
    return ""


def _scree(
    matrix: Any,
    pixels: NDArray[np.float64],
    model: str,
    sigma: float | None,
    bins: tuple[int, int],
    most: int,
    rng: np.random.Generator,
) -> Scree:
    if model == "poisson":
        return _rank_tests.scree_of_counts(matrix, most + 1, rng)
    dense = matrix.toarray() if is_sparse(matrix) else matrix
    dense = dense / np.sqrt(pixels)[:, None]
    if model == "estimated":
        return _rank_tests.scree_of_unknown(dense, most, rng)
    return _rank_tests.scree_of_white(dense / ((sigma or 1.0) * np.sqrt(bins[1])), rng)


def _decide(
    screes: list[Scree], levels: list[tuple[int, int]], model: str, most: int
) -> tuple[int | None, int, int, str]:
    """Return the number of components, how many there are at least, the level that shows it, and the reason."""
    if model == "poisson":
        found = [_of_counts(scree) for scree in screes]
    else:
        margin = _rank_tests.MARGIN if model == "estimated" else 1.0
        found = [_rank_tests.standing_out(scree.values, margin * scree.edge) for scree in screes]
    n = max(found)
    best = max(range(len(screes)), key=lambda i: (found[i], screes[i].values[n - 1] / screes[i].edge if n else 0))
    scree, bins = screes[best], levels[best]
    where = f"at bins of {bins[0]} x {bins[0]} pixels and {bins[1]} channel{'s' if bins[1] > 1 else ''}"
    if n >= most:
        return None, n, best, f"cannot be told: at least {n} components stand above noise; raise max_components"
    if model == "poisson":
        for level, k in zip(screes, found, strict=True):
            if k == n and len(level.scores) > n and level.scores[n] > DOUBTFUL:
                words = f"{n} components stand above noise {where}, and another one is on the verge"
                return None, n, best, f"cannot be told: {words} ({level.scores[n]:.1f} standard deviations)"
    if n == 0:
        return 0, 0, best, f"no component stands above noise {where}"
    weakest = (scree.values[n - 1] / scree.edge) ** 2
    reason = f"{n} stand above noise {where}; the weakest has {weakest:.3g} times the largest variance that noise makes"
    if len(scree.scores) >= n and n:
        reason += f", and {scree.scores[n - 1]:.1f} standard deviations in events that did not help to find it"
    return n, n, best, reason


def _of_counts(scree: Scree) -> int:
    """Return how many leading components are above the permuted events and in the held-out ones."""
    there = (scree.scores > SURE) & (scree.values[: len(scree.scores)] > scree.edge)
    return int(there.argmin()) if not there.all() else len(there)


def _other_methods(scree: Scree) -> dict[str, int | None]:
    """Return what the methods say that look at one scree only."""
    n, m = max(scree.shape), min(scree.shape)
    values = scree.values[:m]
    beta = m / n
    # Gavish and Donoho's rational approximation of their factor for unknown noise
    omega = 0.56 * beta**3 - 0.95 * beta**2 + 1.82 * beta + 1.43
    logarithms = np.log(np.maximum(values[: min(25, len(values))], 1e-12 * values[0]))
    line = np.linspace(logarithms[0], logarithms[-1], len(logarithms))
    return {
        "marchenko_pastur": int((values > np.sqrt(n) + np.sqrt(m)).sum()),
        "gavish_donoho": int((values > omega * np.median(values)).sum()),
        "elbow": int((line - logarithms).argmax()),
    }
