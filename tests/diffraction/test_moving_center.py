"""A direct beam behind a stop, moved by the descan: each position has its own centre."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from esteemcore import diffraction, errors, events, simulate, stream

SCAN, FRAME, RADIUS = (4, 6), (64, 64), 3.5


@pytest.fixture(scope="module")
def moving() -> tuple[simulate.Polycrystal, np.ndarray, np.ndarray]:
    """Crystals under 9 px of descan behind a stop on an arm: truth, frames, and which pixels are good."""
    truth = simulate.polycrystal(
        SCAN, FRAME, radius_px=RADIUS, spacing_px=13, electrons=3000, grains=2, amorphous=0, descan_px=9.0, seed=4
    )
    y, x = np.mgrid[:64, :64]
    good = (np.hypot(y - 31.5, x - 31.5) > 10) & ((np.abs(y - 31) > 1) | (x > 31))
    return truth, np.where(good, truth.frames(seed=3), 0).astype(np.uint16), good


def chunk(kind: str, index: np.ndarray, frames: np.ndarray) -> stream.Chunk:
    flat = frames.reshape(-1, *FRAME)[index]
    return stream.Chunk(index, flat) if kind == "dense" else stream.Chunk(index, events=events.events_from_frames(flat))


def rows(table: diffraction.DiskTable) -> np.ndarray:
    names = ("frame", "y", "x", "intensity", "sigma_px", "score", "background", "tilt_y", "tilt_x", "slope")
    return np.stack([getattr(table, name) for name in names])


@pytest.mark.parametrize("kind", ["dense", "events"])
@pytest.mark.parametrize("again", [False, True])
def test_each_position_has_the_disks_that_its_own_centre_gives_whatever_the_order(moving, kind, again) -> None:
    truth, frames, good = moving
    spec = stream.Spec(SCAN, FRAME, np.dtype(np.uint16))
    place = truth.center.reshape(*SCAN, 2)
    options: dict = {"mask": good, "threads": 2}
    if again:
        first = diffraction.find_disks(frames, RADIUS, center=place, mask=good, passes=1)
        known = diffraction.learn_structure(first, FRAME, RADIUS, center=place)
        assert len(known.place) > 3
        options |= {"found": first, "structure": known}
    whole = diffraction.Disks(RADIUS, center=place, **options)
    order = np.random.default_rng(1).permutation(24)
    states = [whole.init(spec) for _ in range(2)]
    for number, part in enumerate((order[:9], order[9:10], order[10:])):
        whole.update(states[number % 2], chunk(kind, part, frames))
    found = rows(whole.result(whole.merge(*states)))
    alone = []
    for position in range(24):
        one = diffraction.Disks(RADIUS, center=truth.center[position], **options)
        alone.append(rows(stream.run({"d": one}, spec, [chunk(kind, np.array([position]), frames)])["d"]))
    np.testing.assert_array_equal(found, np.concatenate(alone, axis=1))
    still = diffraction.Disks(RADIUS, center=truth.center.mean(axis=0), **options)
    other = rows(stream.run({"d": still}, spec, [chunk(kind, np.arange(24), frames)])["d"])
    assert other.shape != found.shape or (other != found).any()


def test_disks_of_a_template_and_the_vectors_of_a_stream_follow_the_centre(moving) -> None:
    truth, frames, good = moving
    place = truth.center.reshape(*SCAN, 2)
    y, x = np.mgrid[:20, :20]
    like = diffraction.learn_template(
        np.random.default_rng(0).poisson(2000.0 * (np.hypot(y - 9.6, x - 9.4) < RADIUS)), RADIUS
    )
    options: dict = {"mask": good, "probe": like, "passes": 1}  # a second one learns from the other positions
    together = diffraction.find_disks(frames[:1], RADIUS, center=place[:1], **options)
    for column in range(6):
        alone = diffraction.find_disks(frames[:1, column : column + 1], RADIUS, center=place[0, column], **options)
        np.testing.assert_array_equal(rows(alone)[1:], rows(together.select(together.frame == column))[1:])
    spec = stream.Spec(SCAN, FRAME, np.dtype(np.uint16))
    order = np.random.default_rng(2).permutation(24)
    seen = diffraction.BraggMap(RADIUS, center=place, mask=good, oversampling=2)
    found = stream.run({"b": seen}, spec, [chunk("dense", order[:5], frames), chunk("events", order[5:], frames)])["b"]
    table = diffraction.find_disks(frames, RADIUS, center=place, mask=good, passes=1, significance=5.0)
    away = np.stack([table.y, table.x], axis=1) - truth.center[table.frame] + 32
    expected, *_ = np.histogram2d(*away.T, bins=[np.arange(129) / 2 - 0.5] * 2)
    np.testing.assert_array_equal(found.vectors, expected)


def test_a_plane_an_array_and_flat_places_are_the_same(moving) -> None:
    truth, frames, good = moving
    plane = diffraction.find_descan(frames, RADIUS, center=truth.center.reshape(*SCAN, 2))
    found = diffraction.find_disks(frames, RADIUS, center=plane, mask=good)
    for center in (plane.center, truth.center, truth.center.tolist()):
        again = diffraction.find_disks(frames, RADIUS, center=center, mask=good)
        np.testing.assert_array_equal(rows(again), rows(found))
        np.testing.assert_array_equal(diffraction.find_descan(frames, RADIUS, center=center).center, plane.center)
    parameters = found.provenance.as_dict()["parameters"]
    assert parameters["center"]["shape"] == [4, 6, 2]
    everywhere = diffraction.segment_dark_field(found, SCAN, FRAME, RADIUS, center=plane)
    assert everywhere.provenance.as_dict()["parameters"]["center"] == parameters["center"]


def test_what_is_no_centre_of_the_scan_is_refused(moving) -> None:
    _, frames, _ = moving
    table = diffraction.find_disks(frames, RADIUS, center=(31, 31), passes=1)
    for center, message in (
        (np.zeros((6, 4, 2)), r"center has shape \(6, 4, 2\), .* a scan of 4 x 6: \(4, 6, 2\)"),
        (np.zeros((7, 2)), r"shape \(7, 2\)"),
        (np.full((4, 6, 2), np.nan), "48 of the 48 numbers of center are not finite"),
        ((1, 2, 3), r"shape \(3,\); .* two numbers \(row, column\)"),
        ((None, 31), "no real numbers"),
        (("31", "31"), "no real numbers"),
        ((31 + 1j, 31), "complex128 values, which are no real numbers"),
    ):
        for function in (
            lambda c: diffraction.find_disks(frames, RADIUS, center=c),
            lambda c: diffraction.find_descan(frames, RADIUS, center=c),
            lambda c: diffraction.learn_structure(table, FRAME, RADIUS, center=c),
            lambda c: diffraction.segment_dark_field(table, SCAN, FRAME, RADIUS, center=c),
            lambda c: diffraction.BraggMap(RADIUS, center=c).init(stream.Spec(SCAN, FRAME, np.dtype(np.uint16))),
        ):
            with pytest.raises(errors.ParameterError, match=message):
                function(center)
    unseen = dataclasses.replace(table, visits=None)
    with pytest.raises(errors.ParameterError, match="has 7 places, but a disk lies at position"):
        diffraction.learn_structure(unseen, FRAME, RADIUS, center=np.zeros((7, 2)))
    with pytest.raises(errors.ParameterError, match="disks do not tell it"):
        diffraction.segment_dark_field(table, SCAN, FRAME, RADIUS, center="friedel")
    with pytest.raises(errors.ParameterError, match=r"'Friedel'; expected \(row, column\) .* center='friedel'"):
        diffraction.strain(table, SCAN, center="Friedel")
    with pytest.raises(errors.ParameterError, match="expected 'friedel'"):
        diffraction.find_disks(frames, RADIUS, center="friend")


@pytest.mark.parametrize("center", [(1e9, 1e9), (-5, 31), (31, 64)])
def test_a_centre_off_the_frames_is_refused(moving, center) -> None:
    _, frames, _ = moving
    spec = stream.Spec(SCAN, FRAME, np.dtype(np.uint16))
    everywhere = np.tile([31.0, 31.0], (*SCAN, 1))
    everywhere[3, 5] = center
    for place in (center, everywhere):
        for work in (
            lambda c: diffraction.find_disks(frames, RADIUS, center=c),
            lambda c: diffraction.find_descan(frames, RADIUS, center=c),
            lambda c: diffraction.BraggMap(RADIUS, center=c).init(spec),
        ):
            with pytest.raises(errors.ParameterError, match="beyond the frames of 64 x 64 pixels"):
                work(place)
    corner = diffraction.Disks(RADIUS, center=(0, 63))
    corner.check(spec)
