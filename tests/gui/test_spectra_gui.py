"""The real Nion Swift: specimen and losses chosen by hand, spectra by Nion, series by the panel and by the menu."""

from __future__ import annotations

import re

import pytest


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
    assert result["stored"] == {
        "HAADF": [16, 16],
        "Esteem_EELS_Camera": [16, 16, 1024],
        "Esteem_EDS_Detector": [16, 16, 2048],
    }
    assert result["refused"].startswith("Not taken: dwell 1e-09 µs is out of range"), result
    electrons = 2 * 16 * (16 * 500e-6 + 50e-6) * 2e-9 / 1.602176634e-19  # once, whatever records them
    assert result["charge"] == pytest.approx(electrons, rel=1e-6)
    assert {"Map O", "Map La", "Sum of Esteem_EELS_Camera", "Sum of Esteem_EDS_Detector"} <= set(result["titles"])
    notice, end = result["hidden"]
    assert "goes on while its panel is hidden" in notice
    assert end.startswith("Stopped by the user; "), end
    # a stored series, by the menu
    titles, drift_nm = result["series"]["titles"], result["series"]["drift_nm"]
    assert "Mean of Stored ADF [6 of 6 frames]" in titles
    assert drift_nm == pytest.approx(0.03 * 0.5, abs=0.002)
    (copies,) = (match for title in titles if (match := re.match(r"Motif of Mean of .*\[(\d+) copies\]$", title)))
    assert 4 <= int(copies[1]) <= 36
    # components with their standard deviations
    unmixed = result["unmixed"]
    assert re.match(r"Components: |\d+ components?: ", unmixed["preview"]), unmixed
    assert unmixed["error"] is None
    maps, spectra = [2, 24, 24], [2, 1024]
    assert unmixed["shapes"] == {
        "abundances": maps, "spectra": spectra, "abundances_sigma": maps, "spectra_sigma": spectra
    }  # fmt: skip
    assert unmixed["unit"] == "eV"
    assert "degrees" in unmixed["title"]
    assert unmixed["above_sigma"] > 2
    # classes of a scan, the pattern of the one that is clicked, and strain
    diffraction = result["diffraction"]
    assert diffraction["classes"].startswith("Classes of Two Grains [2 classes, disks of "), diffraction
    numbers = [re.search(r"\[class (\d) crystalline 50%\]$", title) for title in diffraction["clicked"]]
    assert all(numbers), diffraction
    assert numbers[0][1] != numbers[1][1]
    assert diffraction["errors"] == [None, None]
    assert diffraction["strained"] == 8 * 3
    assert "Traceback" not in running.logs()
    assert result["blanked"] is True
    for name in (
        "spectra_live.png",
        "spectra_end.png",
        "spectra_hidden.png",
        "series_motif.png",
        "spectra_unmixed.png",
        "diffraction_classes.png",
    ):
        assert (running.work / name).stat().st_size > 50_000
