"""The demo through Nion Swift: the same frames as without it, a safe end, and a project that opens again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from esteem_sim.demo import SwiftMicroscope
from esteem_sim.project import create_project, free_path
from esteem_sim.swift_app import SwiftWithProject
from nion.swift import Application
from nion.swift.model import FileStorageSystem, Persistence, Profile, Symbolic
from nion.ui import TestUI
from nion.utils import Registry

from esteemcore import cli, fourd, io, stream
from esteemcore.cli import demo
from esteemcore.errors import StreamError

DOSES = (200, 2000)
SIZE = 32
TITLES = {
    "ssb": "SSB phase",
    "icom": "Integrated centre of mass",
    "bf": "Bright field",
    "adf": "Annular dark field",
}
REDUCERS = {"ssb": "ssb", "icom": "com", "bf": "detectors", "adf": "detectors"}


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if not thread.name.startswith("tqdm")}


@contextlib.contextmanager
def opened(path: Path, cache: Path) -> Iterator[Any]:
    """Open a project in a fresh profile, as Nion does, and yield its document model."""
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        profile = Profile.Profile(loop, cache_dir_path=cache, threaded_display=False)
        reference = profile.add_project_index(path)
        try:
            yield reference.document_model
        finally:
            reference.unload_project()
            profile.close()


@pytest.fixture(scope="module")
def made(main_loop: asyncio.AbstractEventLoop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The results of the demo with Nion Swift and without it; nothing but them is left."""
    before, event_loops = threads(), []
    folder = tmp_path_factory.mktemp("demo")
    (folder / "temporary").mkdir()
    with pytest.MonkeyPatch.context() as patch, contextlib.closing(asyncio.new_event_loop()) as loop:
        patch.setattr(tempfile, "tempdir", str(folder / "temporary"))
        asyncio.set_event_loop(loop)
        for name, options in (("swift", []), ("core", ["--core-only"])):
            assert cli.main(["demo", "--out", str(folder / name), "--scan", str(SIZE), *options]) == 0
            event_loops.append(asyncio.get_event_loop())
        assert event_loops == [loop, loop]
        asyncio.set_event_loop(main_loop)
    assert threads() == before
    assert list((folder / "temporary").iterdir()) == []
    for kind in ("stem_controller", "scan_hardware_source", "camera_hardware_source", "document_model"):
        assert not Registry.get_components_by_type(kind)
    return folder / "swift", folder / "core"


@pytest.fixture
def microscope() -> SwiftMicroscope:
    return SwiftMicroscope(
        specimen="vacuum",
        beam=demo.BEAM,
        detector=demo.DETECTOR,
        shape=(64, 64),
        step_nm=demo.STEP_NM,
        origin_nm=demo.ORIGIN_NM,
        rate=12_500,
        seed=1,
    )


@pytest.mark.parametrize("dose", DOSES)
def test_nion_swift_delivers_every_electron(made, dose) -> None:
    """The framework between camera and file changes no bit, no order and no calibration."""
    swift, core = (io.load(folder / f"zeolite_{dose}.esteem") for folder in made)
    frames, expected = (np.asarray(found.signals["frames"].data[:]) for found in (swift, core))
    assert len(frames) == SIZE**2
    np.testing.assert_array_equal(frames, expected)
    np.testing.assert_array_equal(swift.scan.index, core.scan.index)
    np.testing.assert_allclose(swift.scan.time_s, core.scan.time_s)
    for name, value in core.geometry.items():
        assert swift.geometry[name] == pytest.approx(value), name


def test_the_page_says_what_was_done_and_how_to_go_on(made) -> None:
    page = (made[0] / "index.html").read_text(encoding="utf-8")
    assert f"esteem swift {made[0] / 'zeolite.nsproj'}" in page
    assert "inside Nion Swift" in page
    for dose in DOSES:
        assert page.count(f"<td>{dose:,}.0 e/Å²</td>") == 2  # planned, and charged to the ledger
    assert "NO</td>" not in page
    without = (made[1] / "index.html").read_text(encoding="utf-8")
    assert "without Nion Swift" in without
    assert "ledger" not in without
    assert not list(made[1].glob("*.nsproj"))


