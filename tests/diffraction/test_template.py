"""Apertures of any pattern: the image of the probe in vacuum is looked for, and placed as well as the counts allow."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from known_aperture import RADIUS, aperture, least_variance, pattern
from scipy import optimize
from scipy.spatial import cKDTree

from esteemcore import diffraction, errors, events, stream
from esteemcore.diffraction import template as module
from esteemcore.diffraction.disk_rows import NOTHING_FOUND
from esteemcore.diffraction.template_fit import rows_of_template
from esteemcore.diffraction.template_search import STEPS, template_look

SHAPE = (72, 72)


@pytest.fixture(scope="module")
def template() -> diffraction.Template:
    vacuum = np.random.default_rng(0).poisson(aperture((40, 40), (19.3, 20.6), 1e6) + 0.2)
    return diffraction.learn_template(vacuum, RADIUS)


def simulated(electrons: float, n: int, seed: int = 1):
    """Return frames (1, n, ky, kx) and what is in them."""
    rng = np.random.default_rng(seed)
    truth = [pattern(rng, electrons, SHAPE) for _ in range(n)]
    return rng.poisson(np.array([image for image, _, _ in truth])).astype(np.uint16)[None], truth


def look_of(template, shape):
    known = np.zeros((0, 2)), np.zeros((0, 3)), np.zeros((0, 3))
    return template_look(template, np.ones(shape, bool), 4.0, np.full((1, 2), np.nan), np.eye(2), known)


def test_the_image_of_the_probe(template) -> None:
    assert template.values.sum() == pytest.approx(np.pi * RADIUS**2)
    corner = np.array([19.3, 20.6]) - np.array(template.center)
    assert np.abs(corner - np.round(corner)).max() < 0.02  # the centre of the electrons, within their noise
    true = aperture((40, 40), (19.3, 20.6), np.pi * RADIUS**2)
    y, x = np.round(corner).astype(int)
    n = len(template.values)
    assert np.abs(template.values - true[y : y + n, x : x + n]).max() < 0.05  # of 2.5


@pytest.mark.parametrize(("electrons", "frames"), [(150, 30), (2000, 12)])
def test_places_are_as_sure_as_the_counts_allow(template, electrons, frames) -> None:
    """Recall, false disks, error beside the bound of Cramer and Rao, stated errors, electrons; disks that are plain."""
    data, truth = simulated(electrons, frames)
    table = diffraction.find_disks(data, RADIUS, probe=template, passes=1)
    off, bound, sigma, seen, held, found, false = [], [], [], [], [], 0, 0
    for i, (rate, places, number) in enumerate(truth):
        mine = table.select(table.frame == i)
        at = np.stack([mine.y, mine.x], axis=1).astype(float)
        distance, which = cKDTree(places).query(at)
        near = distance < 2
        false, found = false + int((~near).sum()), found + len(set(which[near]))
        off.append((at - places[which])[near])
        sigma.append(mine.sigma_px[near])
        seen.append(mine.intensity[near])
        held.append(number[which[near]])
        bound += [least_variance(SHAPE, places[k], number[k], rate) for k in which[near]] if i < 4 else []
    error, stated = np.concatenate(off), np.concatenate(sigma).astype(float)
    assert found >= 0.98 * 5 * frames
    assert false <= 0.1 * frames
    assert np.sqrt((error**2).sum(axis=1).mean()) < 1.3 * np.sqrt(np.mean(bound))
    assert 0.8 < np.sqrt(((error / stated[:, None]) ** 2).mean()) < 1.35
    assert np.sum(seen) / np.sum(held) == pytest.approx(1, abs=0.04) if electrons > 1000 else True
    assert table.notes == ()


def test_plain_disks_are_a_worse_likeness(template) -> None:
    """One pass of each: the second pass over plain disks learns the rings, though not the bar."""
    data, truth = simulated(150, 20)
    places = [np.array(places) for _, places, _ in truth]
    rms = []
    for probe in (None, template):
        table = diffraction.find_disks(data, RADIUS, probe=probe, passes=1)
        off = [cKDTree(places[f]).query((y, x))[0] for f, y, x in zip(table.frame, table.y, table.x, strict=True)]
        rms.append(np.sqrt(np.mean([distance**2 for distance in off if distance < 2])))
    assert rms[1] < 0.9 * rms[0]


def test_the_fit_is_the_likeliest_place(template) -> None:
    """Against a general minimiser on the same likelihood, which knows no derivative."""
    rng = np.random.default_rng(3)
    shape = (32, 32)
    counts = rng.poisson(aperture(shape, (15.7, 16.4), 800) + 0.5)
    look = look_of(template, shape)
    row = rows_of_template(counts[None], slice(None), look, *NOTHING_FOUND)[1][0].astype(float)
    y, x = np.round(row[:2]).astype(int)
    dy, dx = look.place.astype(int)[:, : len(look.own)]
    seen = counts[y + dy, x + dx]

    def unlikely(p):
        background, height, tilt_y, tilt_x, cy, cx = p
        v, u = cy + 0.5, cx + 0.5
        i, j = np.clip((np.array([v, u]) * STEPS).astype(int), 0, STEPS - 1)
        a, b = v * STEPS - i, u * STEPS - j
        corners = look.table[i : i + 2, j : j + 2, 0, : len(look.own)]
        shape_ = np.tensordot(np.outer([1 - a, a], [1 - b, b]), corners, 2)
        inside = 1 + (tilt_y * (dy - cy) + tilt_x * (dx - cx)) / RADIUS
        rate = np.maximum(background + height * inside * shape_, 1e-3)
        return (rate - seen * np.log(rate)).sum() + (tilt_y**2 + tilt_x**2) / (2 * 0.35**2)

    start = [row[5], row[2] / (np.pi * RADIUS**2), row[6], row[7], row[0] - y, row[1] - x]
    best = optimize.minimize(unlikely, start, method="Nelder-Mead", options={"maxiter": 3000, "xatol": 1e-4})
    np.testing.assert_allclose(row[:2], best.x[4:] + np.array([y, x]), atol=0.3 * row[3])


def test_noise_has_hardly_any_disks(template, rng) -> None:
    table = diffraction.find_disks(rng.poisson(0.5, (4, 8, *SHAPE)), RADIUS, probe=template)
    assert len(table) / 32 < 0.3


def same(found, other) -> None:
    for name in ("frame", "y", "x", "intensity", "sigma_px", "score", "tilt_y", "measured_radius_px"):
        np.testing.assert_array_equal(getattr(found, name), getattr(other, name))


@pytest.mark.parametrize("electrons", [30, 4000])
def test_events_and_threads_change_nothing(template, electrons) -> None:
    """Few electrons are added up one by one, many by Fourier transforms, from events as well as from frames."""
    frames = np.tile(simulated(electrons, 5)[0][0], (14, 1, 1))  # more than one thread takes
    spec = stream.Spec((7, 10), SHAPE, np.uint16)
    chunk = stream.Chunk(np.arange(70), events=events.events_from_frames(frames))
    first = [
        stream.run({"d": diffraction.Disks(RADIUS, probe=template, threads=threads)}, spec, [some])["d"]
        for some, threads in ((stream.Chunk(np.arange(70), frames), 1), (chunk, 2))
    ]
    same(*first)
    reducers = [diffraction.Disks(RADIUS, probe=template, found=first[0], threads=threads) for threads in (1, 2)]
    again = [
        stream.run({"d": reducer}, spec, [some])["d"]
        for reducer, some in zip(reducers, (stream.Chunk(np.arange(70), frames), chunk), strict=True)
    ]
    same(*again)
    assert len(again[0]) == len(first[0])
    assert np.abs(again[0].y - first[0].y).max() > 0


def test_a_second_pass_learns_what_reflections_have_in_common(template) -> None:
    """Tilts that are the same in all frames, and are known no more than a usual spread before."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    beam, places = np.full(2, 36.0), []
    turn = 0.4 + np.pi / 2 * np.arange(4)
    lattice = np.vstack([beam, beam + 22 * np.stack([np.sin(turn), np.cos(turn)], axis=1)])
    tilts = np.array([[0, 0], [0.6, 0.1], [-0.2, 0.5], [0.4, -0.4], [-0.5, 0.3]])
    frames = np.empty((40, *SHAPE), np.uint16)
    for frame in frames:
        places.append(lattice + rng.uniform(-0.5, 0.5, 2))
        rate = np.full(SHAPE, 0.1)
        for (v, u), (ty, tx), number in zip(places[-1], tilts, (1000, 150, 150, 150, 150), strict=True):
            rate += aperture(SHAPE, (v, u), number) * (1 + (ty * (y - v) + tx * (x - u)) / RADIUS)
        frame[:] = rng.poisson(rate)
    rms = []
    for passes in (1, 2):
        table = diffraction.find_disks(frames[None], RADIUS, probe=template, passes=passes)
        off = [cKDTree(places[f]).query((y, x))[0] for f, y, x in zip(table.frame, table.y, table.x, strict=True)]
        rms.append(np.sqrt(np.mean([distance**2 for distance in off if distance < 2])))
    assert rms[1] < 0.95 * rms[0]


