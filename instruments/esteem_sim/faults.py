"""Faults on demand, so that tests can see what happens when a device fails in the middle of a scan."""

from __future__ import annotations

import dataclasses

from esteemcore.errors import StreamError


class DeviceFaultError(StreamError):
    """A device failed because a test asked for it."""


@dataclasses.dataclass
class Faults:
    """What shall go wrong; None for nothing.

    Attributes
    ----------
    camera_at : int or None
        The camera is gone once it has delivered this many frames of a run.
    camera_id : str
        Which camera; any if empty.
    scan_at : int or None
        The scan device raises once this many positions of a frame were visited.
    """

    camera_at: int | None = None
    scan_at: int | None = None
    camera_id: str = ""

    def clear(self) -> None:
        """Let nothing go wrong."""
        self.camera_at = self.scan_at = None
        self.camera_id = ""

    def check_camera(self, camera_id: str, frames: int) -> None:
        """Raise if a camera shall be gone by now."""
        if self.camera_at is not None and frames >= self.camera_at and self.camera_id in ("", camera_id):
            raise DeviceFaultError(f"the camera does not answer any more (after {frames} frames)")

    def check_scan(self, visits: int) -> None:
        """Raise if the scan device shall fail by now."""
        if self.scan_at is not None and visits >= self.scan_at:
            raise DeviceFaultError(f"the scan device stopped (after {visits} positions)")
