"""The real Nion Swift in a virtual display: forty frames of 64 x 64 by mouse, then two more."""

from __future__ import annotations

from esteemcore import multiframe


def test_forty_frames_by_mouse_and_two_more(swift) -> None:
    with swift("multiframe_driver.py") as running:
        result = running.result()
    assert "Region: 64 x 64 pixels, 6.4 x 6.4 nm" in result["figures"]
    assert result["message"].startswith("Done: 40 of 40 frames"), result
    assert result["again"].startswith("Done: 2 of 2 frames"), result
    region = multiframe.RegionFolder(result["region"])
    assert region.count == 42
    last = region.frame(41)["HAADF"]
    assert last.shape == (64, 64)
    assert last.sum() == result["shown"]
    assert result["blanked"] is True
    assert result["kinds"] == ["acquisition", "survey"]
    for name in ("multiframe_plan.png", "multiframe_running.png", "multiframe_end.png"):
        assert (running.work / name).stat().st_size > 50_000
