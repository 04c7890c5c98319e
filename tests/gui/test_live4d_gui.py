"""The real Nion Swift in a virtual display: a mouse click acquires, the phase image appears."""

from __future__ import annotations

from esteemcore import io


def test_a_click_acquires_and_shows_the_phase_beside_another_simulator(swift) -> None:
    with swift("live4d_driver.py") as running:
        result = running.result()
    assert result["message"].startswith("Done: 16,384 of 16,384 frames"), result
    assert result["units"] == {"ssb": "rad", "icom": "rad", "bf": "counts per frame", "adf": "counts per frame"}
    assert result["displayed"] == 4
    assert result["blanked"] is True
    (path,) = (running.work / "raw").iterdir()
    assert len(io.source(path)) == 128 * 128
    assert (running.work / "live4d.png").stat().st_size > 50_000

    # Nion's own simulator cannot visit positions in any order: it is not offered, scans, and costs our specimen nothing
    assert result["offered"] == ["esteem_scan"]
    assert result["used"] == "esteem_scan"
    assert result["other_contrast"] > 0
    assert not result["charged_for_other"]
