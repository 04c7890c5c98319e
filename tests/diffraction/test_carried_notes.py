"""What a table tells of its frames is told by the results that are made from it; and what is no direct beam."""

from __future__ import annotations

import numpy as np
import pytest

from esteemcore import diffraction

SCAN, FRAME, RADIUS, PIXEL = (4, 8), (96, 96), 4.0, 0.05
SQUARE = np.array([(h, k) for h in range(-2, 3) for k in range(-2, 3)])
BEAM = (SQUARE == 0).all(axis=1)
DOUBT = "hot pixels at (row, column) = (3, 4) look like disks"


def crystal(notes: tuple[str, ...] = ()) -> diffraction.DiskTable:
    """Disks of two grains side by side, of a square lattice of 16 px that is turned by 30 degrees in the right one."""
    n = SCAN[0] * SCAN[1]
    frame = np.repeat(np.arange(n), len(SQUARE))
    angle = np.where(np.arange(n) % SCAN[1] < SCAN[1] // 2, 0.1, 0.1 + np.radians(30))
    turn = np.moveaxis(np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]), -1, 0)
    place = 48 + (16.0 * SQUARE @ turn).reshape(-1, 2)
    bright, one = np.tile(np.where(BEAM, 5000.0, 100.0), n), np.ones(len(frame))
    return diffraction.DiskTable(frame, *place.T, bright, 0.05 * one, 20 * one, notes=notes)


def strain_of(table):
    left = np.broadcast_to(np.arange(SCAN[1]) < SCAN[1] // 2, SCAN)
    return diffraction.strain(table, SCAN, left)


def grains_of(table):
    return diffraction.segment_dark_field(table, SCAN, FRAME, RADIUS)


def pixel_of(table):
    spacings = 1 / (16 * PIXEL * np.sqrt([1, 2, 4, 5, 8]))
    return diffraction.pixel_size(table, SCAN, spacings)


@pytest.mark.parametrize("made_of", [strain_of, grains_of, pixel_of])
def test_a_result_tells_what_its_table_tells_first_and_once(made_of) -> None:
    own = made_of(crystal()).notes
    told = made_of(crystal((DOUBT, *own[:1], DOUBT))).notes
    assert told == (DOUBT, *own)


def scattered(share: float, beam: float, seed: int = 0) -> np.ndarray:
    """Frames with a beam of so many electrons that moves, and a reflection of 800 that jumps in a share of them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: FRAME[0], : FRAME[1]]
    angle = rng.uniform(0, 2 * np.pi, SCAN)
    jumping = 30 * np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    moving = np.stack(np.meshgrid(*(np.arange(n) * 1.5 for n in SCAN), indexing="ij"), axis=-1)
    rates = np.full((*SCAN, *FRAME), 0.01)
    for place, electrons in ((42 + moving, np.full(SCAN, beam)), (48 + jumping, 800 * (rng.random(SCAN) < share))):
        distance = np.hypot(y - place[..., 0, None, None], x - place[..., 1, None, None])
        rates += electrons[..., None, None] * (distance < RADIUS) / (np.pi * RADIUS**2)
    return rng.poisson(rates)


@pytest.mark.parametrize(("share", "beam", "told"), [(1, 0, True), (1, 200, True), (0.4, 200, False), (0, 30, False)])
def test_brightest_disks_that_jump_are_told_where_no_disk_stays(share, beam, told) -> None:
    """A beam that moves with descan, is weaker than a reflection in some frames, or faint, stays."""
    frames = scattered(share, beam)
    notes = diffraction.find_disks(frames, RADIUS, passes=1).notes
    assert any("the brightest disks are no direct beam" in note for note in notes) == told, notes
    if told:
        assert diffraction.find_disks(frames, RADIUS, passes=1, center=(48, 48)).notes == ()


def test_blanked_frames_do_not_jump() -> None:
    frames = scattered(0, 2000)
    rng = np.random.default_rng(1)
    frames[1:] = rng.poisson(0.01, frames[1:].shape)
    bursts = np.where(rng.random((3, 8)) < 0.5, 1.5, 0.0)[..., None, None]
    frames[1:, :, 20:23, 20:23] += rng.poisson(bursts, (3, 8, 3, 3))
    assert diffraction.find_disks(frames, RADIUS, passes=1).notes == ()
