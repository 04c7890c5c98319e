"""The plan that the panels share: linked values, dose, budget, devices; sink, binding, menu and worker."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from nion.data import DataAndMetadata
from nion.instrumentation import Acquisition
from nion.swift import Application
from nion.utils import Registry

from esteemcore import scan, stream
from esteemcore.errors import CalibrationError, ParameterError
from nionswift_plugin import esteem_live4d, esteem_scan
from nionswift_plugin.esteem_scan import binding, devices, menu, plan_model
from nionswift_plugin.esteem_scan.converters import NumberConverter, WholeConverter
from nionswift_plugin.esteem_scan.event_loop import NewestFirst, UserInterfaceCalls, steady
from nionswift_plugin.esteem_scan.frame_sink import FrameSink
from nionswift_plugin.esteem_scan.plan_model import METHODS, PlanModel
from nionswift_plugin.esteem_scan.scan_plan import PATTERNS, ScanPlan


class Model:
    """A plan model in a headless window."""

    def __init__(self, microscope: Any) -> None:
        self.window = microscope.context.document_controller
        self.calls = UserInterfaceCalls(self.window.event_loop)
        self.plan = PlanModel(self.calls)
        self.plan.rows.value = self.plan.columns.value = 16
        self.settle()

    def settle(self) -> None:
        deadline = time.monotonic() + 60
        self.window.periodic()
        while self.plan.is_busy:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        self.window.periodic()


@pytest.fixture
def model(microscope: Any) -> Iterator[Model]:
    microscope.camera.is_paced = False
    made = Model(microscope)
    yield made
    made.plan.close()
    made.calls.close()


def test_field_and_step_and_dwell_and_rate_follow_each_other(model: Model) -> None:
    plan = model.plan
    plan.fov_nm.value = 3.2
    assert plan.step_nm.value == pytest.approx(0.2)
    plan.step_nm.value = 0.05
    assert plan.fov_nm.value == pytest.approx(0.8)
    plan.columns.value = 32
    assert plan.fov_nm.value == pytest.approx(0.8)
    assert plan.step_nm.value == pytest.approx(0.025)
    plan.rate.value = 10000.0
    assert plan.dwell_us.value == pytest.approx(100)
    plan.dwell_us.value = 80.0
    assert plan.rate.value == pytest.approx(12500)
    plan.rate.value = 0.0  # nothing breaks on the way to a number
    with pytest.raises(ParameterError, match="dwell time"):
        _ = plan.plan


def test_the_dose_is_that_of_the_core(model: Model, microscope: Any) -> None:
    plan = model.plan
    plan.frames.value = 3
    plan.wished_dose.value = 200.0
    model.settle()
    exposure = scan.Exposure(0.5, 80e-6, plan.step_nm.value, (16, 16), frames=3)
    shown, unit = plan.planned.value.split()[:2]
    assert unit == "e/Å²"
    assert float(shown.replace(",", "")) == pytest.approx(exposure.total_dose, rel=5e-3)
    assert f"{exposure.pixel_charge_e:.3g} e per position" in plan.planned.value
    needed = scan.current_for_dose(200, 80e-6, plan.step_nm.value, (16, 16), frames=3)
    assert plan.report.needed_pa == pytest.approx(needed, rel=1e-4)
    assert "so far here: 0 e/Å²" in plan.so_far.value
    plan.use_needed_current()
    model.settle()
    assert microscope.instrument.current_pa == pytest.approx(needed, rel=1e-4)
    assert plan.planned.value.startswith("200 e/Å² in all")
    # another current, set anywhere, is seen at once
    microscope.instrument.controls.set_value("BeamCurrent", 2e-12)
    model.settle()
    assert "at 2 pA" in plan.planned.value


def test_the_dose_so_far_counts_what_was_exposed_here(model: Model, microscope: Any) -> None:
    field = microscope.instrument.field(model.plan.plan.scan_parameters()[0])
    microscope.instrument.ledger.add(1e4, field.center_nm, (20.0, 20.0), kind="survey")
    model.plan.refresh()
    model.settle()
    assert "so far here: 0.25 e/Å² on average" in model.plan.so_far.value


def test_the_dose_so_far_is_that_of_the_turned_field(model: Model, microscope: Any) -> None:
    source, plan = microscope.scan_source, model.plan
    parameters = source.get_current_frame_parameters()
    parameters.rotation_rad = np.pi / 4
    source.set_current_frame_parameters(parameters)
    plan.fov_nm.value = 20.0
    # charge in a corner of the field as it would lie without rotation: the turned field does not reach it
    microscope.instrument.ledger.add(1e6, (9.0, 9.0), (1.0, 1.0), kind="survey")
    plan.refresh()
    model.settle()
    assert "so far here: 0 e/Å² on average, 0 at most" in plan.so_far.value
    # and one beside the upright field, into which its corner reaches
    microscope.instrument.ledger.add(1e4, (0.0, 12.0), (1.0, 1.0), kind="survey")
    plan.refresh()
    model.settle()
    assert "so far here: 0.25 e/Å² on average, 100 at most" in plan.so_far.value


def test_an_instrument_without_part_of_the_protocol_does_not_qualify(microscope: Any) -> None:
    instrument = microscope.instrument
    assert isinstance(instrument, devices.FreeOrderInstrument)
    names = {name for name in vars(devices.FreeOrderInstrument) if not name.startswith("_")}
    assert names >= {"is_budget_overridden", "SetVal", "ledger", "safe_state"}
    whole = type("Whole", (), dict.fromkeys(names, len))
    assert isinstance(whole(), devices.FreeOrderInstrument)
    for name in names:
        lacking = type("Lacking", (), dict.fromkeys(names - {name}, len))
        assert not isinstance(lacking(), devices.FreeOrderInstrument), name


def test_the_budget_warns_blocks_and_is_overridden_with_a_reason(model: Model, microscope: Any) -> None:
    plan = model.plan
    plan.budget.value = 10.0
    model.settle()
    assert microscope.instrument.ledger.budget.total_dose == 10
    assert "the budget is 10 e/Å²" in plan.warning.value
    with pytest.raises(ParameterError, match="override it with a reason"):
        plan.check(plan.plan)
    with pytest.raises(ParameterError, match="reason"):
        plan.override()
    plan.override_reason.value = "the specimen is stable"
    plan.override()
    model.settle()
    plan.check(plan.plan)
    assert plan.is_overridden
    assert microscope.instrument.is_budget_overridden
    assert "overridden" in plan.warning.value
    (decision,) = microscope.instrument.ledger.overrides
    assert decision.reason == "the specimen is stable"
    assert decision.exceeded
    plan.budget.value = 9.0  # another budget, another decision
    model.settle()
    assert not microscope.instrument.is_budget_overridden
    microscope.instrument.override_budget("by a script", ())  # whoever overrides it
    plan.check(plan.plan)
    plan.budget.value = 8.0
    model.settle()
    with pytest.raises(ParameterError):
        plan.check(plan.plan)
    plan.budget.value = 0.0
    model.settle()
    assert plan.warning.value == ""


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("method", METHODS)
def test_every_order_can_be_planned(model: Model, pattern: str, method: str) -> None:
    if pattern != "sparse" and method != METHODS[0]:
        return
    plan = model.plan
    plan.pattern_index.value, plan.method_index.value = PATTERNS.index(pattern), METHODS.index(method)
    plan.fraction.value, plan.seed.value = 0.3, 5
    model.settle()
    assert plan.warning.value == ""
    parameters, visits = plan.plan.scan_parameters()
    assert ScanPlan.of(parameters).pattern == pattern
    assert len(visits) == parameters.scan_size.width * parameters.scan_size.height
    assert (len(visits) < 256) == (pattern == "sparse")


def test_impossible_values_are_told(model: Model) -> None:
    model.plan.pattern_index.value = PATTERNS.index("sparse")
    model.plan.fraction.value = 1.5
    model.settle()
    assert "fraction" in model.plan.warning.value
    model.plan.fraction.value = 0.5
    model.settle()
    assert model.plan.warning.value == ""


def test_devices_are_found_by_what_they_can_do(model: Model, microscope: Any) -> None:
    assert devices.scan_devices() == [microscope.scan_source]
    assert devices.cameras() == [microscope.camera_source]
    assert devices.packed_shape(microscope.camera_source) == (256, 256)
    assert microscope.camera_source.get_current_frame_parameters().get_parameter("packed") is None
    Registry.unregister_component(microscope.camera_source, {"camera_hardware_source"})
    try:
        model.plan.find_devices()
        model.settle()
        assert "no camera" in model.plan.warning.value
    finally:
        Registry.register_component(microscope.camera_source, {"camera_hardware_source"})


def test_a_subscan_is_left(model: Model, microscope: Any) -> None:
    parameters = microscope.scan_source.get_current_frame_parameters()
    parameters.subscan_pixel_size = (8, 8)
    parameters.subscan_fractional_size = (0.5, 0.5)
    parameters.subscan_fractional_center = (0.5, 0.5)
    microscope.scan_source.set_current_frame_parameters(parameters)
    planned, _ = model.plan.plan.scan_parameters()
    assert planned.scan_size.as_tuple() == (16, 16)
    assert planned.subscan_pixel_size is None


# the sink -----------------------------------------------------------------------------------------------------------


def described(shape: tuple[int, ...], is_sequence: bool = False) -> DataAndMetadata.DataMetadata:
    descriptor = DataAndMetadata.DataDescriptor(is_sequence, 2, 2)
    return DataAndMetadata.DataMetadata(data_shape=shape, data_dtype=np.dtype(np.uint8), data_descriptor=descriptor)


@pytest.mark.parametrize("pieces", [(300,), (1, 99, 200), (63, 64, 65, 108)])
def test_the_sink_knows_frame_and_position(pieces: tuple[int, ...]) -> None:
    order = ScanPlan("shuffled", seed=3)
    taken: list[stream.Chunk] = []
    sink = FrameSink("camera", order, (10, 10), 1e-3, taken.append, pytest.fail)
    data = np.arange(300 * 2, dtype=np.uint8).reshape(300, 2, 1)
    stored = described((3, 10, 10, 2, 1), is_sequence=True)
    at = 0
    for n in pieces:
        sink.update_data(Acquisition.Channel("camera"), data, (slice(at, at + n),), slice(at * 2, (at + n) * 2), stored)
        at += n
    expected = np.concatenate([scan.shuffled((10, 10), seed=3 + k).order for k in range(3)])
    assert np.array_equal(np.concatenate([chunk.index for chunk in taken]), expected)
    assert np.array_equal(np.concatenate([chunk.frames for chunk in taken if chunk.frames is not None]), data)
    assert np.concatenate([chunk.time_s for chunk in taken]) == pytest.approx(np.arange(300) * 1e-3)
    assert [chunk.visit for chunk in taken] == sorted(chunk.visit for chunk in taken)
    assert sink.get_data(Acquisition.Channel("camera")).data_descriptor == stored.data_descriptor


def test_the_sink_never_raises_into_nion() -> None:
    errors: list[Exception] = []

    def refuse(chunk: stream.Chunk) -> None:
        raise OSError("no")

    sink = FrameSink("camera", ScanPlan(), (2, 2), 1e-3, refuse, errors.append)
    stored = described((2, 2, 1, 1))
    sink.update_data(Acquisition.Channel("camera"), np.zeros((4, 1, 1), np.uint8), (slice(0, 4),), slice(0, 4), stored)
    sink.update_data(Acquisition.Channel("scan", "0"), np.zeros(4), (slice(0, 4),), slice(0, 4), stored)
    assert [str(error) for error in errors] == ["no"]


# binding, menu, threads ---------------------------------------------------------------------------------------------


def test_binding_there_and_back() -> None:
    data = np.arange(12, dtype=np.float32).reshape(3, 4)
    xdata = binding.to_xdata(data, (0.1, 0.2), "rad", {"esteem": {"image": "ssb"}})
    back, step, unit = binding.from_xdata(xdata)
    assert np.array_equal(back, data)
    assert (step, unit) == ((0.1, 0.2), "rad")
    assert xdata.metadata["esteem"]["image"] == "ssb"
    with pytest.raises(CalibrationError, match="nm"):
        binding.from_xdata(DataAndMetadata.new_data_and_metadata(data))


class FakeApp:
    def __init__(self) -> None:
        self.handlers: list[Callable[[Any], None]] = []

    def register_menu_handler(self, handler: Callable[[Any], None]) -> Callable[[Any], None]:
        self.handlers.append(handler)
        return handler

    def unregister_menu_handler(self, handler: Callable[[Any], None]) -> None:
        self.handlers.remove(handler)


class FakeWindow:
    def __init__(self) -> None:
        self.items: dict[str, Callable[[], None]] = {}
        self.shown: list[str] = []

    def get_or_create_menu(self, *names: str) -> FakeWindow:
        return self

    def add_menu_item(self, title: str, action: Callable[[], None]) -> None:
        self.items[title] = action

    def find_dock_panel(self, name: str) -> FakeWindow:
        self.shown.append(name)
        return self

    def show(self) -> None:
        pass


def test_the_menu_shows_the_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    app, window = FakeApp(), FakeWindow()
    monkeypatch.setattr(Application, "app", app)
    monkeypatch.setattr(menu, "_handlers", [])
    esteem_scan.run()
    esteem_live4d.run()
    try:
        app.handlers[0](window)
        window.items["Live 4D-STEM (Esteem)"]()
        assert window.shown == [esteem_live4d.PANEL_ID]
    finally:
        esteem_live4d.stop()
        esteem_scan.stop()
    assert not app.handlers


def test_only_the_newest_work_is_delivered() -> None:
    loop = asyncio.new_event_loop()
    calls = UserInterfaceCalls(loop)
    worker = NewestFirst(calls, "test")
    begun, gate = threading.Event(), threading.Event()
    done: list[Any] = []
    worked: list[int] = []

    def first() -> None:
        begun.set()
        gate.wait(60)

    worker.submit(first, done.append)
    assert begun.wait(60)
    for k in range(5):
        worker.submit(lambda k=k: worked.append(k), done.append)
    worker.submit(lambda: 1 / 0, done.append)
    gate.set()
    while worker.is_busy:
        time.sleep(0.001)
    assert not worked
    for _ in range(3):
        calls.newest("name", lambda: done.append("newest"))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert [type(item) for item in done] == [ZeroDivisionError, str]
    worker.submit(lambda: 1, done.append)
    worker.close()
    calls.later(lambda: done.append("too late"))
    calls.close()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert len(done) == 2
    loop.close()
    UserInterfaceCalls(loop).later(lambda: None)


def test_the_dose_so_far_follows_a_live_view(model: Model, microscope: Any) -> None:
    assert "so far here: 0 e/Å²" in model.plan.so_far.value
    source = microscope.configuration.scan_source
    parameters = source.get_current_frame_parameters()
    parameters.pixel_size, parameters.fov_nm, parameters.pixel_time_us = (16, 16), model.plan.fov_nm.value, 10.0
    source.set_current_frame_parameters(parameters)
    source.start_playing()
    try:
        source.get_next_xdatas_to_finish(30)
    finally:
        source.stop_playing(sync_timeout=10)
    model.settle()
    assert microscope.instrument.ledger.total_charge_e > 0
    assert "so far here: 0 e/Å²" not in model.plan.so_far.value


@pytest.mark.parametrize(
    ("text", "number", "whole"),
    [
        ("3,5", 3.5, None),
        (" 16 ", 16.0, 16),
        ("1e3", 1000.0, 1000),
        ("-2", -2.0, -2),
        ("", None, None),
        ("5-6", None, None),
        ("abc", None, None),
        ("nan", None, None),
        ("1e400", None, None),
        ("1e300", 1e300, None),
    ],
)
def test_what_is_typed_is_not_guessed(text: str, number: float | None, whole: int | None) -> None:
    assert NumberConverter().convert_back(text) == number
    assert WholeConverter().convert_back(text) == whole
    assert NumberConverter().convert(number) == ("" if number is None else f"{number:g}")
    assert WholeConverter().convert(whole) == ("" if whole is None else f"{whole}")


@pytest.mark.parametrize("typed", [None, -3.0])
def test_a_slip_of_the_keyboard_lifts_no_budget(model: Model, microscope: Any, typed: float | None) -> None:
    model.plan.budget.value = 50.0
    model.plan.budget.value = typed
    assert model.plan.budget.value == 50
    assert microscope.instrument.ledger.budget.total_dose == 50
    model.plan.budget.value = 0.0
    assert microscope.instrument.ledger.budget.total_dose is None


def test_a_camera_is_not_asked_for_more_than_it_can(model: Model) -> None:
    model.plan.dwell_us.value = 10.0
    model.settle()
    assert "exposes for 80 µs or longer" in model.plan.warning.value
    with pytest.raises(ParameterError, match="dwell time is 10 µs"):
        _ = model.plan.plan
    model.plan.rate.value = 12000.0
    assert model.plan.plan.dwell_s == pytest.approx(1 / 12000, rel=1e-5)


def test_a_scan_that_no_computer_can_hold_is_refused_at_once(model: Model) -> None:
    model.plan.rows.value = model.plan.columns.value = 100_000
    model.settle()
    assert "too many" in model.plan.warning.value


def test_a_window_never_waits_for_the_order_of_a_large_scan(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, report, go_on = model.plan, plan_model.report, threading.Event()

    def slow(*args: Any) -> Any:
        go_on.wait(60)
        return report(*args)

    monkeypatch.setattr(plan_model, "report", slow)
    monkeypatch.setattr(plan_model, "AT_ONCE", 16 * 16)
    plan.rows.value = plan.columns.value = 32
    assert model.plan.warning.value == "Working out the order of 1,024 positions"
    with pytest.raises(ParameterError, match="still being worked out"):
        plan.check(plan.plan)
    go_on.set()
    model.settle()
    plan.check(plan.plan)
    assert model.plan.warning.value == ""


def test_a_device_that_is_just_being_removed_stops_no_panel(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.plan.camera_source, "get_current_frame_parameters", lambda: None.anything)  # type: ignore[attr-defined]
    model.plan.refresh()
    assert "AttributeError" in model.plan.warning.value


def test_python_is_as_before_after_acquisitions_that_overlap() -> None:
    before = sys.getswitchinterval()
    first, second = steady(), steady()
    with first:
        second.__enter__()
    assert sys.getswitchinterval() < before
    second.__exit__(None, None, None)
    assert sys.getswitchinterval() == before
