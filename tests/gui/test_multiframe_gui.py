"""The real Nion Swift in a virtual display: forty frames by mouse, two more, and what is left when it is killed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import real_swift

from esteemcore import io, multiframe, scan


def test_forty_frames_by_mouse_a_kill_and_two_more(swift, screen: str, tmp_path: Path) -> None:
    with swift("multiframe_driver.py") as running:
        result = running.result()
        region = multiframe.RegionFolder(result["region"])
        before = region.count
        running.process.kill()
        running.process.wait()
    exposure = scan.Exposure(
        result["current_pa"], 10e-6, 0.1, (64, 64), frames=40, flyback_s=50e-6, frame_overhead_s=0.0
    )
    assert result["exposure"] == pytest.approx(
        [exposure.total_dose, exposure.series_time_s, exposure.pixel_charge_e], rel=1e-9
    )
    assert "Region: 64 x 64 pixels, 6.4 x 6.4 nm" in result["figures"]
    assert f"{exposure.total_dose:,.0f} e/Å² in all" in result["figures"]
    assert f"{exposure.series_time_s:.3g} s in all" in result["figures"]
    assert result["message"].startswith("Done: 40 of 40 frames"), result
    assert result["again"].startswith("Done: 2 of 2 frames"), result
    assert {"Aligned mean", "Drift"} <= set(result["titles"])
    assert " of 42 frames in the sum" in result["text"]
    assert region.frame(41)["HAADF"].sum() == result["shown"]
    assert result["blanked"] is True
    assert result["kinds"] == ["acquisition", "survey"]
    for name in ("multiframe_plan.png", "multiframe_running.png", "multiframe_end.png"):
        assert (running.work / name).stat().st_size > 50_000

    killed = region.count
    assert killed >= before > 50
    assert io.verify(region.parts[0][1]) == []
    frames = np.stack([region.frame(number)["HAADF"] for number in (0, 41, killed - 1)])
    assert frames.shape == (3, 64, 64)
    assert frames.sum(axis=(1, 2)).min() > 0.5 * frames.sum(axis=(1, 2)).max()  # none is half empty
    session = str(region.path.parent)
    driver = Path(__file__).with_name("multiframe_driver.py")
    with real_swift.swift(driver, tmp_path / "again", screen, MULTIFRAME_SESSION=session) as running:
        result = running.result()
    assert result["message"].startswith("Done: 2 of 2 frames"), result
    assert multiframe.RegionFolder(result["region"]).count == killed + 2