@pytest.mark.parametrize("dose", DOSES)
def test_the_project_opens_again_with_the_images_of_the_raw_file(made, dose, tmp_path) -> None:
    source = io.source(made[0] / f"zeolite_{dose}.esteem")
    geometry = fourd.Geometry(**source.dataset.geometry)
    results = stream.run(fourd.live_reducers(geometry, (256, 256)), source.spec, source.chunks())
    images = fourd.live_images(results, geometry)
    with opened(made[0] / "zeolite.nsproj", tmp_path) as document:
        items = {item.title: item for item in document.data_items}
        assert len(items) == len(document.display_items) == 12
        for name, title in TITLES.items():
            item = items[f"{title}, {dose:,} e/Å²"]
            np.testing.assert_array_equal(np.asarray(item.xdata.data), images[name].data)
            assert item.intensity_calibration.units == images[name].unit
            for axis in item.dimensional_calibrations:
                assert axis.units == "nm"
                assert axis.scale == pytest.approx(0.03)
                assert axis.offset == pytest.approx(-0.03 * SIZE / 2)
            record = item.metadata["esteem"]
            assert record["image"] == name
            assert record["frames"] == SIZE**2
            made_of = results[REDUCERS[name]].provenance
            assert record["provenance"]["function"] == made_of.function
            assert record["provenance"]["input_digest"] == made_of.input_digest
            assert record["recorded_dose_e_per_A2"] == pytest.approx(dose)
            assert Path(record["raw_file"]) == made[0] / f"zeolite_{dose}.esteem"
            assert record["scan"]["pattern"] == record["plan"]["order"]["pattern"] == "shuffled"
            assert item.metadata["instrument"]["high_tension"] == 200e3
        frame = items[f"Mean frame, {dose:,} e/Å²"]
        np.testing.assert_array_equal(np.asarray(frame.xdata.data), results["statistics"].mean)
        assert [axis.units for axis in frame.dimensional_calibrations] == ["mrad", "mrad"]
        assert frame.dimensional_calibrations[0].convert_to_calibrated_value(128) == pytest.approx(0)
        forming = items[f"SSB phase forming, {dose:,} e/Å²"].xdata
        assert forming.is_sequence
        assert forming.data_shape == (4, SIZE, SIZE)
        np.testing.assert_array_equal(np.asarray(forming.data)[-1], images["ssb"].data)


def test_the_project_shows_a_row_of_images_for_each_dose(made, tmp_path) -> None:
    with opened(made[0] / "zeolite.nsproj", tmp_path) as document:
        project = document._project
        (workspace,) = project.workspaces
        assert project.workspace_uuid == workspace.uuid
        shown = [
            [
                document.resolve_item_specifier(Persistence.read_persistent_specifier(panel["display_item_specifier"]))
                for panel in row["children"]
            ]
            for row in workspace.layout["children"]
        ]
        assert [[item.data_item.title for item in row] for row in shown] == [
            [f"{title}, {dose:,} e/Å²" for title in TITLES.values()] for dose in DOSES
        ]


def test_an_error_stops_the_scan_and_leaves_the_beam_blanked(microscope, tmp_path) -> None:
    before = threads()
    instrument = microscope._instrument
    was_on = []

    def refuse(chunk: stream.Chunk) -> None:
        was_on.append(not instrument.is_blanked)
        raise StreamError("the disk is full")

    def acquire() -> None:
        with microscope.running(tmp_path, "demo") as project:
            assert project.exists()
            microscope.wait_for_scene(lambda words: None)
            exposure = microscope.set_dose(200)
            try:
                microscope.acquire(exposure, refuse)
            finally:
                assert instrument.is_blanked
                assert not instrument.scan_device.is_scanning
                assert 0 < instrument.ledger.total_charge_e <= exposure.pixel_charge_e * 64**2 * (1 + 1e-9)

    with pytest.raises(StreamError, match="the disk is full"):
        acquire()
    assert was_on[0]
    assert list(tmp_path.iterdir()) == []
    assert threads() == before


