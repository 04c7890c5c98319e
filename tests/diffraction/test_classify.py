"""Classes of a scan: as many as there are, where they are, how sure, how mixed, by two independent ways."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from known_grains import index, matched, pure

from esteemcore import diffraction, simulate
from esteemcore.errors import CancelledError, ParameterError


@pytest.fixture(scope="module")
def found(bent) -> diffraction.Classes:
    truth, frames = bent
    return diffraction.classify(frames, truth.radius_px)


def test_as_many_classes_as_there_are_phases_each_in_its_place(bent, found) -> None:
    truth, _ = bent
    assert len(found) == len(truth.member) == 6, found.reason
    assert index(truth, found.labels) > 0.97
    assert found.kinds == ("crystalline",) * 4 + ("amorphous",) * 2
    assert found.areas.sum() == found.labels.size


def test_the_place_of_a_class_is_deep_inside_it(found) -> None:
    y, x = np.indices(found.labels.shape)
    for c, (row, column) in enumerate(found.places):
        assert found.labels[int(row), int(column)] == c
        deepest = max(_depth(found.labels == c, i, j) for i, j in zip(y.ravel(), x.ravel(), strict=True))
        assert _depth(found.labels == c, int(row), int(column)) == deepest


def _depth(inside: np.ndarray, row: int, column: int) -> float:
    """How far a position is from the nearest that is outside, beyond the edges of the scan included."""
    around = np.argwhere(~np.pad(inside, 1)) - 1
    return float(np.hypot(*(around - (row, column)).T).min())


def test_where_two_grains_meet_is_one_of_them() -> None:
    """A blend of two crystals is as even as an amorphous phase, for which the mixture may take it."""
    truth = simulate.polycrystal((20, 20), (64, 64), electrons=3000, grains=4, seed=1)
    found = diffraction.classify(truth.frames(), truth.radius_px, second_way=False)
    assert found.kinds == ("crystalline",) * 4 + ("amorphous",)
    true = truth.member[matched(truth, found.labels)].reshape(5, -1)
    between = (true[:4].sum(axis=0) > 0.99) & (true.max(axis=0) < 0.95)
    labels = found.labels.ravel()[between]
    assert between.sum() > 10
    assert (labels < 4).all()
    assert (found.confidence.ravel()[between] > 0.4).all()


def test_bragg_disks_alone_give_the_same_classes(bent, found) -> None:
    truth, _ = bent
    assert index(truth, found.other) > 0.9
    assert found.agreement > 0.8
    assert (found.agreed == (found.labels == found.other)).all()


def test_the_classes_survive_a_tenth_of_the_electrons(bent, rng) -> None:
    truth, frames = bent
    few = diffraction.classify(rng.binomial(frames, 0.1).astype(np.uint16), truth.radius_px, second_way=False)
    assert len(few) == 6, few.reason
    assert index(truth, few.labels) > 0.93
    assert np.isnan(few.agreement)


def test_fractions_are_those_of_the_truth(bent, found) -> None:
    truth, _ = bent
    true = truth.member[matched(truth, found.labels)].reshape(6, -1)
    shares = found.fractions.reshape(6, -1)
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-6)
    off = shares - true
    assert np.sqrt((off[:, pure(truth)] ** 2).mean()) < 0.05
    assert np.sqrt((off[:, ~pure(truth)] ** 2).mean()) < 0.15


def test_confidence_is_high_where_pure_and_low_where_mixed(bent, found) -> None:
    truth, _ = bent
    confidence = found.confidence.ravel()
    assert ((confidence >= 0) & (confidence <= 1)).all()
    assert confidence[pure(truth)].mean() > 0.9
    assert confidence[~pure(truth)].mean() < 0.7


def test_patterns_are_means_moved_back_by_the_descan(bent, found) -> None:
    truth, frames = bent
    true = matched(truth, found.labels)
    row, column = np.rint(found.descan.reference).astype(int)
    y, x = np.mgrid[:80, :80]
    beam = np.hypot(y - row, x - column) < truth.radius_px - 1
    for pattern, kind in zip(found.patterns, true, strict=True):
        alone = (truth.member[kind].ravel() > 0.99).nonzero()[0]
        expected = np.mean([frames.reshape(-1, 80, 80)[p].sum() for p in alone])
        assert np.nansum(pattern) == pytest.approx(expected, rel=0.03)
        assert pattern[beam].min() > 0.5 * pattern[beam].mean()  # a beam that wanders would be smeared out


def test_the_halo_of_an_amorphous_class_tells_the_ellipse(bent, found) -> None:
    truth, frames = bent
    assert found.ellipse.ratio == pytest.approx(1.05, abs=0.004)
    assert found.ellipse.angle_deg == pytest.approx(30.0, abs=2.5)
    given = diffraction.classify(frames, truth.radius_px, ellipse=found.ellipse, second_way=False)
    np.testing.assert_array_equal(given.profiles, found.profiles)
    halo = found.profiles[found.kinds.index("amorphous")]
    assert np.isfinite(halo[5:35]).all()


def test_the_reason_and_the_curve_tell_why(found) -> None:
    tried, gain, sigma = found.curve.T
    assert tried[0] == 1
    assert gain[0] == 0
    assert gain[tried >= 6].min() > gain[tried <= 3].max() > 0
    assert (sigma[1:] > 0).all()
    assert "make 6 classes" in found.reason
    assert found.provenance.function == "diffraction.classify"
    assert found.provenance.parameters["radius_px"] == pytest.approx(4)


def test_one_bent_crystal_stays_one_class(rng) -> None:
    from esteemcore import simulate

    truth = simulate.polycrystal((14, 14), (80, 80), electrons=1500, grains=1, amorphous=0, waves=0.9, seed=4)
    found = diffraction.classify(truth.frames(2), truth.radius_px)
    assert len(found) == 1, found.reason
    assert (found.labels == 0).all()
    assert (found.fractions == 1).all()
    assert found.kinds == ("crystalline",)
    assert found.agreement == 1


def test_noise_of_a_film_is_one_amorphous_class(rng) -> None:
    y, x = np.mgrid[:48, :48] - 24.0
    r = np.hypot(y, x)
    frame = 20 * np.clip(4.5 - r, 0, 1) + np.exp(-(((r - 13) / 3) ** 2))
    found = diffraction.classify(rng.poisson(frame, (12, 12, 48, 48)).astype(np.uint16), 4.0)
    assert (len(found), found.kinds) == (1, ("amorphous",)), found.reason


@pytest.mark.parametrize("n", [3, 5, 8])
def test_a_number_that_is_asked_for_is_given(bent, n) -> None:
    truth, frames = bent
    found = diffraction.classify(frames, truth.radius_px, n, second_way=False)
    assert len(found) == n
    assert set(np.unique(found.labels)) <= set(range(n))
    assert found.reason.startswith(f"{n} asked for")


def test_same_seed_same_classes_and_lazy_arrays_are_no_different(bent, found) -> None:
    truth, frames = bent
    again = diffraction.classify(Lazy(frames), truth.radius_px)
    np.testing.assert_array_equal(again.labels, found.labels)
    np.testing.assert_array_equal(again.fractions, found.fractions)
    np.testing.assert_array_equal(again.patterns, found.patterns)
    assert again.provenance == found.provenance


def test_pieces_do_not_matter(bent, found, monkeypatch) -> None:
    truth, frames = bent
    monkeypatch.setattr("esteemcore.diffraction.counts.PIECE_BYTES", 7 * 80 * 80 * 2)
    monkeypatch.setattr("esteemcore.diffraction.patterns.ROWS", 37)
    again = diffraction.classify(frames, truth.radius_px, second_way=False)
    np.testing.assert_array_equal(again.labels, found.labels)
    np.testing.assert_array_equal(again.patterns, found.patterns)
    np.testing.assert_allclose(again.fractions, found.fractions, atol=1e-3)


class Lazy:
    """An array that is read by slices only, and refuses to be read as a whole."""

    def __init__(self, data) -> None:
        self._data = data
        self.shape, self.dtype = data.shape, data.dtype

    def __getitem__(self, key):
        return self._data[key]


def test_known_disks_are_taken(bent, found) -> None:
    truth, frames = bent
    disks = diffraction.find_disks(frames, truth.radius_px, distortion=found.ellipse.matrix)
    again = diffraction.classify(frames, truth.radius_px, disks=disks)
    np.testing.assert_array_equal(again.other, found.other)


def test_by_density_strangers_have_no_class(rng) -> None:
    """Two crystals, and ten positions that show one reflection of each: k-means makes classes of them, density none."""
    y, x = np.mgrid[:48, :48] - 24.0
    shown = np.zeros((18, 18, 8))
    shown[:, :9, :4], shown[:, 9:, 4:] = 1, 1
    strange = (np.array([2, 5, 9, 12, 15, 16, 3, 8, 1, 16]), np.array([4, 14, 2, 12, 5, 15, 11, 6, 15, 2]))
    shown[strange] = [1, 0, 0, 0, 0, 0, 1, 0]
    angle = np.append(0.2 + np.pi / 2 * np.arange(4), 0.7 + np.pi / 2 * np.arange(4))[:, None, None]
    spots = np.hypot(y - 14 * np.sin(angle), x - 14 * np.cos(angle)) < 3
    frames = rng.poisson(0.02 + 4 * (np.hypot(y, x) < 3) + 3 * np.tensordot(shown, spots, 1))
    split = diffraction.classify(frames, 3.0, 2, second_way="kmeans").other
    assert split.min() == 0
    assert split.max() > 1
    found = diffraction.classify(frames, 3.0, 2, second_way="hdbscan")
    assert np.unique(found.other).tolist() == [-1, 0, 1]
    assert (found.other[strange] < 0).sum() >= 3
    assert (found.other < 0).sum() < 0.1 * found.other.size
    assert found.agreement > 0.95
    without = ((found.other < 0) & (found.labels >= 0)).sum()
    assert sum(f"disks of {without} positions" in note for note in found.notes) == (without > 0)
    few = " ".join(diffraction.classify(frames[:1, :10], 3.0, 1, second_way="hdbscan").notes)
    assert "too few Bragg disks" in few  # then none of them is like too few others
    assert "by density" not in few
    with pytest.raises(ParameterError, match="second_way is 'dbscan'; expected one of 'kmeans', 'hdbscan'"):
        diffraction.classify(frames, 3.0, second_way="dbscan")
    for neither in (None, 1):
        with pytest.raises(ParameterError, match=f"second_way is {neither}; expected True, False, 'kmeans' or 'hdb"):
            diffraction.classify(frames, 3.0, second_way=neither)


def test_provenance_tells_inputs_apart(rng) -> None:
    """Counts in the beam are in the patterns, disks in the agreement, and both in the provenance."""
    frames = rng.poisson(np.broadcast_to(square(0.2), (6, 6, 64, 64)))
    brighter = frames.copy()
    brighter[..., 31:34, 31:34] += 1
    table = diffraction.find_disks(frames, 4.0, passes=1)
    cases = (frames, None), (brighter, None), (frames, table), (frames, table.select(np.arange(len(table) - 1)))
    runs = [
        diffraction.classify(data, 4.0, 1, disks=disks, second_way=disks is not None).provenance
        for data, disks in cases
    ]
    assert all(runs[i] != runs[j] for i in range(4) for j in range(i))


def test_masked_pixels_make_no_classes(rng) -> None:
    frames = rng.poisson(np.broadcast_to(square(0.2), (8, 8, 64, 64)))
    mask = np.ones((64, 64), bool)
    mask[50:53, 10:40] = False
    frames[:, 4:, 50:53, 10:40] = 90
    found = diffraction.classify(frames, 4.0, mask=mask, second_way=False)
    assert (len(found), found.notes) == (1, ())
    assert len(diffraction.classify(frames, 4.0, second_way=False)) > 1


def test_empty_frames_have_no_class(bent, found) -> None:
    truth, frames = bent
    data = frames.copy()
    data[5, 2:6] = 0
    less = diffraction.classify(data, truth.radius_px, second_way=False)
    assert (less.labels[5, 2:6] == -1).all()
    assert (less.confidence[5, 2:6] == 0).all()
    assert np.isnan(less.fractions[:, 5, 2:6]).all()
    assert (less.labels >= 0).sum() == less.labels.size - 4
    assert any("4 of 400 frames are empty" in note for note in less.notes)


Y, X = np.mgrid[:64, :64] - 32


def square(turn: float, beam: float = 8.0) -> np.ndarray:
    """Rates of a beam and four reflections."""
    around = [np.hypot(Y - 16 * np.sin(a), X - 16 * np.cos(a)) < 4 for a in turn + np.pi / 2 * np.arange(4)]
    return 0.02 + beam * (np.hypot(Y, X) < 4) + 3 * np.sum(around, axis=0)


@pytest.mark.parametrize("left", [0.0, 2e-3])
def test_a_hole_has_no_class(rng, left) -> None:
    """Where only the beam is seen, or hardly more, there is no grain, whatever the neighbours are."""
    rates = np.empty((12, 12, 64, 64))
    rates[:, :6], rates[:, 6:] = square(0.2), left + 8.0 * (np.hypot(Y, X) < 4)
    found = diffraction.classify(rng.poisson(rates), 4.0, 1, second_way=False)
    assert (found.labels[:, :6] == 0).all()
    assert (found.labels[:, 6:] == -1).all()
    assert (found.confidence[:, 6:] == 0).all()
    assert np.isnan(found.fractions[:, :, 6:]).all()
    assert any(note.startswith("72 of 144") and "label is -1" in note for note in found.notes)


def test_a_few_positions_of_another_grain_have_no_class_rather_than_a_wrong_one(rng) -> None:
    rates = np.broadcast_to(square(0.2), (14, 14, 64, 64)).copy()
    rates[5:7, 5:8] = square(0.7)
    found = diffraction.classify(rng.poisson(rates), 4.0, second_way=False)
    assert (found.labels[5:7, 5:8] == -1).all()
    assert (found.labels == 0).sum() == 14 * 14 - 6
    assert found.unexplained[5:7, 5:8].min() > 0.8
    assert np.abs(found.unexplained[found.labels == 0]).max() < 0.1
    assert any("6 of 196 positions look like none" in note for note in found.notes)


def test_bent_grains_are_explained(bent, found) -> None:
    assert (found.labels >= 0).all()
    assert found.unexplained.max() < 0.45


def test_dead_rows_and_hot_pixels_are_filled_and_told(bent) -> None:
    truth, frames = bent
    data = frames.copy()
    data[:, :, 25] = 0
    data[:, :, 60, 11] = 500
    found = diffraction.classify(data, truth.radius_px, second_way=False)
    assert any("row 25 has no counts" in note for note in found.notes)
    assert any("1 hot pixels" in note for note in found.notes)
    assert index(truth, found.labels) > 0.95


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_classes": 401}, "only 400 positions"),
        ({"n_classes": 0}, "n_classes"),
        ({"radius_px": 30}, "radius_px"),
        ({"binning": 70}, "binning"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "seed is 4294967296; expected an integer >= 0 and <= 4294967295"),
        ({"seed": "a"}, "seed is 'a'"),
        ({"disks": "x"}, "disks is of type str"),
        ({"ellipse": (1.05, 30)}, "ellipse is of type tuple"),
        ({"mask": np.ones((3, 3))}, r"mask has shape \(3, 3\)"),
        ({"data4d": np.full((3, 3, 40, 40), 7), "radius_px": 4}, "all values of data4d are 7"),
        ({"data4d": np.zeros((3, 3, 40, 40), int), "radius_px": 4}, "no counts"),
        ({"data4d": np.ones((3, 40, 40))}, "four axes"),
    ],
)
def test_bad_arguments_are_errors_in_words(bent, change, words) -> None:
    truth, frames = bent
    with pytest.raises(ParameterError, match=words):
        diffraction.classify(**{"data4d": frames, "radius_px": truth.radius_px, **change})


@pytest.mark.parametrize(("value", "words"), [(np.nan, "NaN"), (-1.0, "which counts cannot be"), (0.5, "fractions")])
def test_what_counts_cannot_be_is_refused(bent, value, words) -> None:
    truth, frames = bent
    data = frames.astype(np.float32)
    data[3, 3, 4, 4] = value
    with pytest.raises(ParameterError, match=words):
        diffraction.classify(data, truth.radius_px)


def test_units_of_a_camera_are_no_electrons(bent) -> None:
    truth, frames = bent
    with pytest.raises(ParameterError, match="multiples of 50"):
        diffraction.classify(50 * frames, truth.radius_px)


def test_too_few_positions_and_too_many_classes_are_told(bent) -> None:
    truth, frames = bent
    found = diffraction.classify(frames[:4, :4], truth.radius_px, second_way=False)
    assert any("16 positions are too few" in note for note in found.notes)
    found = diffraction.classify(frames, truth.radius_px, 45, second_way=False)
    assert 12 <= len(found) < 45  # not fewer than where fewer are asked for
    assert any("45 classes were asked for" in note for note in found.notes)


def test_a_beam_alone_cannot_be_classified(rng) -> None:
    y, x = np.mgrid[:48, :48]
    data = rng.poisson(9.0 * (np.hypot(y - 24, x - 24) < 4), (4, 4, 48, 48)).astype(np.uint16)
    with pytest.raises(ParameterError, match="no electron outside the direct beam"):
        diffraction.classify(data, 4.0)


def test_it_can_be_cancelled_and_tells_its_progress(bent) -> None:
    truth, frames = bent
    told: list[float] = []
    diffraction.classify(frames[:8], truth.radius_px, second_way=False, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1
    stop = threading.Event()
    stop.set()
    with pytest.raises(CancelledError):
        diffraction.classify(frames, truth.radius_px, cancel=stop)
