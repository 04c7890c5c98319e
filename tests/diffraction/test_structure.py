"""What many disks of a reflection have in common is learnt, with how much it varies, from few disks as well."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from esteemcore import diffraction, errors, simulate
from esteemcore.diffraction import structure

USUAL = 0.35


def seen(rng, mean, spread, sd, number):
    """Return what fits with a prior of the usual spread make of numbers that vary by `spread` round `mean`."""
    which = np.repeat(np.arange(len(mean)), number)
    true = mean[which] + rng.normal(0, spread[which])
    shrunk = USUAL**2 / (USUAL**2 + sd**2)
    fitted_sd = np.sqrt(shrunk) * sd
    return which, shrunk * (true + rng.normal(0, sd, len(which))), np.full(len(which), fitted_sd)


def test_means_and_spreads_of_many_disks(rng) -> None:
    mean, spread = rng.normal(0, 0.3, 40), np.repeat([0.0, 0.2], 20)
    which, found, sd = seen(rng, mean, spread, 0.15, 200)
    learnt, known = structure._mean_and_spread(found, sd, sd, which, 40, USUAL)
    assert np.sqrt(np.mean((learnt - mean) ** 2)) < 0.03
    assert (known[:20] < 0.06).mean() > 0.9
    np.testing.assert_allclose(known[20:], 0.2, atol=0.05)


def test_few_disks_are_judged_by_what_the_others_do(rng) -> None:
    """Three disks of each reflection: means as sure as Gaussian theory allows, errors as large as they say."""
    mean = rng.normal(0, USUAL, 600)
    which, found, sd = seen(rng, mean, np.zeros(600), 0.3, 3)
    learnt, known = structure._mean_and_spread(found, sd, sd, which, 600, USUAL)
    allowed = 1 / np.sqrt(USUAL**-2 + 3 / 0.3**2)
    error = np.sqrt(np.mean((learnt - mean) ** 2))
    assert error == pytest.approx(allowed, rel=0.1)
    assert np.sqrt(np.mean(known**2)) == pytest.approx(error, rel=0.15)


def test_one_spread_and_one_disk_have_a_posterior_in_closed_form(monkeypatch) -> None:
    monkeypatch.setattr(structure, "SPREADS", (0.2,))
    fitted = 0.2
    variance = 1 / (fitted**-2 - USUAL**-2)
    mean, known = structure._mean_and_spread(
        np.array([0.1]), np.array([fitted]), np.array([fitted]), np.zeros(1, int), 1, USUAL
    )
    total = 1 / (variance + (0.2 * USUAL) ** 2) + USUAL**-2
    shrunk = 1 - (fitted / USUAL) ** 2
    # what the fit said before its prior was taken out, with the error that it had then
    assert mean[0] == pytest.approx(0.1 / shrunk * (total - USUAL**-2) / total)
    assert known[0] == pytest.approx(np.sqrt(1 / total + (0.2 * USUAL) ** 2))


def test_a_reflection_that_is_bright_in_the_middle_is_known_to_be_less_sure() -> None:
    """Its gradients scatter by more than the fits say; they do not vary, and are not taken as if they did."""
    made = simulate.polycrystal(
        (12, 12), (64, 64), radius_px=4, electrons=4000, grains=1, amorphous=0, spacing_px=15, seed=3
    )
    inside = made.inside.copy()
    inside[:, 2] = np.where(made.electrons > 1000, 0.0, -0.35)  # all but the direct beam
    made = dataclasses.replace(made, inside=inside)
    first = diffraction.find_disks(made.frames(), 4, passes=1, threads=1)
    learnt = diffraction.learn_structure(first, (64, 64), 4)
    one = made.frame == 0
    off = np.stack([made.y, made.x], 1)[one] - made.center[0]
    far = np.hypot(*(off[:, None] - learnt.place).transpose(2, 0, 1))
    pairs = [
        (i, far[i].argmin())
        for i in range(len(off))
        if far[i].min() < 1.5 and made.electrons[one][i] > 50 and (np.abs(off[i]) < 26).all()
    ]
    assert len(pairs) >= 5
    known = np.array([learnt.sd[j, :2] for i, j in pairs])
    error = np.array([learnt.inside[j, :2] - made.inside[one][i, :2] for i, j in pairs])
    assert np.median(known) < 0.13  # 0.23 if the fits are believed
    assert np.median(np.abs(error)) < 0.08


def test_too_little_to_learn_from() -> None:
    frames = np.random.default_rng(0).poisson(0.2, (2, 2, 32, 32))
    first = diffraction.find_disks(frames, 4, passes=1, threads=1)
    assert len(diffraction.learn_structure(first, (32, 32), 4).place) == 0
    bare = diffraction.DiskTable(np.zeros(2, int), *(np.ones(2),) * 5)
    with pytest.raises(errors.ParameterError, match="what its disks look like inside"):
        diffraction.learn_structure(bare, (32, 32), 4)