def test_the_camera_is_not_asked_for_more_than_it_can(tmp_path, capsys) -> None:
    assert cli.main(["demo", "--out", str(tmp_path / "out"), "--rate", "20000"]) == 2
    assert "20,000 frames per second are too many for the camera in Nion Swift; it takes up to 12,500" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def test_images_are_kept_only_while_a_project_is_open(microscope) -> None:
    with pytest.raises(StreamError, match="does not run"):
        microscope.keep("", "image", np.zeros((2, 2)), "rad", [(0.0, 1.0, "nm")] * 2, {})


def test_a_project_is_never_replaced(tmp_path) -> None:
    assert free_path(tmp_path, "zeolite").name == "zeolite.nsproj"
    create_project(tmp_path / "zeolite.nsproj")
    assert free_path(tmp_path, "zeolite").name == "zeolite 2.nsproj"
    (tmp_path / "zeolite 2 Data").mkdir()
    assert free_path(tmp_path, "zeolite").name == "zeolite 3.nsproj"


@pytest.fixture
def application_state(
    swift: Any, main_loop: asyncio.AbstractEventLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Put back what Nion keeps globally when an application starts and ends; what it writes here goes elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Application, "app", Application.app)
    for name in ("computation_min_period", "computation_min_factor"):
        monkeypatch.setattr(Symbolic, name, getattr(Symbolic, name))
    levels = {name: logging.getLogger(name).level for name in ("migration", "loader")}
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(main_loop)
    loop.close()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("application_state")
def test_the_application_opens_the_wanted_project_and_keeps_the_others(made, tmp_path) -> None:
    """As the launcher starts it, but without a screen: first with an empty profile, then where another was the last."""
    wanted, other = made[0] / "zeolite.nsproj", tmp_path / "other.nsproj"
    create_project(other)
    profile_file = {"version": FileStorageSystem.PROFILE_VERSION, "uuid": str(uuid.uuid4())}
    (tmp_path / "Profile.nsproj").write_text(json.dumps(profile_file))
    for path, known in ((other, {other}), (wanted, {other, wanted}), (other, {other, wanted})):
        app = SwiftWithProject(TestUI.UserInterface(), path)
        app.initialize(load_plug_ins=False)
        try:
            app.start(profile_dir=tmp_path)
            (window,) = app.document_controllers
            profile = app.profile
            assert window.document_model._project.storage_location_str == str(path)
            assert len(window.document_model.data_items) == (12 if path == wanted else 0)
            assert profile.get_project_reference(profile.last_project_reference).path == path
            assert {reference.path for reference in profile.project_references} == known
        finally:
            for window in app.document_controllers:
                window.request_close()
            app.deinitialize()


@pytest.mark.usefixtures("application_state")
def test_a_project_that_cannot_be_read_leads_to_the_choice_of_another(tmp_path, monkeypatch) -> None:
    broken, asked = tmp_path / "broken.nsproj", []
    broken.write_text("no JSON")
    (tmp_path / "Profile.nsproj").write_text(json.dumps({"version": FileStorageSystem.PROFILE_VERSION}))
    monkeypatch.setattr(Application.Application, "show_choose_project_dialog", lambda app: asked.append(app))
    app = SwiftWithProject(TestUI.UserInterface(), broken)
    app.initialize(load_plug_ins=False)
    try:
        app.start(profile_dir=tmp_path)
        assert asked == [app]
        assert app.document_controllers == []
    finally:
        app.deinitialize()
