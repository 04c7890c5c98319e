"""A session at the microscope by mouse and keyboard: live view, three acquisitions, one aborted, files again."""

from __future__ import annotations

import subprocess
from typing import Any

import numpy as np
from nion.utils import Geometry
from user import PANEL, WORK, button, choose, click, ended, enter, environment, picture, ready, show_panels, until

SIDE = 128


class Bench:
    """The panel, and what is noted on the way."""

    def __init__(self, handler: Any) -> None:
        self.handler, self.plan, self.instrument = handler, handler.plan, handler.plan.instrument
        self.blanked: dict[str, bool] = {}

    def charge(self, kind: str) -> float:
        """Return the charge so far in electrons."""
        return float(self.instrument.ledger.totals.get(kind, 0.0))

    def dose(self) -> float:
        """Return the mean dose so far in the middle of the field, in e/Å²."""
        field = self.instrument.field(self.plan.plan.scan_parameters()[0])
        return float(self.instrument.ledger.dose_at(field.center_nm, [side / 2 for side in field.fov_nm])[0])

    async def note(self, step: str) -> None:
        """Note whether the beam is blanked, as it must be within a second after a step."""
        self.blanked[step] = self.instrument.is_blanked
        await picture(f"session_{step}.png")

    def view(self) -> dict[str, Any]:
        """Return what the phase image was made with, by its metadata."""
        entry = self.handler.images.item("ssb").metadata["esteem"]
        parameters = entry["provenance"]["parameters"]
        geometry = parameters["geometry"]
        return {
            "run": entry["run"],
            "frames": entry["frames"],
            "C10": (geometry["aberrations"] or {}).get("C10"),
            "rotation_deg": geometry["rotation_deg"],
            "regularization": parameters["regularization"],
        }

    async def set_dose(self, dose: float) -> None:
        """Type the wished dose and take its current."""
        before = self.instrument.current_pa
        await enter(self.handler.plan_handler.wished_edit, f"{dose:g}")
        await until(lambda: self.plan.wished_dose.value == dose, "the dose was not taken")
        await ready(self.handler)
        await click(self.handler.plan_handler.current_button)
        await until(lambda: self.instrument.current_pa != before, "the current did not change")
        await ready(self.handler)

    async def begin(self) -> None:
        """Click Acquire and wait until frames come."""
        handler = self.handler
        session = handler.session
        await click(handler.acquire_button)
        await until(lambda: handler.session is not session, f"not started: {handler.message.value!r}")
        await until(lambda: handler.session.runner and handler.session.runner.status.reduced, "no frames")

    def planned(self) -> dict[str, float]:
        """Return what the plan will expose, and what has been exposed before."""
        exposure = self.plan.plan.exposure()
        return {
            "dose": exposure.total_dose,
            "visits": SIDE * SIDE * self.plan.frames.value,
            "pixel_charge_e": exposure.pixel_charge_e,
            "dose_before": self.dose(),
            "acquisition_before": self.charge("acquisition"),
            "spoiled_before": self.charge("spoiled"),
        }

    async def finish(self) -> dict[str, Any]:
        """Wait for the end of an acquisition, and return what became of it."""
        message = await ended(self.handler)
        return {
            "message": message,
            "path": str(self.handler.session.path),
            "acquired": self.handler.session.runner.status.acquired,
            "dose_after": self.dose(),
            "acquisition_after": self.charge("acquisition"),
            "spoiled_after": self.charge("spoiled"),
            "view": self.view(),
        }


def images(window: Any, source: str) -> dict[str, float]:
    """Return the titles of the images of a scan device, each with its greatest value."""
    items = window.document_model.data_items
    return {item.title: float(np.max(item.data)) for item in items if item.title.startswith(source)}


