"""What classes are made from: binned patterns, the mixture, its order, reflections, halos, fractions."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from esteemcore._core.progress import Progress
from esteemcore.diffraction import _pattern_kernels, class_doubt, mixture, order, patterns, shares
from esteemcore.diffraction.amorphous import TEXTURE, profile_likeness, radial_profile, texture
from esteemcore.diffraction.counts import Counts
from esteemcore.diffraction.descan import descan_of
from esteemcore.diffraction.reflections import likeness, mixed, reflections

CENTER = np.array([40.0, 40.0])
Y, X = np.mgrid[:80, :80]


def disks(places, heights, radius=4.0, background=0.02):
    """Return a pattern of flat disks at places relative to the beam."""
    image = np.full((80, 80), background)
    for (dy, dx), height in zip(places, heights, strict=True):
        image += height * np.clip(0.5 - (np.hypot(Y - 40 - dy, X - 40 - dx) - radius), 0, 1)
    return image


LATTICE = [(i * 15.0, j * 15.0) for i in (-2, -1, 0, 1, 2) for j in (-2, -1, 0, 1, 2) if (i, j) != (0, 0)]
TURNED = [(0.83 * a - 0.56 * b, 0.56 * a + 0.83 * b) for a, b in LATTICE]


def bins_of(rates, scan_shape, rng):
    """Return counts of rates (positions, bins) as binned patterns."""
    counts = rng.poisson(rates).astype(np.uint16)
    center = np.stack(np.divmod(np.arange(rates.shape[1]), 8), axis=1) * 4.0
    return patterns.Binned(counts, scan_shape, 4, center, ~counts.any(axis=1))


def test_bins_agree_with_numpy(rng) -> None:
    frames = rng.poisson(0.5, (6, 11, 13)).astype(np.uint16)
    shift, label = rng.integers(-3, 4, (6, 2)), rng.integers(-1, 9, (19, 21))
    out = np.zeros((6, 9), np.uint16)
    _pattern_kernels.bin_frames(frames, shift, label, 4, out)
    expected = np.zeros_like(out)
    for k, (dy, dx) in enumerate(shift):
        seen = label[4 - dy : 15 - dy, 4 - dx : 17 - dx]
        expected[k] = np.bincount(seen[seen >= 0], frames[k][seen >= 0], minlength=9)
    np.testing.assert_array_equal(out, expected)


def test_sums_agree_with_numpy(rng) -> None:
    frames = rng.poisson(2.0, (7, 9, 10)).astype(np.uint16)
    shift, number = rng.integers(-3, 4, (7, 2)), rng.integers(-1, 2, 7)
    total, covered = np.zeros((2, 9, 10)), np.zeros((2, 9, 10))
    _pattern_kernels.add_frames(frames, shift, number, total, covered)
    expected, seen = np.zeros((2, 15, 16)), np.zeros((2, 15, 16))
    for k, (dy, dx) in enumerate(shift):
        if number[k] >= 0:
            expected[number[k], 3 - dy : 12 - dy, 3 - dx : 13 - dx] += frames[k]
            seen[number[k], 3 - dy : 12 - dy, 3 - dx : 13 - dx] += 1
    np.testing.assert_array_equal(total, expected[:, 3:12, 3:13])
    np.testing.assert_array_equal(covered, seen[:, 3:12, 3:13])


def film(rng, scan=(8, 10)):
    """Frames of a beam and a halo."""
    r = np.hypot(Y - 40, X - 40)
    return rng.poisson(8.0 * (r < 4) + np.exp(-(((r - 18) / 4) ** 2)), (*scan, 80, 80)).astype(np.uint16)


@pytest.mark.parametrize("gap", [np.s_[50:54], np.s_[50:59], np.s_[50:51]])
def test_dead_rows_are_found_whatever_their_number(rng, gap) -> None:
    """A gap between two chips makes no crystal of a film."""
    data = film(rng)
    data[:, :, gap] = 0
    counts = Counts(data)
    expected = np.zeros((80, 80), bool)
    expected[gap] = True
    np.testing.assert_array_equal(counts.broken, expected)
    assert texture(80 * counts.sample, CENTER, 4.0)[0] < 0.5 * TEXTURE
    np.testing.assert_array_equal(Counts(data.swapaxes(2, 3)).broken, expected.T)


def test_a_dead_patch_is_found(rng) -> None:
    data = film(rng)
    data[..., 56:60, 38:42] = 0
    counts = Counts(data)
    assert counts.broken.sum() == counts.broken[56:60, 38:42].sum() == 16
    assert counts.notes == ["16 dead pixels of the detector are filled from their neighbours"]


def test_dark_between_reflections_is_not_dead(rng) -> None:
    """Rows of disks in line with the detector, without anything between them."""
    data = rng.poisson(disks(LATTICE, [3.0] * 24, background=0.0), (6, 6, 80, 80))
    counts = Counts(data)
    assert not counts.broken.any()
    assert counts.notes == []


def test_a_mask_is_filled_and_its_values_do_not_matter(rng) -> None:
    data = film(rng)
    mask = np.ones((80, 80), bool)
    mask[20:24, 10:60] = False
    one, other = (Counts(np.where(mask, data, value), mask=mask) for value in (0, 999))
    np.testing.assert_array_equal(one.sample, other.sample)
    np.testing.assert_array_equal(one.broken, ~mask)
    assert one.notes == other.notes == []


def test_binning_keeps_every_count_outside_the_beam(frames, grains) -> None:
    counts = Counts(frames)
    descan = descan_of(counts, grains.radius_px, everywhere=False)
    data = patterns.binned(counts, descan, grains.radius_px, 4)
    far = np.hypot(*(np.mgrid[:96, :96] - descan.reference[:, None, None]))
    least = int(frames[..., far > 1.3 * grains.radius_px + 8].sum())
    assert least < data.total() < int(frames[..., far > 1.3 * grains.radius_px - 1].sum())
    assert np.hypot(*data.center.T).min() > 1.3 * grains.radius_px


def test_thinned_halves_are_independent_and_add_up(rng) -> None:
    data = bins_of(np.full((400, 64), 3.0), (20, 20), rng)
    one, other = data.thinned(rng)
    np.testing.assert_array_equal(one.counts + other.counts, data.counts)
    assert one.counts.mean() == pytest.approx(1.5, rel=0.02)
    assert abs(np.corrcoef(one.counts.ravel(), other.counts.ravel())[0, 1]) < 0.03  # 6 standard errors: 0.037


def test_the_mixture_finds_two_rates_and_gains_with_every_step(rng) -> None:
    profiles = rng.gamma(1.0, size=(2, 64))
    true = (np.arange(400) % 20 > 8).astype(int)
    data = bins_of(2 * profiles[true], (20, 20), rng)
    start = mixture.first_groups(mixture.features(data, 0), 2, 0)
    bounds = [mixture.fit_mixture(data, start, iterations=n, tolerance=0).bound for n in (2, 4, 8)]
    assert bounds == sorted(bounds)
    found = mixture.fit_mixture(data, start)
    label = found.share.argmax(axis=1)
    assert (label == true).mean() in (0, 1)
    np.testing.assert_allclose(found.share.sum(axis=1), 1, rtol=1e-5)
    near = profiles[[true[label == 0][0], true[label == 1][0]]]
    np.testing.assert_allclose(found.profiles, near / near.sum(axis=1, keepdims=True), atol=0.004)


def test_neighbours_decide_where_counts_are_few(rng) -> None:
    profiles = rng.gamma(1.0, size=(2, 64))
    true = (np.arange(400) % 20 > 8).astype(int)
    data = bins_of(0.02 * profiles[true], (20, 20), rng)
    weights = profiles / profiles.sum(axis=1, keepdims=True)
    alone = data.counts @ np.log(weights.T)
    found = mixture.settle(data, np.full((400, 2), 0.5, np.float32), weights, 20)
    wrong = (found.share.argmax(axis=1) != true).mean()
    assert wrong < 0.5 * (alone.argmax(axis=1) != true).mean()


@pytest.mark.parametrize("n", [1, 3])
def test_held_out_electrons_favour_the_true_number_of_patterns(rng, n) -> None:
    profiles = rng.gamma(0.5, size=(n, 64))
    true = np.arange(400) % 20 * n // 20
    data = bins_of(0.3 * profiles[true], (20, 20), rng)
    found = order.held_out(data, 0, Progress(1))
    assert found.best == n
    assert found.components[0] == 1
    assert found.gain[0] == 0
    assert found.gain.argmax() == list(found.components).index(n) or found.gain.max() - found.gain[n - 1] < 0.01


def test_reflections_lie_where_the_disks_are(rng) -> None:
    heights = rng.uniform(0.2, 1.0, len(LATTICE))
    total = rng.poisson(100 * disks([(0, 0), *LATTICE], [5, *heights])).astype(float)
    found = reflections(total, 100, CENTER, 4.0)
    inside = [k for k, place in enumerate(LATTICE) if max(map(abs, place)) < 33]
    assert len(found.place) == len(inside)
    for k in inside:
        far = np.hypot(*(found.place - CENTER - LATTICE[k]).T)
        assert far.min() < 0.8
        assert found.intensity[far.argmin()] == pytest.approx(heights[k] * np.pi * 16, rel=0.25)


def test_brightness_does_not_matter_but_places_do(rng) -> None:
    def seen(lattice, depth):
        heights = 1 + depth * np.sin(np.arange(len(lattice)) * 1.7 + rng.uniform(0, 6))
        return reflections(rng.poisson(50 * disks([(0, 0), *lattice], [5, *heights])).astype(float), 50, CENTER, 4.0)

    same, bent, turned = seen(LATTICE, 0.0), seen(LATTICE, 0.8), seen(TURNED, 0.8)
    alike = likeness([same, bent, turned], 1.2)
    np.testing.assert_allclose(alike, alike.T)
    assert alike[0, 1] > 0.9
    assert alike[:2, 2].max() < 0.2


def test_two_patterns_on_top_of_each_other_are_mixed(rng) -> None:
    wide = [(20.0 * i, 20.0 * j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    turned = [(0.83 * a - 0.56 * b, 0.56 * a + 0.83 * b) for a, b in wide]
    one, other = (disks([(0, 0), *places], [5.0, *[1.0] * 8]) for places in (wide, turned))
    seen = [
        reflections(rng.poisson(60 * image).astype(float), 60, CENTER, 4.0)
        for image in (one, other, (one + other) / 2, one * 1.1)
    ]
    alike = likeness(seen, 1.2)
    assert mixed(seen, alike, np.array([60, 60, 60, 60]), 1.2).tolist() == [False, False, True, False]


def halo(ratio=1.0, radius=20.0, width=2.5):
    r = np.hypot((Y - 40) * np.sqrt(ratio), (X - 40) / np.sqrt(ratio))
    return 0.05 + np.exp(-(((r - radius) / width) ** 2))


def test_texture_tells_halos_from_reflections_also_on_an_ellipse(rng) -> None:
    crystal = rng.poisson(20 * disks(LATTICE, [1.0] * 24)).astype(float)
    assert texture(crystal, CENTER, 4.0)[0] > 5 * TEXTURE
    for ratio in (1.0, 1.08):
        assert texture(rng.poisson(20 * halo(ratio)).astype(float), CENTER, 4.0)[0] < 0.5 * TEXTURE


def test_noise_has_no_texture_within_its_error(rng) -> None:
    pulls = [np.divide(*texture(rng.poisson(0.05, (80, 80)).astype(float), CENTER, 4.0)) for _ in range(60)]
    assert abs(np.mean(pulls)) < 0.5
    assert 0.7 < np.std(pulls) < 1.4


def test_profiles_are_alike_whatever_their_thickness(rng) -> None:
    images = [rng.poisson(n * h).astype(float) for n, h in ((30, halo()), (60, halo()), (30, halo(radius=22.0)))]
    ones = np.ones((80, 80))
    profiles, counts = zip(*(radial_profile(image, ones, CENTER) for image in images), strict=True)
    alike = profile_likeness(np.array(profiles), np.array(counts), 6.0)
    assert alike[0, 1] > 0.85
    assert alike[0, 2] < 0.4


def test_the_profile_of_an_ellipse_is_sharp_along_it() -> None:
    ratio = 1.15
    to_circle = np.diag([np.sqrt(ratio), 1 / np.sqrt(ratio)])
    ones = np.ones((80, 80))
    plain, along = (radial_profile(halo(ratio), ones, CENTER, turned)[0] for turned in (None, to_circle))
    assert along[20] == pytest.approx(1.05, abs=0.03)
    assert plain[20] < along[20] - 0.1


@pytest.mark.parametrize("counts", [20.0, 2000.0])
def test_fractions_of_mixed_counts_are_unbiased(rng, counts) -> None:
    rates = rng.gamma(0.5, size=(3, 64))
    rates *= counts / rates.sum(axis=1, keepdims=True)
    true = np.array([0.6, 0.3, 0.1])
    data = bins_of(np.broadcast_to(true @ rates, (400, 64)), (20, 20), rng)
    found = shares.fit_shares(data, rates, np.arange(3), 3, np.full((400, 3), 1 / 3, np.float32), 4.0).fractions
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(found.mean(axis=0), true, atol=0.06 if counts < 100 else 0.01)


def test_patterns_of_one_class_count_together(rng) -> None:
    rates = 50 * rng.gamma(0.5, size=(3, 64))
    data = bins_of(np.broadcast_to(0.5 * rates[0] + 0.5 * rates[1], (100, 64)), (10, 10), rng)
    found = shares.fit_shares(data, rates, np.array([0, 0, 1]), 2, np.full((100, 3), 1 / 3, np.float32), 4.0)
    assert found.fractions[:, 0].mean() > 0.98


def on_rings(rates, scan_shape, rng):
    """Return counts of rates (positions, 400) as bins of 4 px round the beam."""
    data = bins_of(rates, scan_shape, rng)
    center = np.stack(np.divmod(np.arange(400), 20), axis=1) * 4.0 - 38
    return patterns.Binned(data.counts, scan_shape, 4, center, data.empty)


@pytest.mark.parametrize("counts", [40.0, 4000.0])
def test_nothing_is_left_of_what_a_class_explains_but_noise(rng, counts) -> None:
    rates = rng.gamma(1.0, size=(1, 400))
    rates *= counts / rates.sum()
    data = on_rings(np.broadcast_to(rates, (900, 400)), (30, 30), rng)
    found = shares.fit_shares(data, rates, np.array([0]), 1, np.ones((900, 1), np.float32), 4.0)
    pulls = found.unexplained / found.sigma
    assert abs(pulls.mean()) < 0.15
    assert np.std(pulls) == pytest.approx(1, abs=0.2)
    assert not class_doubt.unlike(found).any()


def test_what_no_class_explains_is_left(rng) -> None:
    known, other = (400 * rng.dirichlet(np.full(400, 0.05)) for _ in range(2))
    known[rng.permutation(400)[:40]] += 0.05
    data = on_rings(np.stack([known] * 50 + [other] * 50), (10, 10), rng)
    found = shares.fit_shares(data, known[None], np.array([0]), 1, np.ones((100, 1), np.float32), 4.0)
    assert class_doubt.unlike(found).tolist() == [False] * 50 + [True] * 50


def test_holes_are_told_from_thin_places(rng) -> None:
    """A fifth of the counts of a class is thin; a hundredth is a hole, if that is no chance."""
    for dose, expected in ((1.0, [False] * 20 + [True] * 60), (0.02, [False] * 80)):
        part = np.repeat([1.0, 0.2, 0.01, 0.0], [5, 15, 30, 30]) * dose
        data = bins_of(part[:, None] * np.full(64, 10.0), (8, 10), rng)
        assert class_doubt.bare(data, np.zeros(80, np.int64)).tolist() == expected


def test_two_classes_in_equal_parts_are_half_sure_also_where_the_blend_looked_like_a_third() -> None:
    posterior = np.array([[1.0, 0, 0], [0.5, 0.5, 0], [0, 0, 1], [0.1, 0, 0.9], [0, 0, 1], [0, 0, 1]])
    parts = np.array([[1.0, 0, 0], [0.5, 0.5, 0], [0.5, 0.5, 0], [0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [np.nan] * 3])
    labels = class_doubt.by_part(posterior.argmax(axis=1), parts)
    labels[-1] = -1
    assert labels.tolist() == [0, 0, 0, 0, 2, -1]
    expected = [1, 0.5 * 0.5, 0.5, 7 / 9, 4 / 7, 0]
    np.testing.assert_allclose(class_doubt.confidence(posterior, parts, labels), expected)


def test_fewer_different_points_than_groups_make_as_many_groups_without_a_warning(rng) -> None:
    points = np.repeat(rng.normal(size=(3, 8)), 10, axis=0).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        share = mixture.first_groups(points, 6, 0)
        assert (mixture.first_groups(np.zeros((9, 4), np.float32), 2, 0).sum(axis=1) == 1).all()
    assert (share.sum(axis=1) == 1).all()
    assert np.unique(share.argmax(axis=1)).size == 3
    assert (share.reshape(3, 10, -1) == share.reshape(3, 10, -1)[:, :1]).all()
