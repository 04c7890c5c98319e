"""Motifs: found where they are, no more by chance than theory says, and averaged with every count kept."""

from __future__ import annotations

import dataclasses
import threading
import weakref

import numpy as np
import pytest

from esteemcore import errors, events, register
from esteemcore.register.alignment import Alignment
from esteemcore.register.motif_correlation import Correlator, rotated

MOTIF = (17, 15)


def blobs(shape, places, angles=None, width=2.0) -> np.ndarray:
    """Return an image with three unlike columns around each place, which have no symmetry, on a level of 1."""
    y, x = np.indices(shape).astype(float)
    image = np.ones(shape)
    angles = np.zeros(len(places)) if angles is None else np.deg2rad(angles)
    for (row, column), a in zip(places, angles, strict=True):
        for dy, dx, height in ((-3.2, 0.0, 3.0), (2.5, 2.8, 2.0), (2.0, -3.1, 1.2)):
            # turned from x towards y
            py, px = row + np.cos(a) * dy + np.sin(a) * dx, column - np.sin(a) * dy + np.cos(a) * dx
            image += height * np.exp(-((y - py) ** 2 + (x - px) ** 2) / (2 * width**2))
    return image


def motif(angle=0.0, shape=MOTIF) -> np.ndarray:
    return blobs(shape, [((shape[0] - 1) / 2, (shape[1] - 1) / 2)], [angle])


def aligned(field, shape, accepted=None, mean=None) -> Alignment:
    field = np.asarray(field, np.float32)
    n = len(field)
    accepted = np.ones(n, bool) if accepted is None else np.asarray(accepted, bool)
    return Alignment(
        shifts=field.mean(axis=tuple(range(1, field.ndim - 1)), dtype=np.float64),
        field=field,
        common_region=np.ones(shape, bool),
        quality=np.ones(n),
        accepted=accepted,
        reasons=tuple("" if a else "another area" for a in accepted),
        model="scanline",
        shape=shape,
        mean=np.zeros(shape, np.float32) if mean is None else mean,
    )


def at(places, shape, frames=1, frame=None, angle=None, size=MOTIF, common=True, aligned=False):
    """Return places that are known, in the form in which places are found."""
    found = register.find_motif(np.pad(motif(), 20), motif(), 0.9)
    y, x = np.asarray(places, float).reshape(-1, 2).T
    return dataclasses.replace(
        found,
        frame=np.zeros(len(y), np.int64) if frame is None else np.asarray(frame, np.int64),
        y=y,
        x=x,
        angle_deg=np.zeros(len(y)) if angle is None else np.asarray(angle, float),
        score=np.ones(len(y)),
        shape=size,
        image_shape=shape,
        frames=frames,
        common=common,
        aligned=aligned,
    )


def spread_places(rng, n, shape, apart=20.0, rim=12.0) -> np.ndarray:
    chosen: list[np.ndarray] = []
    while len(chosen) < n:
        place = rng.uniform(rim, np.array(shape) - 1 - rim)
        if all(np.hypot(*(place - other)) > apart for other in chosen):
            chosen.append(place)
    return np.array(chosen)


def matched(found, true) -> np.ndarray:
    """Return the errors (dy, dx) of the nearest found place of each true one."""
    given = np.stack([found.y, found.x], -1)
    distance = np.hypot(*(true[:, None] - given[None]).transpose(2, 0, 1))
    nearest = distance.argmin(axis=1)
    assert len(set(nearest.tolist())) == len(true)
    return given[nearest] - true


def test_known_places_are_found_without_bias(rng) -> None:
    true = spread_places(rng, 40, (256, 256))
    found = register.find_motif(blobs((256, 256), true), motif(), 0.8)
    assert found.count == len(found) == len(true)
    assert (found.angle_deg == 0).all()
    assert (found.frame == 0).all()
    assert found.common
    assert found.frames == 1
    assert (np.diff(found.score) <= 0).all()
    assert found.score.min() > 0.95
    error = matched(found, true)
    assert np.abs(error).max() < 0.08
    assert np.abs(error.mean(axis=0)).max() < 0.01


def test_noise_does_not_pull_places(rng) -> None:
    true = spread_places(rng, 40, (256, 256))
    found = register.find_motif(rng.poisson(10 * blobs((256, 256), true)), motif(), 0.6)
    assert found.count == len(true)
    error = matched(found, true)
    assert 0.01 < error.std() < 0.25
    assert np.abs(error.mean(axis=0)).max() < 4 * error.std() / np.sqrt(len(true)) + 0.01


