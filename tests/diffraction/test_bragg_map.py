"""The Bragg-vector map of a stream is the histogram of the table of the same disks."""

from __future__ import annotations

import numpy as np
import pytest

from esteemcore import diffraction, events, stream
from esteemcore.errors import ParameterError

FRAME, RADIUS = (48, 40), 3.0
SPOTS = np.array([(0.0, 0.0, 60.0), (11.3, 3.1, 14.0), (-11.3, -3.1, 14.0), (2.2, -12.7, 9.0)])


def pattern(beam, half_axes=(RADIUS, RADIUS)) -> np.ndarray:
    """Return expected counts: a bright direct beam and three reflections of it."""
    y, x = np.indices(FRAME, float)
    rate = np.full(FRAME, 0.05)
    for dy, dx, height in SPOTS:
        v, u = (y - beam[0] - dy) / half_axes[0], (x - beam[1] - dx) / half_axes[1]
        rate += height / (1 + np.exp(4 * RADIUS * (np.hypot(v, u) - 1)))
    return rate


def scan(shape=(3, 5), seed=0) -> tuple[stream.Spec, np.ndarray]:
    """Return a small scan whose direct beam wanders by some pixels."""
    rng = np.random.default_rng(seed)
    beams = np.array([24.2, 19.6]) + rng.uniform(-1.5, 1.5, (shape[0] * shape[1], 2))
    frames = rng.poisson([pattern(beam) for beam in beams]).astype(np.uint16)
    return stream.Spec(shape, FRAME, np.dtype(np.uint16)), frames


def reduced(reducer, spec, chunks):
    return stream.run({"found": reducer}, spec, chunks)["found"]


@pytest.mark.parametrize("kind", ["dense", "events"])
@pytest.mark.parametrize("center", [None, (24.0, 20.0)])
def test_it_is_the_histogram_of_the_table(kind, center) -> None:
    spec, frames = scan()
    index = np.arange(spec.positions)
    parts = [(index[:6], frames[:6]), (index[6:], frames[6:]), (index[:2], frames[:2])]  # two positions come twice
    chunks = [
        stream.Chunk(i, f) if kind == "dense" else stream.Chunk(i, events=events.events_from_frames(f))
        for i, f in parts
    ]
    table = reduced(diffraction.Disks(RADIUS, significance=5.0, center=center, threads=1), spec, chunks[:2])
    fine = 3
    found = reduced(diffraction.BraggMap(RADIUS, oversampling=fine, center=center, threads=1), spec, chunks[:2])
    beam = table.brightest(spec.positions)[table.frame] if center is None else np.array(center)
    away = np.stack([table.y, table.x], axis=1).astype(float) - beam + np.array(FRAME) // 2
    edges = [np.arange(n * fine + 1) / fine - 0.5 for n in FRAME]
    expected, *_ = np.histogram2d(*away.T, bins=edges)
    np.testing.assert_array_equal(found.vectors, expected)
    np.testing.assert_array_equal(found.disks, table.per_position(spec.scan_shape))
    assert len(table) >= 4 * spec.positions * 0.95
    again = reduced(diffraction.BraggMap(RADIUS, oversampling=fine, center=center, threads=1), spec, chunks)
    np.testing.assert_array_equal(again.disks, found.disks)  # per frame: seen twice, the same frames give the same
    np.testing.assert_array_equal(again.visits.ravel()[:3], [2, 2, 1])
    assert again.vectors.sum() > found.vectors.sum()


def test_reflections_stand_where_they_are_although_the_beam_wanders() -> None:
    spec, frames = scan((6, 6), seed=1)
    found = reduced(diffraction.BraggMap(RADIUS, threads=1), spec, [stream.Chunk(np.arange(36), frames)])
    y, x = ((np.arange(2 * n) + 0.5) / 2 - 0.5 - n // 2 for n in FRAME)
    for dy, dx, _ in SPOTS:
        near = np.hypot(y[:, None] - dy, x - dx) < 1.0
        assert found.vectors[near].sum() >= 0.95 * 36
    assert found.provenance.as_dict()["parameters"]["oversampling"] == 2


def test_positions_without_a_frame_are_not_known_and_blank_frames_have_no_disks() -> None:
    spec, frames = scan()
    frames[1] = 0
    found = reduced(diffraction.BraggMap(RADIUS, threads=1), spec, [stream.Chunk(np.arange(2), frames[:2])])
    assert found.disks[0, 1] == 0
    assert found.disks[0, 0] >= 4
    assert np.isnan(found.disks).sum() == spec.positions - 2


def test_half_axes_where_pixels_are_not_square() -> None:
    half_axes = (RADIUS * 1.4, RADIUS / 1.4)
    frames = np.random.default_rng(2).poisson(pattern((24.0, 20.0), half_axes), (4, *FRAME)).astype(np.uint16)
    spec = stream.Spec((2, 2), FRAME, np.dtype(np.uint16))
    found = reduced(diffraction.BraggMap(half_axes, threads=1), spec, [stream.Chunk(np.arange(4), frames)])
    squeezed = np.diag([1.4, 1 / 1.4])
    same = reduced(
        diffraction.BraggMap(RADIUS, distortion=squeezed, threads=1), spec, [stream.Chunk(np.arange(4), frames)]
    )
    np.testing.assert_array_equal(found.vectors, same.vectors)
    assert (found.disks == 4).all()


def test_what_cannot_be_is_refused_in_words() -> None:
    with pytest.raises(ParameterError, match=r"expected a radius in px, or half axes \(row, column\)"):
        diffraction.BraggMap((3.0, 3.0, 3.0))
    with pytest.raises(ParameterError, match="oversampling"):
        diffraction.BraggMap(3.0, oversampling=0)
    with pytest.raises(ParameterError, match="do not fit on frames of 48 x 40"):
        diffraction.BraggMap(30.0).init(scan()[0])
