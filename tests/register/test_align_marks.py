"""What the registration reaches on the shared series of known truth."""

import json

import numpy as np
import pytest

from esteemcore import register


def load(folder, name):
    """Frames, true displacement (n, y, x, 2) and lattice spacing of a series."""
    path = folder / "registration" / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    with np.load(path) as stored:
        row, slope = stored["row"].astype(float), stored["slope"].astype(float)
        column = np.arange(stored["frames"].shape[2])
        moved = row[:, :, None] + slope[:, :, None] * column[:, None]
        moved[..., 1] += stored["flyamp"].astype(float)[:, :, None] * np.exp(-column / float(stored["flytau"]))
        return stored["frames"], moved, json.loads(str(stored["meta"]))["a_px"]


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("v1_interface_n16_d5", 0.155),
        ("v4_interface_n40_d1", 0.265),
        ("v5_defect_n12_d10_tear", 0.21),
        ("v6_apb_n24_d1_jump", 0.27),
    ],
)
def test_marks_on_the_shared_series(shared_data, name, limit) -> None:
    frames, moved, spacing = load(shared_data, name)
    found = register.align(frames)
    assert found.accepted.all(), found.reasons
    error = (found.field[:, :, None] - moved)[:, 4:-4, 20:]
    error -= np.median(np.median(error, axis=(1, 2)), axis=0)
    assert np.hypot(*np.median(error, axis=(1, 2)).T).max() < 0.35 * spacing
    relative = error - error.mean(axis=0)
    assert np.sqrt((relative**2).sum(axis=-1).mean()) < limit
