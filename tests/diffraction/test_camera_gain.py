"""Values that are no numbers of electrons are told by their scatter, with a gain only where nothing else changes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import ndimage

from esteemcore import diffraction, simulate
from esteemcore.diffraction.camera_gain import gain_notes


def told(notes: tuple[str, ...]) -> tuple[float, float]:
    """Return gain and offset that a note tells."""
    (note,) = notes
    gain = re.search(r"gives? about ([\d.e+]+)", note)
    step = re.search(r"(subtract|add) ([\d.e+]+)", note)
    sign = 0 if step is None else 1 if step[1] == "subtract" else -1
    return float(gain[1]) if gain else 1.0, sign * float(step[2]) if step else 0.0


@pytest.mark.parametrize(("gain", "offset", "readout"), [(3.7, 100, 2), (40, 500, 5), (10, 0, 3), (12.5, 0, 1)])
def test_gain_and_offset_of_a_camera_are_told(frames, rng, gain, offset, readout) -> None:
    """Noise of reading adds to the variance; less of the offset makes up for it: (v - offset) / gain has its mean."""
    camera = np.rint(gain * frames + offset + readout * rng.normal(size=frames.shape))
    found, step = told(gain_notes(camera))
    assert found == pytest.approx(gain, rel=0.25)
    assert step == pytest.approx(offset - readout**2 / gain, abs=0.15 * gain)
    assert gain_notes((camera - step) / found) == ()


def test_multiples_are_told_exactly(frames, rng) -> None:
    for unit in (2, 255, 0.1, 3.7):
        (note,) = gain_notes(frames * unit)
        assert f"multiples of {unit:g}," in note
    few = 7 * rng.poisson(0.001, (16, 16, 24, 24))  # too few to scatter
    assert "multiples of 7," in gain_notes(few)[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"electrons": 300},
        {"electrons": 20000, "waves": 1.0, "descan_px": 6.0},
        {"electrons": 20000, "grains": 40, "amorphous": 0, "film": 0.02, "spacing_px": 14.0},  # smaller than a step
    ],
)
def test_electrons_of_grains_are_not_doubted(changes, rng) -> None:
    true = simulate.polycrystal((5, 6), (64, 64), radius_px=3.5, **changes, seed=2).frames()
    assert gain_notes(true) == ()
    assert gain_notes(np.minimum(true, 3)) == ()  # saturated
    assert gain_notes((true > 0).astype(np.uint8)) == gain_notes(true > 0) == ()
    assert gain_notes(rng.binomial(true, rng.random((5, 6, 1, 1)))) == ()  # uneven current
    shuffled = rng.permutation(true.reshape(30, 64, 64)).reshape(true.shape)
    assert gain_notes(shuffled) == ()


def speckle(rng, mean: float) -> np.ndarray:
    """Return numbers of electrons of a film that is another one at every position: speckle all over the frames."""
    wave = rng.normal(size=(32, 64, 64)) + 1j * rng.normal(size=(32, 64, 64))
    film = np.abs(ndimage.gaussian_filter(wave, (0, 1.2, 1.2))) ** 2
    return rng.poisson(film.reshape(2, 16, 64, 64) * mean / film.mean())


def fringes(rng, mean: float) -> np.ndarray:
    """Return numbers of electrons of fringes, or Kikuchi lines, that move from position to position."""
    position, y, x = np.ogrid[:32, :64, :64]
    return rng.poisson(mean * np.abs(np.sin(0.8 * position + 0.3 * y + 0.5 * x)).reshape(2, 16, 64, 64))


def crystals(rng, mean: float) -> np.ndarray:
    """Return numbers of electrons of crystals that are others at every position: disks at random, and a still beam."""
    y, x = np.mgrid[:64, :64]
    pattern = np.where(np.hypot(y - 32, x - 32) < 4, 10.0 * mean, 0.05) + np.zeros((32, 1, 1))
    for frame in pattern:
        for _ in range(25):
            frame[np.hypot(y - rng.uniform(0, 64), x - rng.uniform(0, 64)) < 4] += mean * rng.lognormal()
    return rng.poisson(pattern.reshape(2, 16, 64, 64))


@pytest.mark.parametrize("specimen", [speckle, fringes, crystals])
def test_no_gain_is_told_where_everything_changes(rng, specimen) -> None:
    """True counts are left alone; and what a camera gives is told, though not with figures, which would be far off."""
    for mean in (5, 50):
        true = specimen(rng, mean)
        assert gain_notes(true) == ()
        (note,) = gain_notes(np.rint(20.0 * true + 100 + 5 * rng.normal(size=true.shape)))
        assert "the camera has a gain or an offset" in note
        assert "the specimen changes everywhere" in note
    (note,) = gain_notes(specimen(rng, 500) + 1000)  # may be an offset, may be a film
    assert "divide" not in note
    assert "subtract" not in note


@pytest.mark.parametrize("gain", [0.02, 0.1, 0.4])
def test_small_gains_are_told(frames, rng, gain) -> None:
    camera = gain * (frames + 0.2 * rng.normal(size=frames.shape))
    assert told(gain_notes(camera))[0] == pytest.approx(gain, rel=0.25)


def test_means_and_frames_normalised_to_one_are_told(frames) -> None:
    assert "multiples of" in gain_notes(frames / frames.max())[0]
    for scaled in (frames / frames.max(axis=(2, 3), keepdims=True), np.sqrt(frames)):
        assert "scatter as numbers of electrons do" in gain_notes(scaled)[0]
    binned = frames.reshape(12, 12, 48, 2, 48, 2)
    assert gain_notes(binned.sum(axis=(3, 5))) == ()
    assert "multiples of 0.25," in gain_notes(binned.mean(axis=(3, 5)))[0]


def test_noise_of_reading_that_is_clipped_is_no_count(frames, rng) -> None:
    """Values from 0 without gaps, though not as often as of counts."""
    camera = np.rint(20.0 * frames + 3 * rng.normal(size=frames.shape)).clip(0)
    assert np.unique(camera)[:5].tolist() == [0, 1, 2, 3, 4]
    assert told(gain_notes(camera))[0] == pytest.approx(20, rel=0.25)


def test_too_little_tells_nothing(rng) -> None:
    camera = 100.0 * rng.poisson(3.0, (3, 5, 24, 24)) + rng.normal(size=(3, 5, 24, 24))
    assert gain_notes(camera) == ()
    assert len(gain_notes(np.concatenate([camera, camera]))) == 1
    assert gain_notes(np.zeros((16, 16, 24, 24))) == ()
    assert gain_notes(np.full((16, 16, 24, 24), 7)) == ("all values are 7: there is no pattern in them",)


def test_results_say_so(frames) -> None:
    some = frames[:4]
    camera = 37.0 * some + 200
    (note,) = diffraction.find_disks(camera, 4.2, passes=1).notes
    assert "subtract 200, then divide by" in note
    assert diffraction.find_disks(some, 4.2, passes=1).notes == ()
    mask = np.ones((96, 96), bool)
    mask[:40] = False
    mixed = np.where(mask, some, 1000.0 * some)
    assert diffraction.find_disks(mixed, 4.2, passes=1, mask=mask).notes == ()
    assert any("divide by" in n for n in diffraction.find_descan(camera, 4.2, everywhere=False).notes)
