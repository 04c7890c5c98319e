"""The meter of components: more dose shows more of them, and drift, bins and energy steps add none."""

from __future__ import annotations

import numpy as np
import pytest
from known_spectra import angles, phases, rates, regions

from esteemcore import spectral
from esteemcore.errors import ParameterError
from esteemcore.events import SparseSI


def moved(rate, shift, rng, margin=8):
    """Counts of a specimen that lies at another place: sample (i, j) was taken at (i + dy, j + dx)."""
    dy, dx = shift
    part = rate[margin + dy : rate.shape[0] - margin + dy, margin + dx : rate.shape[1] - margin + dx]
    return rng.poisson(part)


def test_components_rise_with_the_dose_and_never_beyond_the_truth(rng) -> None:
    rate = rates(rng, 0.4, 3, (64, 64))
    meter = spectral.ComponentMeter((48, 48), 200)
    found = []
    for frame in range(40):
        shift = rng.integers(-6, 7, 2)
        meter.add(moved(rate, shift, rng), shift)
        if frame in (0, 3, 12, 39):
            found.append(meter.rank().n)
    told = [n for n in found if n is not None]
    assert told == sorted(told)
    assert found[-1] == 3
    assert found[0] in (0, 1, None)


@pytest.mark.parametrize("pixels", [1, 2])
def test_one_component_stays_one_under_drift(rng, pixels) -> None:
    rate = rates(rng, 3.0, 1, (64, 64))
    meter = spectral.ComponentMeter((48, 48), 200, pixels)
    for _ in range(20):
        shift = rng.integers(-6, 7, 2)
        meter.add(moved(rate, shift, rng), shift + rng.uniform(-0.4, 0.4, 2))
    assert meter.rank().n == 1


def test_events_and_arrays_give_the_same_sums(rng) -> None:
    counts = rng.poisson(0.1, (7, 9, 600))
    dense, sparse = spectral.ComponentMeter((7, 9), 600, 2), spectral.ComponentMeter((7, 9), 600, 2)
    for shift, energy in (((0, 0), 0), ((2, -3), 5), ((-1.4, 4), -11)):
        dense.add(counts, shift, energy)
        sparse.add(SparseSI.from_dense(counts), shift, energy)
    np.testing.assert_array_equal(dense._coarse.total, sparse._coarse.total)
    np.testing.assert_array_equal(dense._coarse.visits, sparse._coarse.visits)
    assert dense.bins == (2, 3)


def test_counts_inside_are_kept_and_lie_where_the_shift_says(rng) -> None:
    frame = np.zeros((8, 8, 4))
    frame[2, 3, 1] = 5
    meter = spectral.ComponentMeter((8, 8), 4)
    meter.add(frame, (1.2, -2.4), energy_shift_channels=1.6)
    assert meter._coarse.total[3, 1, 3] == 5
    assert meter._coarse.total.sum() == 5
    meter.add(frame, (-3, 0))
    assert meter._coarse.total.sum() == 5  # it fell off


def test_an_energy_drift_that_is_known_adds_no_component(rng) -> None:
    rate = rates(rng, 3.0, 2, (48, 48))
    known = spectral.ComponentMeter((48, 48), 200)
    for step in range(8):
        counts = rng.poisson(np.roll(rate, 3 * step, axis=2) * (np.arange(200) >= 3 * step))
        known.add(counts, energy_shift_channels=-3 * step)
    assert known.rank().n == 2


@pytest.mark.parametrize("kind", ["counts", "camera"])
def test_components_are_as_near_the_truth_as_those_of_the_whole_image(rng, kind) -> None:
    """In every channel, though the maps were found in bins of three."""
    shape, channels = (36, 32), 600
    spectra, amounts = phases(rng, 3, channels), regions(rng, shape, 3)
    rate = (60 if kind == "counts" else 60000) * amounts @ spectra
    meter = spectral.ComponentMeter(shape, channels, keep_channels=True)
    total = np.zeros((*shape, channels))
    for _ in range(3):
        frame = rng.poisson(rate / 3) if kind == "counts" else rng.normal(rate / 3, np.sqrt(rate / 3 + 1))
        meter.add(SparseSI.from_dense(frame) if kind == "counts" else frame.astype(np.float32))
        total += frame
    found = meter.components(meter.rank().n)
    assert found.note == ""
    assert meter.bins == (1, 3)
    whole = spectral.unmix(total, 3, mask=np.ones(shape, bool))
    forming, batch = angles(found.spectra, spectra), angles(whole.spectra, spectra)
    assert np.sqrt(np.square(forming).mean()) < 1.25 * np.sqrt(np.square(batch).mean()) + 0.02
    np.testing.assert_allclose(np.abs(found.spectra).sum(axis=1), 1)
    model = np.einsum("nyx,ne->yxe", found.abundances, found.spectra)
    np.testing.assert_allclose(3 * model.sum(axis=(0, 1)).sum(), total.sum(), rtol=1e-3)
    assert np.square(3 * model - rate).sum() < 0.1 * np.square(total - rate).sum()