async def live_view(bench: Bench, window: Any, panel: Any) -> dict[str, Any]:
    """Press Scan and Stop in Nion's own scan control panel of our device."""
    source = bench.plan.scan_source
    await click(button(panel, "Scan"))
    await until(lambda: source.is_playing, "the live view did not start")
    await until(lambda: not bench.instrument.is_blanked, "the beam did not come on")
    await until(lambda: bench.charge("live view") > 0, "no electrons in the live view")
    await until(lambda: button(panel, "Stop"), "no button Stop")
    await click(button(panel, "Stop"))
    await until(lambda: not source.is_playing, "the live view did not stop")
    await until(lambda: bench.instrument.is_blanked, "the beam stays on after the live view", 5)
    return {"charge": bench.charge("live view"), "images": images(window, "Esteem Scan")}


async def open_run(bench: Bench, path: str) -> str:
    """Choose a folder in the dialog of Open run...; while it is open, Nion's thread stands still."""
    handler = bench.handler
    session = handler.session
    at = handler.open_button.map_to_global(Geometry.IntPoint(y=10, x=20))
    steps = (
        f"xdotool mousemove {at.x} {at.y} sleep 0.05 click 1; "
        "for k in $(seq 50); do xdotool search --onlyvisible --name '^Open a container' && break; sleep 0.1; done; "
        f"sleep 0.7; xdotool key ctrl+a type '{path}'; sleep 0.5; xdotool key Return"
    )
    with (WORK / "open_run.log").open("w") as log:
        hands = subprocess.Popen(["sh", "-c", steps], env=environment(), stdout=log, stderr=log)
        await until(lambda: handler.session is not session, f"not opened; {handler.message.value!r}")
        hands.wait(60)
    return await ended(handler)


async def drive(app: Any, window: Any) -> dict[str, Any]:
    """Return what happened at each step."""
    panel, scan_panel = await show_panels(window, PANEL, "scan-control-panel-esteem_scan")
    handler = panel.handler
    bench = Bench(handler)
    form = handler.plan_handler
    handler.folder.value = str(WORK / "raw")
    bench.plan.rows.value = bench.plan.columns.value = SIDE
    bench.plan.fov_nm.value = 4.0
    bench.plan.pattern_index.value = 0
    await ready(handler)
    found: dict[str, Any] = {"live_view": await live_view(bench, window, scan_panel)}
    await bench.note("live_view")

    await choose(form.pattern_combo, "shuffled")
    await bench.set_dose(200)
    found["first"] = bench.planned() | {"current_pa": bench.instrument.current_pa}
    await bench.begin()
    found["first"] |= await bench.finish()
    await bench.note("first")

    await enter(form.dwell_edit, "400")  # slow enough to type
    await bench.set_dose(2000)
    found["second"] = bench.planned() | {"current_pa": bench.instrument.current_pa}
    await bench.begin()
    await enter(handler.defocus_edit, "6")
    await enter(handler.rotation_edit, "5")
    seen = bench.view
    await until(lambda: (seen()["C10"], seen()["rotation_deg"]) == (-6, 5), f"the image did not follow: {seen()}")
    found["second"]["while_running"] = seen() | {"is_running": handler.session.is_running}
    await picture("session_while_running.png")
    found["second"] |= await bench.finish()
    await bench.note("second")

    found["third"] = bench.planned()
    await bench.begin()
    await until(lambda: handler.session.runner.status.acquired > 0.3 * SIDE * SIDE, "too slow")
    await click(handler.abort_button)
    found["third"] |= await bench.finish()
    await bench.note("aborted")

    session = handler.session
    await click(handler.again_button)
    await until(lambda: handler.session is not session, "not read again")
    found["again"] = {"message": await ended(handler), "view": bench.view()}
    await bench.note("again")

    found["opened"] = {"message": await open_run(bench, found["first"]["path"]), "view": bench.view()}
    await bench.note("opened")
    return found | {"blanked": bench.blanked, "entries": [entry.kind for entry in bench.instrument.ledger.entries]}