def test_disks_of_another_size_are_told(template) -> None:
    """A template of the same pattern at another camera length."""
    wide = diffraction.learn_template(
        np.random.default_rng(0).poisson(aperture((60, 60), (29.3, 30.6), 1e6, 1.2)), 1.2 * RADIUS
    )
    table = diffraction.find_disks(simulated(2000, 4)[0], 1.2 * RADIUS, probe=wide, passes=1)
    assert any("as if their radius were" in note for note in table.notes)


def test_masks_and_cameras(template) -> None:
    """Dead rows and a beam stop cost what they cover; a disk whose middle lies beyond the detector is none."""
    data, truth = simulated(600, 6)
    mask = np.ones(SHAPE, bool)
    mask[20:22] = False
    mask[np.hypot(*(np.mgrid[:72, :72] - 36)) < 9] = False
    broken = np.where(mask, data, 0).astype(float)
    broken[..., 20, :] = np.nan
    masked = diffraction.find_disks(broken, RADIUS, probe=template, mask=mask, center=(36, 36))
    assert np.hypot(masked.y - 36, masked.x - 36).min() > 5
    for i, (_, places, _) in enumerate(truth):
        clear = places[1:][np.abs(places[1:, 0] - 20.5) > 12]
        mine = masked.frame == i
        at = np.stack([masked.y, masked.x], axis=1)[mine]
        assert all(np.hypot(*(at - place).T).min() < 0.5 for place in clear)