def test_brightness_and_contrast_do_not_matter(rng) -> None:
    image = rng.poisson(20 * blobs((90, 100), spread_places(rng, 6, (90, 100))))
    one, other = (register.find_motif(i, motif(), 0.7) for i in (image, 1e3 + 1e-3 * image))
    assert one.count == 6
    for name in ("y", "x", "score"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-6)


@pytest.mark.parametrize("shapes", [((31, 40), (7, 6)), ((9, 9), (9, 9)), ((12, 30), (1, 5))])
def test_the_score_is_pearsons_wherever_both_were_measured(rng, shapes) -> None:
    image, template = rng.normal(5, 2, shapes[0]), rng.normal(size=shapes[1])
    valid, part = rng.random(shapes[0]) > 0.2, rng.random(shapes[1]) > 0.2
    score, pixels = Correlator(np.where(valid, image, 0), valid, shapes[1]).score(np.where(part, template, 0), part)
    rows, columns = shapes[1]
    wide = [np.pad(a, [(rows - 1,) * 2, (columns - 1,) * 2], constant_values=v) for a, v in ((image, 0), (valid, 0))]
    for p in range(score.shape[0]):
        for q in range(score.shape[1]):
            here = wide[1][p : p + rows, q : q + columns].astype(bool) & part
            assert pixels[p, q] == here.sum()
            if here.sum() > 2:
                expected = np.corrcoef(wide[0][p : p + rows, q : q + columns][here], template[here])[0, 1]
                assert score[p, q] == pytest.approx(expected, abs=1e-9)
            else:
                assert score[p, q] == 0


def test_the_score_is_that_of_scikit_image(rng) -> None:
    feature = pytest.importorskip("skimage.feature", reason="scikit-image is not installed")
    image, template = rng.poisson(5, (60, 70)).astype(float), rng.poisson(5, (9, 12)).astype(float)
    score, _ = Correlator(image, np.ones(image.shape, bool), template.shape).score(
        template, np.ones(template.shape, bool)
    )
    np.testing.assert_allclose(score[8:-8, 11:-11], feature.match_template(image, template), atol=1e-9)


@pytest.mark.parametrize("threshold", [0.3, 0.45])
def test_noise_passes_as_often_as_theory_says(rng, threshold) -> None:
    template, images = rng.normal(size=(7, 8)), rng.normal(size=(8, 200, 200))
    found = register.find_motif(images, template, threshold, visible=1.0)
    assert found.frames == 8
    assert not found.common
    everywhere, part = np.ones((200, 200), bool), np.ones((7, 8), bool)
    passed = sum(
        int((Correlator(i, everywhere, (7, 8)).score(template, part)[0][6:-6, 7:-7] >= threshold).sum()) for i in images
    )
    assert passed == pytest.approx(found.expected_false, abs=4 * np.sqrt(found.expected_false) + 1)
    assert 0 < found.count <= passed


def test_of_close_places_the_better_is_kept() -> None:
    first, second = (40.0, 40.0), (40.0, 49.0)
    image = blobs((80, 90), [first, second])
    assert register.find_motif(image, motif(), 0.3, overlap=0.0).count == 1
    for overlap in (0.0, 0.4, 0.7):
        found = register.find_motif(np.random.default_rng(0).normal(size=(90, 90)), motif(), 0.1, overlap)
        distance = np.hypot(found.y[:, None] - found.y, found.x[:, None] - found.x)[~np.eye(found.count, dtype=bool)]
        assert found.count > 5
        assert distance.min() >= (1 - overlap) * 15


def test_turned_copies_are_found_with_their_angle(rng) -> None:
    true = spread_places(rng, 9, (150, 150), apart=28, rim=14)
    angle = np.tile([0.0, 30.0, 200.0], 3)
    found = register.find_motif(
        blobs((150, 150), true, angle), motif(), 0.85, rotations_deg=[0, 30, 60, 200, 300], visible=1.0
    )
    assert found.count == 9
    error = matched(found, true)
    assert np.abs(error).max() < 0.1
    nearest = np.hypot(*(np.stack([found.y, found.x], -1)[:, None] - true).transpose(2, 0, 1)).argmin(axis=1)
    np.testing.assert_array_equal(found.angle_deg, angle[nearest])


