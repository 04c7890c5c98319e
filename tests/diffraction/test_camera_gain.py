"""Values that are no numbers of electrons are told by their scatter, and electrons never are."""

from __future__ import annotations

import re

import numpy as np
import pytest

from esteemcore import diffraction, simulate
from esteemcore.diffraction.camera_gain import gain_notes


def told(notes: tuple[str, ...]) -> tuple[float, float]:
    """Return gain and offset that a note tells."""
    (note,) = notes
    gain = re.search(r"gives? about ([\d.e+]+)", note)
    step = re.search(r"(subtract|add) ([\d.e+]+)", note)
    sign = 0 if step is None else 1 if step[1] == "subtract" else -1
    return float(gain[1]) if gain else 1.0, sign * float(step[2]) if step else 0.0


@pytest.mark.parametrize(("gain", "offset", "readout"), [(3.7, 100, 2), (40, 500, 5), (10, 0, 3), (12.5, 0, 0)])
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
def test_electrons_are_never_doubted(changes, rng) -> None:
    true = simulate.polycrystal((5, 6), (64, 64), radius_px=3.5, **changes, seed=2).frames()
    assert gain_notes(true) == ()
    assert gain_notes(np.minimum(true, 3)) == ()  # saturated
    assert gain_notes((true > 0).astype(np.uint8)) == gain_notes(true > 0) == ()
    assert gain_notes(rng.binomial(true, rng.random((5, 6, 1, 1)))) == ()  # uneven current
    shuffled = rng.permutation(true.reshape(30, 64, 64)).reshape(true.shape)
    assert gain_notes(shuffled) == ()


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
    assert "subtract 200, then divide by 37" in note or "divide by" in note
    assert diffraction.find_disks(some, 4.2, passes=1).notes == ()
    mask = np.ones((96, 96), bool)
    mask[:40] = False
    mixed = np.where(mask, some, 1000.0 * some)
    assert diffraction.find_disks(mixed, 4.2, passes=1, mask=mask).notes == ()
    assert any("divide by" in n for n in diffraction.find_descan(camera, 4.2, everywhere=False).notes)
