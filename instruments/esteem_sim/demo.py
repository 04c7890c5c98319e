"""The demo in Nion Swift: the simulated STEM scans, its camera takes the frames, a project keeps the images."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nion.instrumentation import camera_base
from nion.swift.model import DataItem, DocumentModel
from nion.utils import Geometry
from numpy.typing import ArrayLike

from esteem_sim.configuration import Configuration
from esteem_sim.headless import headless_swift
from esteem_sim.instrument import Instrument
from esteem_sim.project import Axes, add_image, add_workspace, create_project, discard_empty, free_path
from esteemcore import fourd, scan, simulate, stream
from esteemcore.errors import ParameterError, StreamError
from nionswift_plugin.esteem_scan.binding import KEY
from nionswift_plugin.esteem_scan.frame_sink import FrameSink
from nionswift_plugin.esteem_scan.plan import Plan
from nionswift_plugin.esteem_scan.scan_plan import ScanPlan

ANGSTROM2_PER_NM2 = 100.0


@dataclasses.dataclass(frozen=True)
class Account:
    """What can be said of an acquisition when it is over.

    Attributes
    ----------
    planned_dose, recorded_dose : float
        Dose in e/Å² over the field: by the plan, and what the dose ledger was charged.
    is_blanked : bool
        Whether the beam was left blanked.
    """

    planned_dose: float
    recorded_dose: float
    is_blanked: bool


class SwiftMicroscope:
    """The simulated STEM inside a Nion Swift without window, and the project that it fills.

    The acquisition is made as the panels make it: a `Plan`, Nion's ``grab_synchronized``, a `FrameSink`.

    Parameters
    ----------
    specimen : str
        One of `esteemcore.simulate.SPECIMENS`.
    beam : Beam
        Its energy and semi-angle are set.
    detector : Detector
        Its angle per pixel is set.
    shape : (int, int)
        Scan positions, visited in shuffled order.
    step_nm : float
        Their distance in nm.
    origin_nm : (float, float)
        Place on the specimen (row, column) of the first position in nm.
    rate : float
        Frames per second of the camera.
    seed : int
        Of the visit order and of the electrons.

    Raises
    ------
    ParameterError
        If the camera is not that fast.
    """

    def __init__(
        self,
        *,
        specimen: str,
        beam: simulate.Beam,
        detector: simulate.Detector,
        shape: tuple[int, int],
        step_nm: float,
        origin_nm: tuple[float, float],
        rate: float,
        seed: int,
    ) -> None:
        self._instrument = Instrument(specimen=specimen)
        self._configuration = Configuration(self._instrument)
        self._dwell_s = self._exposure_s(1 / rate)
        pixel = detector.pixel_mrad if isinstance(detector.pixel_mrad, tuple) else (detector.pixel_mrad,) * 2
        controls = {
            "EHT": beam.energy_kev * 1e3,
            "ConvergenceAngle": beam.semiangle_mrad * 1e-3,
            "CameraPixelAngle": pixel[1] * 1e-3,
        }
        for name, value in controls.items():
            self._instrument.SetVal(name, value)
        self._shape, self._step_nm, self._origin_nm, self._seed = shape, step_nm, origin_nm, seed
        self._document: DocumentModel.DocumentModel | None = None
        self._rows: dict[str, list[DataItem.DataItem]] = {}

    @contextlib.contextmanager
    def running(self, folder: Path, name: str) -> Iterator[Path]:
        """Run Nion Swift with a new project in a folder, and yield the project's path.

        The computation of what the detectors see has begun then, see `wait_for_scene`. A project without any image is
        removed at the end.
        """
        path = free_path(folder, name)
        try:
            create_project(path)
            with headless_swift(self._configuration, path) as document:
                self._document = document
                self._instrument.prepare_scene()
                self._place_scan()
                yield path
                add_workspace(document, "Esteem", list(self._rows.values()))
        finally:
            self._document = None
            discard_empty(path)

    def wait_for_scene(self, say: Callable[[str], None]) -> None:
        """Wait until it is computed what the detectors see; ``say`` is told how far it is, in words."""
        stage = self._instrument.stage
        while stage.current is None:
            say(stage.status)
            time.sleep(0.05)
        say(stage.status)

    @property
    def geometry(self) -> fourd.Geometry:
        """The calibrations of the scan, as the instrument knows them."""
        return self._plan.geometry()

    def set_dose(self, dose: float) -> scan.Exposure:
        """Set the current for a dose in e/Å² and return what the next acquisition will expose."""
        current_pa = scan.current_for_dose(dose, self._dwell_s, self._step_nm, self._shape)
        self._instrument.SetVal("BeamCurrent", current_pa * 1e-12)
        return self._plan.exposure()

    def acquire(self, exposure: scan.Exposure, take: Callable[[stream.Chunk], None]) -> Account:
        """Do what `set_dose` returned, and hand over the frames as they come; the beam is blanked at the end.

        Raises
        ------
        EsteemError
            What ``take`` raised.
        StreamError
            If the acquisition failed.
        """
        plan, instrument, camera = self._plan, self._instrument, self._configuration.camera
        before = instrument.ledger.total_charge_e
        camera.seed = self._seed - camera.runs  # the same electrons at every dose, as without Nion Swift
        parameters, _ = plan.scan_parameters()
        failures: list[Exception] = []

        def watch() -> None:
            if failures:
                plan.scan_source.grab_synchronized_abort()

        order = ScanPlan.of(parameters)
        camera_id = plan.camera_source.hardware_source_id
        sink = FrameSink(camera_id, order, self._shape, self._dwell_s, take, failures.append, watch)
        try:
            with instrument.acquiring():
                plan.scan_source.grab_synchronized(
                    scan_frame_parameters=parameters,
                    camera=plan.camera_source,
                    camera_frame_parameters=plan.camera_parameters(),
                    data_channel=sink,
                    error_handler=failures.append,
                )
        except RuntimeError as error:  # Nion's word for whatever the error handler got
            failures.append(StreamError(f"the acquisition in Nion Swift failed ({error})"))
        if failures:
            raise failures[0]
        area = exposure.fov_nm[0] * exposure.fov_nm[1] * ANGSTROM2_PER_NM2
        charge = instrument.ledger.total_charge_e - before
        return Account(exposure.total_dose, charge / area, instrument.is_blanked)

    def keep(self, group: str, title: str, data: ArrayLike, unit: str, axes: Axes, record: Mapping[str, Any]) -> None:
        """Put an image into the project.

        Parameters
        ----------
        group : str
            Images of a group are shown in a row when the project is opened; those of the group "" are not.
        title, data, unit, axes
            See `esteem_sim.project.add_image`.
        record : mapping
            Where it comes from, JSON-ready; plan and instrument are added.
        """
        if self._document is None:
            raise StreamError("Nion Swift does not run; keep images within SwiftMicroscope.running")
        plan = self._plan
        metadata = {
            KEY: {**record, "plan": plan.record(), "scan": ScanPlan.of(plan.scan_parameters()[0]).as_dict()},
            "instrument": dict(self._instrument.get_autostem_properties()),
        }
        item = add_image(self._document, title, data, unit, axes, metadata)
        if group:
            self._rows.setdefault(group, []).append(item)

    @property
    def _plan(self) -> Plan:
        configuration = self._configuration
        order = ScanPlan(pattern="shuffled", seed=self._seed)
        fov_nm = max(self._shape) * self._step_nm
        return Plan(configuration.scan_source, configuration.camera_source, order, self._shape, fov_nm, self._dwell_s)

    def _place_scan(self) -> None:
        """Move the field so that its first position is the wanted place."""
        source = self._configuration.scan_source
        parameters = source.get_current_frame_parameters()
        y, x = (
            first + (size - 1) / 2 * self._step_nm for first, size in zip(self._origin_nm, self._shape, strict=True)
        )
        parameters.center_nm = Geometry.FloatPoint(y=y, x=x)
        source.set_current_frame_parameters(parameters)

    def _exposure_s(self, wanted_s: float) -> float:
        """Return the exposure in s that the camera makes of the one that is wanted."""
        wanted = camera_base.CameraFrameParameters({"exposure_ms": wanted_s * 1e3})
        found = self._configuration.camera.validate_frame_parameters(wanted).exposure_ms * 1e-3
        if found > wanted_s * 1.01:
            raise ParameterError(
                f"{1 / wanted_s:,.0f} frames per second are too many for the camera in Nion Swift; it takes up to "
                f"{1 / found:,.0f}"
            )
        return found
