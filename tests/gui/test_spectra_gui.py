"""The real Nion Swift: specimen and losses chosen by hand, a spectrum image by Nion, a series by the panel."""

from __future__ import annotations


def test_spectra_from_the_simulator_in_the_real_window(swift) -> None:
    with swift("spectra_driver.py") as running:
        result = running.result()
    assert result["specimen"] == "oxide_interface"
    assert (result["offset"], result["unit"]) == (430, "eV")
    assert result["shape"] == [24, 24, 1, 1024]
    assert result["counts"] > 0
    assert result["oxygen"] > 1, "an edge rises above the background before it"
    assert result["detectors"][-2:] == ["Esteem EDS Detector", "Esteem EELS Camera"]
    assert result["message"].startswith("Done: 2 of 2 frames"), result
    assert result["stored"] == {"HAADF": [16, 16], "Esteem_EELS_Camera": [16, 16, 1024]}
    assert result["blanked"] is True
    for name in ("spectra_live.png", "spectra_end.png"):
        assert (running.work / name).stat().st_size > 50_000