def test_maps_are_the_mean_counts_of_a_frame_in_a_pixel_wherever_one_was(rng) -> None:
    rate = 50 * regions(rng, (100, 104), 2) @ phases(rng, 2, 80)
    meter = spectral.ComponentMeter((100, 104), 80, keep_channels=True)
    for shift in ((9, -20), (9, -20), (21, 0)):  # what is moved beside the common grid was not measured there
        meter.add(rng.poisson(rate), shift)
    found = meter.components(2)
    total = found.abundances.sum(axis=0)
    assert total.shape == (50, 52)
    assert np.isnan(total[:4]).all()
    assert np.isfinite(total[5:, :42]).all()
    assert np.isnan(total[:10, 42:]).all()
    assert np.isfinite(total[11:]).all()
    first = rate[2:, :84].sum(axis=-1)  # under rows 11 on, where the third frame had none
    assert np.nanmean(total[6:10, :42]) == pytest.approx(first[1:9, 20:].mean(), rel=0.05)
    assert np.nanmean(total[11:]) == pytest.approx(50, rel=0.05)
    assert (found.visits[11:, :42] == 12).all()


def test_components_keep_their_places_from_look_to_look(rng) -> None:
    spectra, ramp = phases(rng, 3, 90), np.linspace(0, 1, 40)
    meter, looks = spectral.ComponentMeter((40, 40), 90, keep_channels=True), []
    for amounts in ((50.0, 20.0), (10.0, 90.0)):
        share = np.repeat(np.stack([ramp, 1 - ramp], axis=-1)[:, None], 40, axis=1)
        meter.add(rng.poisson(share * amounts @ spectra[:2]))
        looks.append(meter.components(2, looks[-1].spectra if looks else None))
    for look in looks:
        nearest = np.argmin([[np.square(one - true).sum() for true in spectra[:2]] for one in look.spectra], axis=1)
        assert nearest.tolist() == [0, 1]
    sizes = looks[1].abundances.sum(axis=(1, 2))
    assert sizes[0] < sizes[1]  # by falling amounts it would be the other way round
    corner = np.zeros((40, 40, 1))
    corner[:20, :10] = 400
    meter.add(rng.poisson(corner * spectra[2]))
    third = meter.components(3, looks[1].spectra)
    assert np.argmin([np.square(third.spectra[2] - true).sum() for true in spectra]) == 2


def test_nothing_yet_is_told_and_not_made_up() -> None:
    meter = spectral.ComponentMeter((4, 4), 8, keep_channels=True)
    meter.add(np.zeros((4, 4, 8), np.uint8))
    found = meter.components(2)
    assert "all values are zero" in found.note
    assert np.isnan(found.spectra).all()
    assert np.isnan(found.abundances).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.rank(), "no frame"),
        (lambda m: m.add(np.ones((4, 4, 3))), r"expected \(4, 4, 5\)"),
        (lambda m: m.add(np.full((4, 4, 5), np.nan)), "NaN"),
        (lambda m: m.add(np.ones((4, 4, 5)), (np.nan, 0)), "finite"),
        (lambda m: m.add(np.ones((4, 4, 5)), 3.0), "two finite numbers"),
        (lambda m: m.components(2), "keep_channels=True"),
        (lambda m: spectral.ComponentMeter((4, 4), 0), "channels"),
        (lambda m: spectral.ComponentMeter((4, 4), 5, keep_channels=True).components(2, np.ones((2, 4))), "like has"),
        (lambda m: spectral.ComponentMeter((4, 4), 5, 0), "pixels"),
    ],
)
def test_bad_arguments_are_refused(call, message) -> None:
    with pytest.raises(ParameterError, match=message):
        call(spectral.ComponentMeter((4, 4), 5))


def test_maps_are_no_brighter_beside_what_was_seen_more_often(rng) -> None:
    """Smoothed sums are divided by visits that are smoothed alike: one frame everywhere, twelve on the right half."""
    lines = np.zeros((2, 60))
    lines[0, 12:17] = lines[1, 40:45] = 0.2
    stripes = (np.arange(32) // 4 % 2)[:, None, None]
    rate = np.broadcast_to(stripes * lines[0] + (1 - stripes) * lines[1], (32, 32, 60))
    meter = spectral.ComponentMeter((32, 32), 60, pixels=1, keep_channels=True)
    for frame in range(13):
        meter.add(rng.poisson(rate), (0, 0 if frame == 0 else 16))
    found = meter.components(2)
    assert found.visits[0].tolist() == [1] * 16 + [13] * 16
    columns = np.nansum(found.abundances, axis=0).mean(axis=0)  # of one count per frame and pixel
    assert columns.max() < 1.5
    assert columns.mean() == pytest.approx(1.0, abs=0.1)
