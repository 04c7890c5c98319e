"""How sure an unmixing is: noise, starts and the choice of the method, in one figure with its parts."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore._core.provenance import record
from esteemcore.spectral import unmixing
from esteemcore.spectral._matching import matched
from esteemcore.spectral._resampling import Resampler, resampler
from esteemcore.spectral.methods import METHODS, Factors, Problem
from esteemcore.spectral.uncertainty_agreement import between_methods, compared_with, warnings_of
from esteemcore.spectral.uncertainty_parts import (
    Deviations,
    Squares,
    UncertaintyPart,
    UnmixingUncertainty,
    of_posterior,
)
from esteemcore.spectral.unmix import Stated, result_of, solve, state

DRAWS = 20
"""Sets of data that are drawn: standard deviations are known to a sixth of their size."""

COMPARED = 8
"""Of these, how many are given to the other methods as well."""

REPEATS = 3
"""Runs with other seeds."""

RIVALS = ("nmf", "spa", "mvsa")
"""Methods of different assumptions: nothing negative, pure pixels, mixtures that lack a phase."""

CAUSES = ("noise", "posterior", "repeats", "methods")
"""Names of the parts."""

POSTERIOR_STEPS = 20
"""What the posterior counts for in the progress, in runs of another method."""


def uncertainty(
    si: Any,
    n_components: int,
    method: str = "auto",
    mask: ArrayLike | None = None,
    seed: int = 0,
    *,
    draws: int | None = None,
    repeats: int | None = None,
    methods: Sequence[str] | None = None,
    posterior: bool | None = None,
    noise: str = "auto",
    gain: float = 1.0,
    readout_sigma: float = 0.0,
    smoothing_px: float | None = None,
    known: ArrayLike | None = None,
    sum_to_one: bool = False,
    restarts: int | None = None,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> UnmixingUncertainty:
    r"""Unmix a spectrum image, and tell how far spectra and maps may be from what was found.

    Four causes are looked at:

    - *Noise.* Data are drawn from the model that was found, with its noise, and unmixed in the same way. The root mean
      square distance to the model is the uncertainty, so that the bias of the method counts where the model shows it.
      Where the model itself is wrong, a bootstrap is blind.
    - *Posterior.* Standard deviations by Gibbs sampling (``"blu"``) where the data are counts. The larger one of both
      is taken.
    - *Repeats.* The same data and method with other seeds.
    - *Methods.* Other methods, whose assumptions differ, on the same data, components matched by their angles. What
      they differ by in the drawn data, whose truth is the result, is what noise explains, and is taken off. A method
      disagrees on a component, and a warning tells so, where its angle is larger than the mean of the drawn ones by
      more than three standard deviations, and what is beyond the mean (in quadrature) is more than two standard
      deviations of the noise of the result itself. Where the method itself doubts what it takes for granted, as
      ``"spa"`` does where few pixels are as pure as the purest, drawn data cannot tell, since they are made of just
      that: then all that methods differ by counts, and a warning tells so, too.

    .. math:: \sigma^2 = \max(\sigma_{noise}^2, \sigma_{posterior}^2) + \sigma_{repeats}^2 + \sigma_{methods}^2

    Parameters
    ----------
    si, n_components, method, mask, seed, noise, gain, readout_sigma, smoothing_px, known, sum_to_one, restarts
        See `unmix`; but where that smooths by a width that suits the noise, the default here is 0, as drawn data would
        not tell of the detail that smoothing takes. ``"auto"`` stays with the purest pixels then, too.
    draws : int, optional
        Sets of data that are drawn. Default: 20, or none with ``method="blu"``, whose posterior tells the noise.
    repeats : int, optional
        Runs with other seeds; 0 for none. Default: 3, or none with ``method="blu"``, whose chains start apart.
    methods : sequence of str, optional
        Other methods. Default: those of nmf, spa and mvsa that suit the data. They need `draws`.
    posterior : bool, optional
        Whether to sample the posterior. Default: where the data are counts in memory without readout noise. Takes
        longest.
    progress, cancel
        Called with the fraction done; stops the work when set.

    Returns
    -------
    UnmixingUncertainty

    Raises
    ------
    ParameterError
        See `unmix`; if there are fewer than 2 draws, or other methods but no draws.
    CancelledError
        If `cancel` was set.

    Notes
    -----
    One set of drawn data is in memory at a time, of counts as few as they are. Images that are read lazily are drawn in
    pieces in each pass.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import spectral
    >>> share = np.linspace(0, 1, 400).reshape(20, 20)
    >>> peaks = np.exp(-((np.arange(30.0) - np.array([[10], [20]])) ** 2) / 20)
    >>> rate = 20 * (share[..., None] * peaks[0] + (1 - share[..., None]) * peaks[1])
    >>> counts = np.random.default_rng(0).poisson(rate)
    >>> sure = spectral.uncertainty(counts, 2, method="spa", draws=10, posterior=False)
    >>> bool((sure.total.angle_deg < 5).all()), sorted(sure.parts)
    (True, ['methods', 'noise', 'repeats'])
    """
    stated = state(
        si, n_components, method, mask, seed, noise=noise, gain=gain, readout_sigma=readout_sigma,
        smoothing_px=smoothing_px, known=known, sum_to_one=sum_to_one, unimodal=False, restarts=restarts,
        progress=None, cancel=cancel,
    )  # fmt: skip
    problem = stated.problem
    drawn = _draws(draws, stated.method)
    others = _others(stated, methods, drawn)
    sampled = stated.method != "blu" and _sampled(stated, posterior)
    usual = 0 if stated.method == "blu" else REPEATS
    repeats = usual if repeats is None else checks.integer("repeats", repeats, minimum=0)
    compared = min(COMPARED, drawn)
    total = 1 + repeats + drawn + len(others) * (1 + compared) + POSTERIOR_STEPS * sampled
    work = _Work(Progress(total, progress, cancel), total, progress)
    found = work.one(problem, stated.method)
    parts: dict[str, Squares] = {}
    notes: list[str] = []
    if found.sigma_spectra is not None:
        parts["posterior"] = of_posterior(found, found)
    if repeats:
        again = Deviations(found)
        for number in range(1, repeats + 1):
            again.add(matched(work.one(dataclasses.replace(problem, seed=seed + number), stated.method), found))
        parts["repeats"] = again.squares()
    rivals = {name: matched(work.one(problem, name), found) for name in others}
    if drawn:
        source = resampler(problem, found, unmixing.residuals(problem, found)[0])
        own, theirs = _redrawn(source, stated.method, rivals, drawn, compared, found, work)
        parts["noise"] = own.squares()
        if rivals:
            parts["methods"] = between_methods(rivals, theirs, found)
    if sampled:
        sample = matched(work.longer(problem, "blu", POSTERIOR_STEPS), found)
        parts["posterior"] = of_posterior(sample, found)
        notes += [f"posterior: {note}" for note in sample.notes]
    work.finish()
    agreement = tuple(compared_with(name, rivals[name], theirs[name].angles, parts["noise"], found) for name in rivals)
    warnings = warnings_of(agreement, stated.method, found.doubted)
    every = _together(parts, found)
    parameters = {
        "n_components": problem.n, "method": method, "mask": mask, "draws": drawn, "repeats": repeats,
        "methods": others, "posterior": posterior, "noise": noise, "gain": gain, "readout_sigma": readout_sigma,
        "smoothing_px": smoothing_px, "known": problem.known, "sum_to_one": sum_to_one, "restarts": restarts,
    }  # fmt: skip
    made = record("spectral.uncertainty", parameters, seed=seed, input_digest=stated.spectra.digest)
    with_sigma = dataclasses.replace(
        found,
        sigma_spectra=np.sqrt(every.spectra),
        sigma_abundances=np.sqrt(every.abundances),
        notes=(*found.notes, *notes, *warnings),
    )
    return UnmixingUncertainty(
        result=result_of(stated, with_sigma, made),
        total=_as_part(every, stated),
        parts={name: _as_part(parts[name], stated) for name in CAUSES if name in parts},
        agreement=agreement,
        warnings=warnings,
        provenance=made,
    )


class _Work:
    """Runs of methods that count as steps of the whole work."""

    def __init__(self, steps: Progress, total: int, progress: ProgressFunction | None) -> None:
        self._steps, self._total, self._progress = steps, total, progress
        self._done = 0

    def one(self, problem: Problem, method: str) -> Factors:
        """Return what a method finds, as one step."""
        found = solve(problem.quiet(), method)
        self._steps.step()
        self._done += 1
        return found

    def longer(self, problem: Problem, method: str, steps: int) -> Factors:
        """Return what a method finds that tells its own progress, as several steps."""
        found = solve(dataclasses.replace(problem, progress=self._inner(steps)), method)
        self._steps.step(steps)
        self._done += steps
        return found

    def _inner(self, steps: int) -> Callable[[float], None] | None:
        tell, done, total = self._progress, self._done, self._total
        return None if tell is None else lambda share: tell((done + steps * share) / total)

    def finish(self) -> None:
        """Note that the work is done."""
        self._steps.finish()


def _draws(draws: int | None, method: str) -> int:
    """Return how many sets of data are drawn."""
    if draws is None:
        return 0 if method == "blu" else DRAWS
    number = checks.integer("draws", draws, minimum=0)
    if number == 1:
        raise ParameterError("draws is 1, which has no spread; give at least 2, or 0 for none")
    return number


def _others(stated: Stated, methods: Sequence[str] | None, draws: int) -> tuple[str, ...]:
    """Return the methods that are compared."""
    if methods is not None:
        for name in methods:
            checks.choice("methods", name, tuple(METHODS))
        if methods and not draws:
            raise ParameterError("other methods are judged by drawn data; give draws, or methods=()")
    elif not draws:
        return ()
    asked = RIVALS if methods is None else tuple(dict.fromkeys(methods))
    chosen = []
    for name in asked:
        able = _able(stated, name)
        if methods is not None and not able:
            raise ParameterError(f"method {name!r} cannot be compared: it takes no such data or constraints")
        if able and name != stated.method:
            chosen.append(name)
    return tuple(chosen)


def _able(stated: Stated, name: str) -> bool:
    """Return whether a method takes the data and what is known of them."""
    problem, method = stated.problem, METHODS[name]
    return (
        (method.known or problem.known is None)
        and (method.sum_to_one or not problem.sum_to_one)
        and (method.lazy or not stated.spectra.lazy)
        and (name != "mvsa" or problem.n > 2)
    )


def _sampled(stated: Stated, posterior: bool | None) -> bool:
    """Return whether the posterior is sampled."""
    able = _able(stated, "blu")
    if posterior is None:
        return able and stated.problem.noise == "poisson" and stated.problem.readout_sigma == 0
    if posterior and not able:
        raise ParameterError(
            "the posterior needs the image in memory, without sum_to_one; give an array or SparseSI, or posterior=False"
        )
    return bool(posterior)


def _redrawn(
    source: Resampler,
    method: str,
    rivals: dict[str, Factors],
    draws: int,
    compared: int,
    found: Factors,
    work: _Work,
) -> tuple[Deviations, dict[str, Deviations]]:
    """Return how far drawn data lead from the result, and the other methods from the same one in the same data."""
    problem = source.problem
    own, theirs = Deviations(found), {name: Deviations(found) for name in rivals}
    for number in range(draws):
        data = dataclasses.replace(problem, matrix=source.draw(problem.rng(9, number)))
        drawn = matched(work.one(data, method), found)
        own.add(drawn)
        if number < compared:
            for name, between in theirs.items():
                between.add(matched(work.one(data, name), drawn), drawn)
    return own, theirs


def _together(parts: dict[str, Squares], found: Factors) -> Squares:
    """Return the variances of all causes."""
    zero = Squares(np.zeros_like(found.spectra), np.zeros_like(found.abundances), np.zeros(len(found.spectra)))
    total = parts.get("noise", zero).or_larger(parts.get("posterior", zero))
    for name in ("repeats", "methods"):
        total = total.plus(parts.get(name, zero))
    return total


def _as_part(squares: Squares, stated: Stated) -> UncertaintyPart:
    """Return standard deviations, of maps at their pixels."""
    return UncertaintyPart(
        np.sqrt(squares.spectra),
        np.moveaxis(stated.spectra.as_maps(np.sqrt(squares.abundances)), -1, 0),
        np.sqrt(squares.angle),
    )