@pytest.mark.parametrize("angle", [90.0, -90.0, 180.0, 37.0])
def test_a_turned_motif_is_the_motif_turned(angle) -> None:
    turned, part = rotated(motif(), np.ones(MOTIF, bool), angle)
    np.testing.assert_allclose(turned[part], motif(angle, turned.shape)[part], atol=0.02)
    if angle in (90.0, -90.0):
        np.testing.assert_allclose(turned, np.rot90(motif(), -round(angle / 90)), atol=1e-9)
        assert part.all()


def test_what_was_not_measured_is_left_out(rng) -> None:
    true = spread_places(rng, 8, (120, 120))
    image = blobs((120, 120), true)
    mask = rng.random((120, 120)) < 0.6
    spoiled = np.where(mask, image, 1e4)
    found = register.find_motif(spoiled, motif(), 0.8, masks=mask, visible=0.4)
    assert found.count == 8
    assert np.abs(matched(found, true)).max() < 0.15
    other = register.find_motif(np.where(mask, image, np.nan), motif(), 0.8, visible=0.4)
    np.testing.assert_allclose(found.y, other.y)
    assert register.find_motif(spoiled, motif(), 0.8, masks=mask, visible=0.9).count == 0
    hole = motif()
    hole[:4, :4] = np.nan
    assert register.find_motif(image, hole, 0.8).count == 8


def test_an_alignment_is_searched_in_its_mean(rng) -> None:
    true = spread_places(rng, 5, (80, 80))
    alignment = aligned(np.zeros((3, 80, 2)), (80, 80), mean=blobs((80, 80), true).astype(np.float32))
    found = register.find_motif(alignment, motif(), 0.8)
    assert found.count == 5
    assert found.common
    assert found.aligned
    assert found.frames == 3


def test_the_whole_frame_as_a_motif_is_the_accumulation(rng) -> None:
    frames = rng.poisson(0.5, (4, 9, 12, 5)).astype(np.uint8)
    masks = rng.random((4, 9, 12)) < 0.8
    shifts = np.array([0.0, 1.0, -0.5, 2.25])
    for field in (rng.normal(0, 1.5, (4, 9, 2)), rng.normal(0, 1.5, (4, 9, 12, 2))):
        alignment = aligned(field, (9, 12), [True, True, False, True])
        places = at([(4.0, 5.5)], (9, 12), 4)
        for upsample, drop, kind in ((1, 1.0, "counting"), (2, 0.5, "counting"), (3, 0.8, "between")):
            arguments = {"drop_px": drop, "masks": masks, "energy_shift_channels": shifts, "dtype": "float64"}
            whole = register.accumulate(alignment, frames, upsample, kind, **arguments)
            motif_sum = register.average_motif(places, frames, alignment, (9, 12), upsample, kind, **arguments)
            for name in ("data", "variance", "coverage", "channel_coverage", "mean", "mean_variance"):
                np.testing.assert_allclose(getattr(motif_sum, name), getattr(whole, name), atol=1e-9, err_msg=name)
            assert (motif_sum.count, motif_sum.frames) == (3, 3)


def twin(frame, taken, places, angles, box) -> np.ndarray:
    """Share every sample bilinearly among the pixels around its place in the motif."""
    out = np.zeros((*box, frame.shape[2]))
    for (y, x), a in zip(places, np.deg2rad(angles), strict=True):
        for i, j in np.ndindex(frame.shape[:2]):
            dy, dx = taken[i, j] - (y, x)
            u = np.cos(a) * dy - np.sin(a) * dx + (box[0] - 1) / 2
            v = np.sin(a) * dy + np.cos(a) * dx + (box[1] - 1) / 2
            for p in (int(np.floor(u)), int(np.floor(u)) + 1):
                for q in (int(np.floor(v)), int(np.floor(v)) + 1):
                    if 0 <= p < box[0] and 0 <= q < box[1]:
                        out[p, q] += (1 - abs(u - p)) * (1 - abs(v - q)) * frame[i, j]
    return out


