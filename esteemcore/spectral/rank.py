"""How many components a spectrum image holds that are not noise, or that it cannot be told."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore._core.provenance import Provenance, record
from esteemcore.lowrank.operators import is_sparse
from esteemcore.spectral import _rank_counts, _rank_unknown
from esteemcore.spectral._rank_levels import Level, level_matrix, levels_of
from esteemcore.spectral._rank_model import NoiseModel, in_counts, noise_model
from esteemcore.spectral._rank_tests import Scree, Step
from esteemcore.spectral._spectra import held, spectra_of

METHODS = ("parallel", "marchenko_pastur", "gavish_donoho", "elbow")

LEAST_EVENTS = 100
"""Fewer events than this tell nothing about components."""

PARTS = 8
"""Steps of each level, about."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Rank:
    """How many components there are.

    Attributes
    ----------
    n : int or None
        Components above noise that more than one pixel has, the mean spectrum included; None where it cannot be told.
    at_least : int
        Components that are surely above noise, by parallel analysis whatever `method` says: its number where that can
        be told. Where it cannot there may be more; no more than `max_components` are looked for. 0 if the data are too
        few to show any, or their noise is not understood.
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
        What each method says, by name; all but ``"parallel"`` of single pixels (many of them at random where there are
        too many), and of 512 channels at most.
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
    gain: float = 1.0,
    readout_sigma: float = 0.0,
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
    [2]_, estimated from what the components leave, which must be white: independent from pixel to pixel and from
    channel to channel. What stands in one pixel only, as a spike does, is no component.

    Single pixels are always looked at; of an image of more than 4 million bins, as many of its pixels, chosen at
    random. More than 512 channels are added up to 512 or fewer.

    Parameters
    ----------
    si : array_like, lazy array (Dask, h5py, zarr) or SparseSI, shape (y, x, energy)
        Counts or other real numbers.
    method : {"parallel", "marchenko_pastur", "gavish_donoho", "elbow"}
        The one that `Rank.n` reports; all are in `Rank.methods`. The others look at the scree of single pixels:
        the edge of noise of variance 1 [3]_, the optimal hard threshold [4]_, and the corner of the logarithmic curve.
        They are for comparison: each fails on some of the data that the first one reads rightly.
    noise : {"auto", "poisson", "gaussian"}
        ``"poisson"``: whole counts. ``"gaussian"``: with `sigma`, or with variances estimated by pixel and channel.
        ``"auto"``: counts if all values are whole, none below zero, and their scatter fits, as they are or divided by
        what all have in common.
    sigma : float, optional
        Standard deviation of the noise, the same everywhere, for ``noise="gaussian"``.
    gain : float
        Values per count: they are divided by it.
    readout_sigma : float
        Noise of the camera beside that of counts; above zero, the noise is estimated.
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
        `Rank.n` is None with the reason where there are too few events, pixels or channels, where a component is on the
        verge, where there are `max_components` or more, or where there is no noise, or none that is understood.

    Raises
    ------
    ParameterError
        If the data are no spectrum image of finite numbers, or no counts though ``noise="poisson"``.
    CancelledError
        If `cancel` was set.

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
    gain, readout_sigma = checks.positive("gain", gain), checks.not_negative("readout_sigma", readout_sigma)
    seed = checks.integer("seed", seed, minimum=0)
    spectra = spectra_of(si, mask)
    if spectra.lazy:
        stop = Progress(1, None, cancel)
        spectra = dataclasses.replace(spectra, matrix=spectra.matrix.watched(lambda: stop.step(0)))
    spectra = held(spectra)
    rng = np.random.default_rng(seed)
    levels = levels_of(spectra)
    work = Progress(PARTS * len(levels) + 1, progress, cancel)
    work.step(0)
    finest, filled = level_matrix(spectra, levels[0], seed)
    work.step()
    model = noise_model(finest, noise, sigma, gain, readout_sigma, levels[0].channels)
    screes: list[Scree] = []
    small = _too_little(finest, model)
    for number, level in enumerate(levels if not small else levels[:1]):
        matrix, pixels = (finest, filled) if number == 0 else level_matrix(spectra, level, seed)
        screes.append(_scree(matrix, pixels, model, sigma, level, most, rng, work.step))
    if not screes[0].values.any():
        small = "all values are zero"
    n, sure, best, reason = (None, 0, 0, small) if small else _decide(screes, levels, most)
    methods = {"parallel": n, **({} if small else _other_methods(screes[0]))}
    methods = {name: methods.get(name) for name in METHODS}
    if method != "parallel":
        n, best = methods[method], 0
        reason = small or f"{n} by the method {method!r} of {levels[0]}; parallel analysis says {methods['parallel']}"
    scree = screes[best]
    work.finish()
    parameters = {
        "method": method, "noise": noise, "sigma": sigma, "gain": gain, "readout_sigma": readout_sigma, "mask": mask,
        "max_components": max_components,
    }  # fmt: skip
    return Rank(
        n=n,
        at_least=sure,
        curve=scree.values**2 / scree.shape[0],
        noise_curve=scree.noise**2 / scree.shape[0],
        threshold=scree.edge**2 / scree.shape[0],
        scores=scree.scores,
        reason=reason,
        noise=model.name,
        bins=(levels[best].pixels, levels[best].channels),
        methods=methods,
        provenance=record("spectral.estimate_rank", parameters, seed=seed, input_digest=spectra.digest),
    )


def _too_little(matrix: Any, model: NoiseModel) -> str:
    """Return why the data cannot tell, or nothing."""
    n, m = matrix.shape
    least = 4 if model.name != "estimated" else 16
    if min(n, m) < least:
        return f"cannot be told: {n} pixels and {m} channels; at least {least} of each are needed"
    if model.name == "poisson" and (events := float(matrix.sum()) / model.unit) < LEAST_EVENTS:
        return f"cannot be told: {events:.0f} events in all; at least {LEAST_EVENTS} are needed"
    if model.doubt:
        return f"cannot be told: {model.doubt}"
    return ""


def _scree(
    matrix: Any,
    pixels: NDArray[np.float64],
    model: NoiseModel,
    sigma: float | None,
    level: Level,
    most: int,
    rng: np.random.Generator,
    step: Step,
) -> Scree:
    if model.name == "poisson":
        return _rank_counts.scree_of_counts(in_counts(matrix, model.unit), most, rng, step)
    dense = matrix.toarray() if is_sparse(matrix) else matrix
    dense = dense / np.sqrt(pixels)[:, None]
    if model.name == "estimated":
        return _rank_unknown.scree_of_unknown(dense, rng, step)
    return _rank_unknown.scree_of_white(dense / ((sigma or 1.0) * np.sqrt(level.channels)), rng, step)


def _decide(screes: list[Scree], levels: list[Level], most: int) -> tuple[int | None, int, int, str]:
    """Return the number of components, how many there are at least, the level that shows it, and the reason."""
    sure = [i for i, scree in enumerate(screes) if scree.sure]
    if not sure:
        return None, 0, 0, f"cannot be told: {screes[0].doubt}"
    best = max(sure, key=lambda i: (screes[i].found, _strength(screes[i])))
    scree, n, where = screes[best], screes[best].found, f"at {levels[best]}"
    left_out = max(screes[i].alone for i in sure)
    spots = "a pixel or block that alone has" if left_out == 1 else f"{left_out} pixels or blocks that alone have"
    alone = f"; without {spots} what no other has, such as spikes" if left_out else ""
    if n >= most:
        words = f"at least {most} components stand above noise {where}{alone}; raise max_components"
        return None, most, best, f"cannot be told: {words}"
    doubts = [screes[i].doubt for i in sure if screes[i].found == n and screes[i].doubt]
    if doubts:
        return None, n, best, f"cannot be told: {n} components stand above noise {where}, and {doubts[0]}{alone}"
    if n == 0:
        return 0, 0, best, f"no component stands above noise {where}{alone}"
    reason = f"{n} stand above noise {where}; the weakest has {_strength(scree):.3g} times the largest variance that "
    reason += "noise makes"
    if len(scree.scores) >= n:
        reason += f", and {scree.scores[n - 1]:.1f} standard deviations in events that did not help to find it"
    return n, n, best, reason + alone


def _strength(scree: Scree) -> float:
    """Return the variance of the weakest component over the largest of noise."""
    return float((scree.values[scree.found - 1] / scree.edge) ** 2) if scree.found else 0.0


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
