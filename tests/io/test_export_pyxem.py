"""Exports of 4D-STEM data in pyxem, which needs an environment of its own: its releases pin what ours does not.

``ESTEEM_PYXEM_PYTHON=/path/to/python python -m pytest tests/io/test_export_pyxem.py``
"""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pytest

from esteemcore import io
from esteemcore.io.exports import export

PYTHON = os.environ.get("ESTEEM_PYXEM_PYTHON", "")
ASK = """
import json, sys
import hyperspy.api as hs
import pyxem
s = hs.load(sys.argv[1])
print(json.dumps({
    "kind": type(s).__name__,
    "package": type(s).__module__.split(".")[0],
    "axes": [[a.name, a.size, a.scale, a.offset, str(a.units), a.navigate] for a in s.axes_manager._axes],
    "values": s.data.ravel()[:200].tolist(),
    "sum": s.sum(axis=(0, 1)).data.tolist(),
}))
"""


@pytest.mark.skipif(not PYTHON, reason="ESTEEM_PYXEM_PYTHON names no interpreter that has pyxem")
@pytest.mark.parametrize("ending", [".hspy", ".zspy"])
def test_pyxem_opens_an_export_as_diffraction_with_its_axes(tmp_path, rng, ending) -> None:
    data = rng.integers(0, 50, (3, 4, 12, 10)).astype(np.uint16)
    axes = (
        io.Axis("y", 3, 0.2, 1.0, "nm"),
        io.Axis("x", 4, 0.3, 2.0, "nm"),
        io.Axis("ky", 12, 0.05, -0.3, "1/nm"),
        io.Axis("kx", 10, 0.05, -0.25, "1/nm"),
    )
    path = tmp_path / f"frames{ending}"
    export(path, io.Dataset({"frames": io.Signal(data, axes)}))
    done = subprocess.run([PYTHON, "-c", ASK, str(path)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["package"] == "pyxem"
    assert found["kind"] in ("Diffraction2D", "ElectronDiffraction2D")
    for (name, size, scale, offset, unit, navigates), axis, n in zip(found["axes"], axes, range(4), strict=True):
        assert (name, size, unit, navigates) == (axis.name, axis.size, axis.unit, n < 2)
        assert (scale, offset) == pytest.approx((axis.scale, axis.offset))
    assert found["values"] == data.ravel()[:200].tolist()
    assert found["sum"] == data.sum(axis=(0, 1)).tolist()