@pytest.mark.parametrize("per_pixel", [False, True])
def test_samples_fall_where_they_belong_in_the_motif(rng, per_pixel) -> None:
    shape, box = (14, 15), (5, 7)
    frame = rng.poisson(2.0, (*shape, 3)).astype(np.uint16)
    field = rng.normal(0, 1, (1, *shape, 2) if per_pixel else (1, 14, 2)).astype(np.float32)
    true, angles = rng.uniform(0, 14, (6, 2)), [0.0, 10.0, 45.0, 90.0, -120.0, 180.0]
    taken = np.moveaxis(np.indices(shape), 0, -1) + (field[0] if per_pixel else field[0][:, None]).astype(float)
    expected = twin(frame, taken, true, angles, box)
    for given in (frame, events.SparseSI.from_dense(frame)):
        result = register.average_motif(
            at(true, shape, angle=angles), [given], aligned(field, shape), box, dtype="float64"
        )
        np.testing.assert_allclose(result.data, expected, atol=1e-9)


def test_dense_frames_and_events_agree(rng) -> None:
    frames = rng.poisson(0.1, (3, 40, 40, 16)).astype(np.uint8)
    alignment = aligned(rng.normal(0, 1, (3, 40, 2)), (40, 40))
    places = at(rng.uniform(0, 39, (9, 2)), (40, 40), 3)
    sparse = events.SparseSI.from_dense(frames)
    for kind in ("counting", "between"):
        dense, few, some = (
            register.average_motif(places, given, alignment, 11, 2, kind, dtype="float64")
            for given in (frames, sparse, (events.SparseSI.from_dense(f) for f in frames))
        )
        for other in (few, some):
            np.testing.assert_allclose(other.data, dense.data, atol=1e-9)
            np.testing.assert_allclose(other.variance, dense.variance, atol=1e-9)
            np.testing.assert_array_equal(other.coverage, dense.coverage)
    assert register.average_motif(places, sparse, alignment).data.dtype == np.float32
    np.testing.assert_allclose(dense.data.sum(-1) / dense.coverage, dense.image)


def test_copies_add_up_and_their_noise_falls_with_the_root_of_their_number() -> None:
    rng = np.random.default_rng(4)
    cell = 1 + blobs((16, 16), [(8, 8)])
    truth = np.tile(cell, (8, 8))
    centres = np.stack(np.meshgrid(*[np.arange(8) * 16 + 7.5] * 2, indexing="ij"), -1).reshape(-1, 2)
    exact = register.average_motif(at(centres, truth.shape), [truth], size=16)
    np.testing.assert_allclose(exact.data, 64 * cell)
    np.testing.assert_array_equal(exact.coverage, 64)
    assert exact.count == 64
    assert exact.data.ndim == 2
    np.testing.assert_allclose(exact.variance, 0, atol=1e-6)  # all copies are alike
    spread = []
    for chosen in (centres[:4], centres):
        counts = rng.poisson(5 * truth, (40, 128, 128))
        sums = [register.average_motif(at(chosen, truth.shape), [c], size=16) for c in counts]
        spread.append(np.std([s.mean for s in sums], axis=0, ddof=1).mean())
        np.testing.assert_allclose(np.mean([s.mean_variance for s in sums], axis=0).mean(), spread[-1] ** 2, rtol=0.1)
        total = np.mean([s.data for s in sums], axis=0)
        assert total.sum() == pytest.approx(5 * len(chosen) * cell.sum(), rel=0.01)
    assert spread[0] / spread[1] == pytest.approx(4, rel=0.08)


