"""The real Nion Swift in a virtual display of its own, driven by a file: for tests and for pictures of the window.

``python tests/gui/real_swift.py`` says what is missing here, and fails if anything is.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LAUNCHER = Path(sys.prefix) / "bin" / "NionSwiftLauncher" / "NionSwiftLauncher"
PROGRAMS = ("Xvfb", "openbox", "wmctrl", "xdotool", "import")
LIBRARIES = (
    "dbus-1", "EGL", "GL", "xcb-cursor", "xcb-icccm", "xcb-image", "xcb-keysyms", "xcb-randr", "xcb-render-util",
    "xcb-shape", "xcb-xfixes", "xcb-xinerama", "xkbcommon-x11",
)  # fmt: skip
SCREEN = (1920, 1200)
STOP_S = 10.0


class SwiftError(Exception):
    """Nion Swift did not do what was expected; the message has the end of its logs."""


def missing() -> str:
    """Return what the real window needs and is not here, in words; empty if all is there."""
    if not sys.platform.startswith("linux"):
        return "needs Linux: a virtual display"
    programs = [name for name in PROGRAMS if shutil.which(name) is None]
    libraries = [f"lib{name}" for name in LIBRARIES if ctypes.util.find_library(name) is None]
    needs = [*programs, *libraries]
    words = [f"{', '.join(needs)} (Debian packages: tests/gui/debian-packages.txt)"] if needs else []
    if not LAUNCHER.exists():
        words.append("NionSwiftLauncher (pip install nionswift-tool, extra app)")
    return f"needs {'; '.join(words)}" if words else ""


@contextlib.contextmanager
def display(folder: Path, size: tuple[int, int] = SCREEN) -> Iterator[str]:
    """Run a virtual display with a window manager, and yield its name.

    Parameters
    ----------
    folder : Path
        For logs.
    size : (int, int)
        Width and height in px.
    """
    number = folder / "display"
    server = manager = None
    with number.open("w") as file, (folder / "display.log").open("w") as log:
        try:
            server = subprocess.Popen(
                [
                    "Xvfb",
                    "-nolisten",
                    "tcp",
                    "-displayfd",
                    str(file.fileno()),
                    "-screen",
                    "0",
                    f"{size[0]}x{size[1]}x24",
                ],
                pass_fds=[file.fileno()],
                stderr=log,
            )
            deadline = time.monotonic() + 60
            while not number.read_text().strip():
                if server.poll() is not None or time.monotonic() > deadline:
                    raise SwiftError(f"the virtual display did not start: {(folder / 'display.log').read_text()}")
                time.sleep(0.05)
            name = f":{number.read_text().strip()}"
            manager = subprocess.Popen(["openbox"], env=os.environ | {"DISPLAY": name}, stdout=log, stderr=log)
            yield name
        finally:
            for process in (manager, server):
                if process is not None:
                    _stop(process)


class Swift:
    """A running Nion Swift, see `swift`."""

    def __init__(self, process: subprocess.Popen[bytes], work: Path, display_name: str) -> None:
        self.process = process
        self.work = work
        self._display = display_name

    def result(self, limit_s: float = 600.0) -> dict[str, Any]:
        """Wait until the driver has returned, and return what it has.

        Raises
        ------
        SwiftError
            If the driver raises, Swift ends before, or the time is over.
        """
        deadline = time.monotonic() + limit_s
        path = self.work / "result.json"
        while not path.exists():
            if self.process.poll() is not None:
                raise SwiftError(f"Nion Swift ended with {self.process.returncode}\n{self.logs()}")
            if time.monotonic() > deadline:
                raise SwiftError(f"no result after {limit_s:g} s\n{self.logs()}")
            time.sleep(0.05)
        result: dict[str, Any] = json.loads(path.read_text())
        if "error" in result:
            raise SwiftError(f"{result['error']}\n{self.logs()}")
        return result

    def close_window(self) -> None:
        """Ask the main window to close, as its close button does."""
        subprocess.run(["wmctrl", "-c", "Nion Swift"], env=os.environ | {"DISPLAY": self._display}, check=True)

    def wait_for_end(self, limit_s: float) -> float:
        """Wait until Swift has ended by itself, and return how long that took in s."""
        began = time.monotonic()
        try:
            self.process.wait(limit_s)
        except subprocess.TimeoutExpired as error:
            raise SwiftError(f"Nion Swift still runs after {limit_s:g} s\n{self.logs()}") from error
        return time.monotonic() - began

    def logs(self) -> str:
        """Return the ends of the logs."""
        found = [path for path in (self.work / "launcher.log", self.work / "swift.log") if path.exists()]
        return "\n".join(f"{path.name}: ...{path.read_text(errors='replace')[-3000:]}" for path in found)


@contextlib.contextmanager
def swift(driver: Path, work: Path, display_name: str, **settings: str) -> Iterator[Swift]:
    """Run Nion Swift, without a question about projects and with a home of its own.

    Parameters
    ----------
    driver : Path
        A Python file with ``async def drive(app, window) -> dict``; it may import `user`.
    work : Path
        Empty folder for home, project, logs and what the driver writes; the driver finds it as `user.WORK`.
    display_name : str
        As `display` yields it.
    **settings : str
        Environment variables for the driver.

    Yields
    ------
    Swift
        It is stopped at the end, if it still runs.
    """
    for folder in (work / "home" / "Documents", work / "run"):
        folder.mkdir(parents=True)
    (work / "run").chmod(0o700)
    libraries = [sysconfig.get_config_var("LIBDIR") or "", os.environ.get("LD_LIBRARY_PATH", "")]
    environment = os.environ | {
        "DISPLAY": display_name,
        "HOME": str(work / "home"),
        "XDG_RUNTIME_DIR": str(work / "run"),
        "QT_QPA_PLATFORM": "xcb",
        "QT_XCB_GL_INTEGRATION": "none",
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
        "SWIFT_WORK": str(work),
        "SWIFT_DRIVER": str(driver),
        "SWIFT_PATHS": os.pathsep.join(map(str, (ROOT, ROOT / "instruments", HERE))),
        **settings,
    }
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "WAYLAND_DISPLAY"):
        environment.pop(name, None)
    with (work / "launcher.log").open("w") as log:
        process = subprocess.Popen(
            [str(LAUNCHER), sys.prefix, str(HERE / "swift_app.py")], env=environment, stdout=log, stderr=log
        )
    try:
        yield Swift(process, work, display_name)
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)


if __name__ == "__main__":
    sys.exit(missing() or 0)
