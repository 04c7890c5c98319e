"""Start the real Nion Swift without its dialogs, run a driver in its window and take a picture.

``NionSwiftLauncher <prefix> swift_app.py`` calls `main`. The environment says the rest: ``SWIFT_WORK`` (folder for
profile, project and log), ``SWIFT_DRIVER`` (a Python file with ``async def drive(app, window)``), ``SWIFT_PATHS``
(folders to import from).
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import sys
import traceback
import uuid
from pathlib import Path
from typing import Any

sys.path[:0] = [path for path in os.environ.get("SWIFT_PATHS", "").split(os.pathsep) if path]
WORK = Path(os.environ["SWIFT_WORK"])


def make_profile(event_loop: asyncio.AbstractEventLoop) -> Any:
    """Return a new profile with an empty project."""
    from nion.swift.model import FileStorageSystem, Profile

    folder = WORK / "profile"
    (folder / "Cache").mkdir(parents=True)
    path = folder / "Profile.nsproj"
    path.write_text(json.dumps({"version": FileStorageSystem.PROFILE_VERSION, "uuid": str(uuid.uuid4())}))
    storage = FileStorageSystem.make_file_persistent_storage_system(path)
    storage.load_properties()
    profile = Profile.Profile(event_loop, storage_system=storage, cache_dir_path=folder / "Cache")
    profile.read_profile()
    (WORK / "projects").mkdir()
    reference = profile.create_project(WORK / "projects", "Test")
    profile.last_project_reference = reference.uuid
    return profile


def main(args: Any, bootstrap_args: Any) -> Any:
    """Return the application; the launcher calls this."""
    logging.basicConfig(filename=WORK / "swift.log", level=logging.INFO)
    from nion.swift import Application, Facade
    from nion.ui import Application as UserInterface

    Facade.initialize()

    class Swift(Application.Application):
        def start(self, *, profile_dir: Any = None, profile: Any = None) -> Any:
            started = super().start(profile=make_profile(self.event_loop))
            window = self.document_controllers[0]
            self.task = window.event_loop.create_task(drive(self, window))
            return started

    app = Swift(UserInterface.make_ui(bootstrap_args))
    app.initialize(use_root_dir=False)
    return app


async def drive(app: Any, window: Any) -> None:
    """Run the driver; what it returns, or its error, becomes ``result.json``."""
    await asyncio.sleep(3)
    try:
        spec = importlib.util.spec_from_file_location("swift_driver", os.environ["SWIFT_DRIVER"])
        assert spec is not None
        assert spec.loader is not None
        driver = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(driver)
        result = await driver.drive(app, window)
    except Exception:
        result = {"error": traceback.format_exc()}
    (WORK / "result.tmp").write_text(json.dumps(result))
    (WORK / "result.tmp").rename(WORK / "result.json")