@pytest.mark.parametrize("kind", ["counting", "between"])
def test_the_variance_is_that_of_the_sum(kind) -> None:
    rng = np.random.default_rng(7)
    places = at(rng.uniform(6, 33, (12, 2)) // 8 * 8 + rng.random((12, 2)), (40, 40), angle=rng.uniform(0, 360, 12))
    _, first = np.unique(np.stack([places.y // 8, places.x // 8]), axis=1, return_index=True)
    places = at(np.stack([places.y, places.x], -1)[first], (40, 40), angle=places.angle_deg[first])
    sums = [register.average_motif(places, [rng.poisson(3.0, (40, 40))], None, 5, 1, kind) for _ in range(500)]
    true = np.var([s.data for s in sums], axis=0, ddof=1)
    np.testing.assert_allclose(np.mean([s.variance for s in sums], axis=0) / true, 1, atol=0.35)
    assert np.mean([s.variance for s in sums], axis=0).mean() == pytest.approx(true.mean(), rel=0.06)


def test_a_turned_copy_is_turned_back(rng) -> None:
    true = spread_places(rng, 12, (160, 160), apart=28, rim=14)
    angle = rng.uniform(0, 360, 12)
    image = blobs((160, 160), true, angle)
    average = register.average_motif(at(true, image.shape, angle=angle), [image])
    assert np.corrcoef(average.mean.ravel(), motif().ravel())[0, 1] > 0.97
    straight = register.average_motif(at(true, image.shape), [image])
    assert np.corrcoef(straight.mean.ravel(), motif().ravel())[0, 1] < 0.9


def test_copies_at_fractions_of_a_pixel_show_what_one_does_not() -> None:
    rng = np.random.default_rng(1)
    period = 1.6  # px: beyond the Nyquist frequency of the frames
    centres = rng.uniform(10, 53, (400, 2))
    y = np.arange(64.0)
    sums = []
    for centre in centres:
        frames = [np.broadcast_to(1 + np.cos(2 * np.pi * (y - centre[0]) / period)[:, None], (64, 64))]
        sums.append(register.average_motif(at([centre], (64, 64)), frames, size=8, upsample=4, variance=False))
    mean = sum(s.data for s in sums) / sum(s.coverage for s in sums)
    profile = mean.mean(axis=1)
    fine = (np.arange(32) + 0.5) / 4 - 4
    expected = np.cos(2 * np.pi * fine / period)
    amplitude = 2 * np.mean((profile - profile.mean()) * expected)
    # two linear blurs of one fine pixel: the bilinear share of each sample, and the pixel it is counted in
    assert amplitude == pytest.approx(np.sinc(0.25 / period) ** 2, abs=0.06)


def test_places_of_a_frame_move_with_its_alignment(rng) -> None:
    true = spread_places(rng, 6, (120, 120), rim=20)
    frames, found = [], []
    field = np.zeros((3, 120, 2)) + np.array([[0.0, 0.0], [3.4, -2.2], [-5.0, 6.5]])[:, None]
    for k in range(3):
        frames.append(blobs((120, 120), true - field[k, 0]))
        found.append(true - field[k, 0])
    series = np.array(frames)
    places = register.find_motif(series, motif(), 0.9)
    assert places.count == 18
    assert not places.common
    for alignment in (None, aligned(field, (120, 120))):
        average = register.average_motif(places, series, alignment)
        assert average.count == 18
        assert average.frames == 3
        assert np.corrcoef(average.mean.ravel(), motif().ravel())[0, 1] > 0.98
        assert average.coverage.mean() == pytest.approx(18, abs=0.5)
    some = register.average_motif(places, series, aligned(field, (120, 120), [True, False, True]))
    assert some.count == 12
    assert some.frames == 2
    common = register.find_motif(series[0], motif(), 0.9)
    together = register.average_motif(common, series, aligned(field, (120, 120)))
    assert together.count == 18
    np.testing.assert_allclose(together.data, average.data, atol=0.15 * average.data.max())
    blurred = register.average_motif(common, series, aligned(0 * field, (120, 120)))
    assert blurred.mean.max() < 0.8 * together.mean.max()


@pytest.mark.parametrize("sparse", [False, True])
def test_one_frame_is_alive_at_a_time_and_rejected_ones_are_not_read(rng, sparse) -> None:
    alive: list[weakref.ref] = []

    def frames():
        for k in range(5):
            assert sum(ref() is not None for ref in alive) == 0
            if k == 2:
                yield object()
                continue
            frame = rng.poisson(0.2, (20, 20, 4)).astype(np.uint8)
            if sparse:
                frame = events.SparseSI.from_dense(frame)
            alive.append(weakref.ref(frame.channel if sparse else frame))
            yield frame
            del frame

    alignment = aligned(np.zeros((5, 20, 2)), (20, 20), [True, True, False, True, True])
    result = register.average_motif(at([(10, 10)], (20, 20), 5), frames(), alignment, 5)
    assert result.frames == len(alive) == 4


def test_progress_cancel_and_purity(rng) -> None:
    frames = rng.poisson(1.0, (3, 20, 20))
    places, alignment = at([(10, 10)], (20, 20), 3), aligned(np.zeros((3, 20, 2)), (20, 20))
    seen: list[float] = []
    once = register.average_motif(places, frames, alignment, progress=seen.append)
    assert seen[-1] == 1
    assert seen == sorted(seen)
    again = register.average_motif(places, frames, alignment)
    np.testing.assert_array_equal(once.data, again.data)
    assert once.provenance.function == "register.average_motif"
    stop = threading.Event()
    stop.set()
    with pytest.raises(errors.CancelledError):
        register.average_motif(places, frames, alignment, cancel=stop)
    with pytest.raises(errors.CancelledError):
        register.find_motif(frames, np.eye(3), cancel=stop)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"motif": np.ones((5, 5))}, "no contrast"),
        ({"motif": np.full((5, 5), np.nan)}, "no contrast"),
        ({"motif": np.eye(41)}, "smaller motif"),
        ({"motif": np.eye(5) * 1j}, "real numbers"),
        ({"motif": np.arange(5.0)}, "expected real numbers"),
        ({"image": np.zeros((2, 2, 2, 2))}, "expected real numbers"),
        ({"image": np.zeros((0, 40, 40))}, "image"),
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": 1.0}, "threshold"),
        ({"overlap": 1.0}, "overlap"),
        ({"overlap": np.nan}, "overlap"),
        ({"visible": 1.2}, "visible"),
        ({"rotations_deg": []}, "rotations_deg"),
        ({"rotations_deg": [np.inf]}, "rotations_deg"),
        ({"masks": np.ones((4, 4), bool)}, "masks"),
    ],
)
def test_searches_that_make_no_sense(change, words) -> None:
    with pytest.raises(errors.ParameterError, match=words):
        register.find_motif(**({"image": np.random.default_rng(0).normal(size=(40, 40)), "motif": np.eye(5)} | change))


