"""The real Nion Swift in a virtual display: a mouse click acquires, the phase image appears."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from esteemcore import io

ROOT = Path(__file__).parents[2]
LAUNCHER = Path(sys.prefix) / "bin" / "NionSwiftLauncher" / "NionSwiftLauncher"
PROGRAMS = ("Xvfb", "openbox", "wmctrl", "xdotool", "import")
LIMIT_S = 120


def missing() -> str:
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if not LAUNCHER.exists():
        lacking.append("NionSwiftLauncher (pip install nionswift-tool)")
    return f"needs {', '.join(lacking)}" if lacking else ""


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")


@pytest.fixture
def display(tmp_path: Path) -> Iterator[str]:
    """A private X server with a window manager."""
    number = tmp_path / "display"
    with number.open("w") as file, (tmp_path / "x.log").open("w") as log:
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(file.fileno()), "-screen", "0", "1920x1200x24", "-nolisten", "tcp"],
            pass_fds=[file.fileno()],
            stderr=log,
        )
        manager = None
        try:
            deadline = time.monotonic() + 10
            while not number.read_text().strip():
                assert time.monotonic() < deadline, "the virtual display did not start"
                time.sleep(0.05)
            name = f":{number.read_text().strip()}"
            manager = subprocess.Popen(["openbox"], env=os.environ | {"DISPLAY": name}, stderr=log)
            yield name
        finally:
            for process in (manager, server):
                if process is not None:
                    process.terminate()
                    process.wait(10)


def test_a_click_acquires_and_shows_the_phase(display: str, tmp_path: Path) -> None:
    work = tmp_path / "swift"
    for folder in (work / "home" / "Documents", work / "run"):
        folder.mkdir(parents=True)
    (work / "run").chmod(0o700)
    libraries = [sysconfig.get_config_var("LIBDIR") or "", os.environ.get("LD_LIBRARY_PATH", "")]
    environment = os.environ | {
        "DISPLAY": display,
        "HOME": str(work / "home"),
        "XDG_RUNTIME_DIR": str(work / "run"),
        "QT_QPA_PLATFORM": "xcb",
        "QT_XCB_GL_INTEGRATION": "none",
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
        "SWIFT_WORK": str(work),
        "SWIFT_DRIVER": str(Path(__file__).parent / "live4d_driver.py"),
        "SWIFT_PATHS": os.pathsep.join(map(str, (ROOT, ROOT / "instruments"))),
    }
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "WAYLAND_DISPLAY"):
        environment.pop(name, None)
    with (work / "launcher.log").open("w") as log:
        swift = subprocess.Popen(
            [str(LAUNCHER), sys.prefix, str(Path(__file__).parent / "swift_app.py")],
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + LIMIT_S
            while not (work / "result.json").exists():
                assert swift.poll() is None, f"Swift ended: {(work / 'launcher.log').read_text()[-2000:]}"
                assert time.monotonic() < deadline, f"no result: {(work / 'swift.log').read_text()[-2000:]}"
                time.sleep(0.2)
        finally:
            swift.send_signal(signal.SIGTERM)
            try:
                swift.wait(10)
            except subprocess.TimeoutExpired:
                swift.kill()
                swift.wait(10)
    result = json.loads((work / "result.json").read_text())
    assert "error" not in result, result["error"]
    assert result["message"].startswith("Done: 16,384 of 16,384 frames"), result
    assert result["units"]["Live 4D-STEM: SSB phase"] == "rad"
    assert result["displayed"] == 4
    assert result["refocused"] == {"C10": -12}
    assert result["blanked"] is True
    (path,) = (work / "raw").iterdir()
    assert len(io.source(path)) == 128 * 128
    assert (work / "live4d.png").stat().st_size > 50_000
    kept = os.environ.get("ESTEEM_SCREENSHOTS")
    if kept:
        Path(kept).mkdir(parents=True, exist_ok=True)
        shutil.copy(work / "live4d.png", kept)
