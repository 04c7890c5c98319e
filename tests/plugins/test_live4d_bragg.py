"""The map of Bragg vectors of the live 4D-STEM panel, and what it says of disks that cannot be found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live4d_bench import Bench, opened

from esteemcore import diffraction, fourd, io, stream


@pytest.fixture
def bench(microscope: Any, tmp_path: Path) -> Iterator[Bench]:
    with opened(microscope, tmp_path / "raw") as made:
        yield made


def test_bragg_disks_are_mapped_while_frames_arrive(bench: Bench, microscope: Any) -> None:
    controls = {"ConvergenceAngle": 2e-3, "CameraPixelAngle": 0.25e-3, "SpecimenThickness": 20e-9}
    for name, value in controls.items():
        microscope.instrument.controls.set_value(name, value)
    bench.settle()
    bench.plan.dwell_us.value = 400.0
    bench.settle()
    bench.handler.bragg.value = True
    bench.handler.bragg_significance_edit.editing_finished("6")
    assert bench.acquire().startswith("Done"), bench.handler.message.value
    source = io.source(bench.path)
    geometry = fourd.Geometry(**source.dataset.geometry)
    reducer = diffraction.BraggMap(geometry.disk_px, significance=6.0, oversampling=1)
    found = stream.run({"bragg": reducer}, source.spec, source.chunks())["bragg"]
    assert np.array_equal(bench.image("bragg"), found.vectors)
    assert np.array_equal(bench.image("disks"), found.disks)
    assert found.per_frame > 2
    assert f"{found.per_frame:.3g} disks per frame" in bench.handler.status.value
    item = bench.handler.images.item("bragg")
    assert [axis.units for axis in item.dimensional_calibrations] == ["mrad", "mrad"]
    beam = np.unravel_index(np.argmax(found.vectors), found.vectors.shape)  # most disks are direct beams
    for axis, at in zip(item.dimensional_calibrations, beam, strict=True):
        assert abs(axis.convert_to_calibrated_value(at)) <= 1e-9
    assert item.metadata["esteem"]["provenance"]["function"] == "diffraction.BraggMap"
    bench.handler.bragg.value = False
    bench.handler.again_button.on_clicked()
    bench.settle()
    assert bench.handler.images.item("bragg") is None
    bench.handler.bragg.value = True
    bench.handler.geometry.semiangle_mrad.value = 0.2
    files = sorted(bench.path.parent.iterdir())
    message = bench.acquire()
    assert "semi-angle of 0.2 mrad" in message
    assert "1.5 px or more" in message
    assert sorted(bench.path.parent.iterdir()) == files  # no empty file for a run that never began