def test_nothing_is_found_in_nothing() -> None:
    for image in (np.zeros((30, 30)), np.full((30, 30), np.nan), np.full((30, 30), 7.3)):
        found = register.find_motif(image, np.eye(5))
        assert found.count == 0
        assert found.expected_false >= 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"places": [(1, 2)]}, "find_motif"),
        ({"places": at(np.zeros((0, 2)), (20, 20), 2)}, "no places"),
        ({"places": at([(9, 9)], (20, 20), 2, aligned=True), "alignment": None}, "alignment="),
        ({"places": at([(9, 9)], (21, 20), 2)}, r"\(21, 20\)"),
        ({"places": at([(9, 9)], (20, 20), 3, common=False)}, "2 frames"),
        ({"places": at([(1e6, 9)], (20, 20), 2)}, "near any place"),
        ({"alignment": aligned(np.zeros((2, 20, 2)), (20, 20), [False, False])}, "accepted"),
        ({"alignment": None, "places": at([(9, 9)], (20, 20), 1)}, r"more than the 1 frames.*\[frame\]"),
        ({"spectrum_images": np.ones((3, 20, 20))}, "more than the 2"),
        ({"spectrum_images": np.ones((1, 20, 20))}, "only 1"),
        ({"spectrum_images": np.ones((2, 20, 19))}, r"\(20, 19\)"),
        ({"spectrum_images": [np.ones((20, 20)), np.ones((20, 20, 3))]}, "frame 1"),
        ({"spectrum_images": np.ones((2, 20, 20, 3, 3))}, "a frame has shape"),
        ({"spectrum_images": np.full((2, 20, 20), np.nan)}, "not finite"),
        ({"spectrum_images": np.full((2, 20, 20), "a")}, "real numbers"),
        ({"spectrum_images": 3}, "expected frames"),
        ({"size": (3, 0)}, "size"),
        ({"size": 2.5}, "size"),
        ({"upsample": 9}, "upsample"),
        ({"drop_px": 0.2}, "drop_px"),
        ({"variance": "poisson"}, "variance"),
        ({"variance": "between", "dtype": "float32"}, "float64"),
        ({"dtype": "int32"}, "dtype"),
        ({"masks": np.zeros((20, 20), bool)}, "near any place"),
        ({"masks": np.zeros((20, 19), bool)}, "masks"),
        ({"energy_shift_channels": [1.0]}, "energy_shift"),
    ],
)
def test_averages_that_make_no_sense(change, words) -> None:
    arguments = {
        "places": at([(9.0, 9.0)], (20, 20), 2),
        "spectrum_images": np.ones((2, 20, 20)),
        "alignment": aligned(np.zeros((2, 20, 2)), (20, 20)),
        "size": 5,
    }
    with pytest.raises(errors.ParameterError, match=words):
        register.average_motif(**(arguments | change))
