"""A session in the real Nion Swift: clicks have effects, doses are as planned, the beam is off after each step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from esteemcore import io, scan

VISITS = 128 * 128


def test_a_session_by_mouse(swift) -> None:
    with swift("session_driver.py") as running:
        found = running.result()
    assert found["live_view"]["charge"] > 0
    images = found["live_view"]["images"]
    assert set(images) == {"Esteem Scan (HAADF)", "Esteem Scan (BF)"}
    assert min(images.values()) > 0, images
    first, second, third = found["first"], found["second"], found["third"]
    order = scan.shuffled((128, 128), seed=1).order

    for run, dose, dwell_s in ((first, 200, 80e-6), (second, 2000, 400e-6)):
        assert run["dose"] == pytest.approx(dose, rel=1e-6)
        area = 400**2 / VISITS / 100  # Å² per position of a field of 4 nm
        assert scan.charge_e(run["current_pa"], dwell_s) == pytest.approx(dose * area, rel=1e-3)
        assert run["message"].startswith("Done: 16,384 of 16,384 frames"), run["message"]
        charge = run["acquisition_after"] - run["acquisition_before"]
        assert charge == pytest.approx(VISITS * run["pixel_charge_e"], rel=0.01)
        assert run["dose_after"] - run["dose_before"] == pytest.approx(dose, rel=0.01)
        source = io.source(run["path"])
        assert len(source) == VISITS
        assert np.array_equal(np.concatenate([chunk.index for chunk in source.chunks()]), order)

    # typed while frames came
    assert second["while_running"]["is_running"]
    assert second["while_running"]["frames"] < VISITS
    for view in (second["while_running"], second["view"]):
        assert (view["C10"], view["rotation_deg"]) == (-6, 5)
    assert first["view"]["C10"] in (None, 0)
    assert second["view"]["frames"] == VISITS

    # aborted: what came is kept, what was exposed is charged
    assert third["message"].startswith("Stopped by the user"), third["message"]
    taken = third["acquired"]
    assert 0.3 * VISITS <= taken < VISITS
    source = io.source(third["path"])
    assert len(source) == taken
    assert np.array_equal(np.concatenate([chunk.index for chunk in source.chunks()]), order[:taken])
    assert not io.verify(third["path"])
    assert third["acquisition_after"] == third["acquisition_before"]
    exposed = (third["spoiled_after"] - third["spoiled_before"]) / third["pixel_charge_e"]
    assert taken <= exposed + 1e-6
    assert (exposed - taken) * 400e-6 < 0.5  # s from the last frame that was kept until the beam was off

    # the same frames and the same view; then another file, with its own
    assert found["again"]["message"].startswith(f"Done: {taken:,} of {taken:,} frames"), found["again"]
    again = found["again"]["view"]
    assert (again["run"], again["frames"]) == (Path(third["path"]).name, taken)
    assert (again["C10"], again["rotation_deg"]) == (-6, 5)
    opened = found["opened"]["view"]
    assert (opened["run"], opened["frames"]) == (Path(first["path"]).name, VISITS)
    assert (opened["C10"], opened["rotation_deg"]) == (first["view"]["C10"], first["view"]["rotation_deg"])

    assert all(found["blanked"].values()), found["blanked"]
    assert found["entries"] == ["live view", "acquisition", "spoiled"]