def test_chunks_and_their_order_change_nothing(template) -> None:
    frames = simulated(200, 5)[0][0]
    spec = stream.Spec((1, 5), SHAPE, np.uint16)
    reducer = diffraction.Disks(RADIUS, probe=template)
    chunks = [stream.Chunk(np.array(index), frames[index]) for index in ([3], [4, 0], [2, 1])]
    whole = stream.run({"d": reducer}, spec, [stream.Chunk(np.arange(5), frames)])["d"]
    parts = stream.run({"d": reducer}, spec, chunks)["d"]
    states = [reducer.init(spec) for _ in range(2)]
    for state, some in zip(states, (chunks[:1], chunks[1:]), strict=True):
        for chunk in some:
            reducer.update(state, chunk)
    merged = reducer.result(reducer.merge(reducer.load(spec, reducer.dump(states[1])), states[0]))
    same(parts, whole)
    same(merged, whole)


@pytest.mark.parametrize(
    ("vacuum", "changes", "error", "message"),
    [
        (np.ones(5), {}, errors.ParameterError, "expected frames"),
        (-np.ones((40, 40)), {}, errors.ParameterError, "negative or not finite"),
        (aperture((40, 40), (20, 20), 500), {}, errors.CalibrationError, "500 electrons; 20000"),
        (aperture((40, 40), (8, 20), 50000), {}, errors.ParameterError, "too near to the edge"),
        (aperture((40, 40), (20, 20), 50000), {"radius_px": 3}, errors.CalibrationError, "beside a disk of radius 3"),
        (aperture((40, 40), (20, 20), 50000), {"mask": np.eye(40) == 0}, errors.ParameterError, "pixels of the probe"),
    ],
)
def test_what_is_no_probe(vacuum, changes, error, message) -> None:
    with pytest.raises(error, match=message):
        diffraction.learn_template(vacuum, **({"radius_px": RADIUS} | changes))


def test_what_a_template_does_not_do(template) -> None:
    frames = np.zeros((1, 1, *SHAPE), np.uint8)
    with pytest.raises(errors.ParameterError, match=r"learnt for a radius of 6 px, but radius_px is 5 px"):
        diffraction.find_disks(frames, 5.0, probe=template)
    with pytest.raises(errors.ParameterError, match="not told apart"):
        diffraction.find_disks(frames, RADIUS, probe=template, overlapping=True)
    empty = diffraction.find_disks(frames, RADIUS, probe=template)
    assert len(empty) == 0


def test_examples() -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
