"""Nion Swift without its window: the framework, its hardware sources, and a project to work in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from nion.instrumentation import HardwareSource, camera_base, scan_base, stem_controller
from nion.swift.model import DocumentModel

from esteem_sim.configuration import Configuration
from esteem_sim.project import open_document


@contextlib.contextmanager
def headless_swift(configuration: Configuration, project: Path) -> Iterator[DocumentModel.DocumentModel]:
    """Run the framework with a simulator, and open a project in it.

    What Nion would keep in the user's profile goes into a folder that is deleted at the end.

    Parameters
    ----------
    configuration : Configuration
        Registered here, and closed at the end.
    project : Path
        The ``*.nsproj`` to open, see `esteem_sim.project.create_project`.

    Yields
    ------
    DocumentModel
        The open project.
    """
    with contextlib.ExitStack() as stack:
        loop = stack.enter_context(_event_loop())
        stack.enter_context(_without_known_complaint())
        work = tempfile.TemporaryDirectory(prefix="esteem_swift_", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(work))
        stack.enter_context(_hardware_sources(folder))
        stack.callback(configuration.stop)
        configuration.run()
        stem_controller.register_event_loop(loop)  # needs the scan device, and is needed until the document is closed
        stack.callback(stem_controller.unregister_event_loop)
        yield stack.enter_context(open_document(project, loop, folder))


@contextlib.contextmanager
def _hardware_sources(folder: Path) -> Iterator[None]:
    """Let Nion make hardware sources of the devices that are registered; their settings go into a folder."""
    HardwareSource.run()
    camera_base.run(folder)
    scan_base.run(folder)
    try:
        yield
    finally:
        scan_base.stop()
        camera_base.stop()
        HardwareSource.stop()
        HardwareSource.HardwareSourceManager().close()


@contextlib.contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Make an event loop the present one, and put back that of before."""
    before = _present_loop()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield loop
    finally:
        loop.run_until_complete(asyncio.sleep(0))  # what was called soon is called now
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        asyncio.set_event_loop(before)


def _present_loop() -> asyncio.AbstractEventLoop | None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # where there is none, Python < 3.14 warns and makes one
        try:
            return asyncio.get_event_loop()
        except (RuntimeError, DeprecationWarning):
            return None


@contextlib.contextmanager
def _without_known_complaint() -> Iterator[None]:
    """Keep Nion from warning that bytes are fewer than it thought: it takes all cameras for float32 ones."""

    def is_news(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Data stream progress should be 1.0")

    logger = logging.getLogger()
    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)
