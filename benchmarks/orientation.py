"""Orientations by template matching: how far off, and how fast, beside pyxem on the same frames and the same library.

``python -m benchmarks.orientation [--frames N] [--resolution DEG] [--pyxem PYTHON] [--json FILE]``. Gold at random
orientations and a twin are simulated with diffsims (extra ``diffraction``), as frames of 128 x 128 counts. pyxem runs
on one thread in the environment of the interpreter that ``--pyxem`` or ``ESTEEM_PYXEM_PYTHON`` names, and is left out
without. It matches polar patterns; both ways need a step before, whose time is given beside.

``within 3 deg`` is the share of the frames whose best orientation is that near, ``best of 3`` of those where one of the
best three is; ``median`` is over those of the first that are. pyxem is measured with all templates and, as it is by
default, with the tenth of them whose radial profile fits best.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import best, report
from esteemcore import diffraction

EDGE = 4.08
PIXEL = 0.03
CENTER = 64
REACH = 1.6
SIMULATION = {"max_excitation_error": 0.05, "shape_factor_width": 0.02}
"""Everything in Å, as diffsims and pyxem have it."""
RADIUS = 3.0

PEER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
import pyxem
from diffpy.structure import Atom, Lattice, Structure
from diffsims.generators.simulation_generator import SimulationGenerator
from orix.crystal_map import Phase
from orix.sampling import get_sample_reduced_fundamental

folder, edge, pixel, reach, resolution, simulation = sys.argv[1], *map(float, sys.argv[2:6]), json.loads(sys.argv[6])
cell = Structure([Atom("Au", [0, 0, 0])], Lattice(edge, edge, edge, 90, 90, 90))
gold = Phase("gold", space_group=225, structure=cell).expand_asymmetric_unit()
grid = get_sample_reduced_fundamental(resolution, point_group=gold.point_group)
library = SimulationGenerator(200, minimum_intensity=1e-3).calculate_diffraction2d(
    gold, grid, reciprocal_radius=reach, with_direct_beam=False, **simulation
)
frames = np.load(folder + "/frames.npy")
n = len(frames)
signal = pyxem.signals.ElectronDiffraction2D(frames.reshape(-1, 10, *frames.shape[1:]).astype(np.float32))
signal.calibration(scale=pixel, units="k_A^-1", center=(64, 64))
result = {"version": pyxem.__version__}


def timed(work):
    work()
    start = time.process_time()
    made = work()
    return made, time.process_time() - start


polar, result["before"] = timed(lambda: signal.get_azimuthal_integral2d(
    npt=round(reach / pixel), npt_azim=360, radial_range=(0, reach), show_progressbar=False))
polar = polar**0.5
for name, share in (("tenth", 0.1), ("all", 1.0)):
    found, result[name] = timed(
        lambda: polar.get_orientation(library, n_best=3, frac_keep=share, show_progressbar=False))
    np.save(folder + "/" + name + ".npy", found.data.reshape(n, 3, 4))
np.save(folder + "/grid.npy", grid.data.reshape(-1, 4))
json.dump(result, open(folder + "/result.json", "w"))
"""


def gold() -> Any:
    """Return the phase."""
    from diffpy.structure import Atom, Lattice, Structure
    from orix.crystal_map import Phase

    cell = Structure([Atom("Au", [0, 0, 0])], Lattice(EDGE, EDGE, EDGE, 90, 90, 90))
    return Phase("gold", space_group=225, structure=cell)


def frames(rotations: np.ndarray, electrons: float, rng: np.random.Generator) -> np.ndarray:
    """Return counts of crystals at orientations (n, 4), with the direct beam in the middle."""
    from diffsims.generators.simulation_generator import SimulationGenerator
    from orix.quaternion import Rotation

    crystals = gold().expand_asymmetric_unit()
    patterns = SimulationGenerator(200, minimum_intensity=1e-3).calculate_diffraction2d(
        crystals, Rotation(rotations), reciprocal_radius=REACH, with_direct_beam=False, **SIMULATION
    )
    y, x = np.mgrid[: 2 * CENTER, : 2 * CENTER]
    made = np.empty((len(rotations), *y.shape), np.uint16)
    for k, spots in enumerate(patterns.coordinates):
        place = np.concatenate([[[0.0, 0.0]], spots.data[:, :2] / PIXEL]) + CENTER
        bright = np.concatenate([[1.0], spots.intensity / spots.intensity.sum()]) * electrons
        distance = np.hypot(x - place[:, 0, None, None], y - place[:, 1, None, None])
        disks = bright[:, None, None] / (np.pi * RADIUS**2) / (1 + np.exp(3 * (distance - RADIUS)))
        made[k] = rng.poisson(disks.sum(axis=0) + 0.02)
    return made


def angles(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the least angles in degrees between orientations (n, k, 4) and the true ones (n, 4)."""
    from orix.quaternion import Orientation, symmetry

    oriented = [Orientation(q, symmetry=symmetry.O) for q in (true, *np.moveaxis(np.nan_to_num(found), 1, 0))]
    return np.degrees(np.stack([oriented[0].angle_with(other) for other in oriented[1:]], axis=1))


def row(method: str, off: np.ndarray, match_s: float, before_s: float) -> dict[str, str]:
    """Return a row of the table."""
    n, good = len(off), off[:, 0] < 3
    return {
        "method": method,
        "within 3 deg": f"{good.mean():.3f}",
        "best of 3": f"{(off.min(axis=1) < 3).mean():.3f}",
        "median deg": f"{np.median(off[good, 0]):.2f}",
        "frames per CPU s, matching": f"{n / match_s:.0f}",
        "disks or polar pattern before": f"{n / before_s:.0f}",
        "both": f"{n / (match_s + before_s):.0f}",
    }


def ours(
    data: np.ndarray, true: np.ndarray, library: diffraction.TemplateLibrary, *, refine: bool = True
) -> tuple[dict[str, str], diffraction.Orientations]:
    """Return our row, and the orientations."""
    kept: dict[str, Any] = {}
    shape = (len(data) // 10, 10)

    def find() -> None:
        kept["disks"] = diffraction.find_disks(data.reshape(*shape, *data.shape[1:]), RADIUS, passes=1, threads=1)

    def match() -> None:
        kept["found"] = diffraction.orientation(kept["disks"], shape, library, 10 * PIXEL, refine=refine, threads=1)

    find()
    match()
    before, matching = best(find, 2)[0], best(match, 3)[0]
    off = angles(kept["found"].rotations.reshape(len(data), -1, 4), true)
    return row("esteem" if refine else "esteem, tilt not refined", off, matching, before), kept["found"]


def pyxem_rows(python: str, data: np.ndarray, true: np.ndarray, resolution: float) -> list[dict[str, str]]:
    """Return the rows of pyxem."""
    from esteemcore.diffraction._orientation_kernels import turned

    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "frames.npy", data)
        numbers = [str(v) for v in (EDGE, PIXEL, REACH, resolution)]
        one = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        command = [python, "-c", PEER, folder, *numbers, json.dumps(SIMULATION)]
        subprocess.run(command, check=True, env=os.environ | one, capture_output=True)
        result = json.loads((Path(folder) / "result.json").read_text())
        grid = np.load(Path(folder) / "grid.npy")
        rows = []
        for name in ("all", "tenth"):
            found = np.load(Path(folder) / f"{name}.npy")
            # its polar patterns run from -180 degrees and against ours: the angle is turned, the mirror exchanged
            rotations = [
                [turned(grid[int(t)], mirror > 0, -np.radians(angle + 180)) for t, _, angle, mirror in each]
                for each in found
            ]
            label = f"pyxem {result['version']}, {name} of the templates"
            rows.append(row(label, angles(np.array(rotations), true), result[name], result["before"]))
    return rows


def twin_row(library: diffraction.TemplateLibrary, rng: np.random.Generator) -> dict[str, str]:
    """Return what is found of a twin of gold: 60 degrees about [111]."""
    from orix.quaternion import Rotation

    parent = Rotation.from_euler([20, 35, 70], degrees=True)
    both = [parent, Rotation.from_axes_angles([1, 1, 1], np.radians(60)) * parent]
    wobble = Rotation.from_axes_angles(rng.normal(size=(100, 3)), np.radians(0.3 * rng.normal(size=100)))
    true = np.concatenate([(grain * wobble[50 * k : 50 * k + 50]).data for k, grain in enumerate(both)])
    _, found = ours(frames(true, 3000, rng), true, library)
    clusters = diffraction.orientation_clusters(found)
    angle = clusters.misorientation_deg[0, 1]
    axis = np.degrees(np.arccos(min(1.0, float(np.abs(clusters.axes[0, 1]).sum() / 3**0.5))))
    return {
        "positions in the two largest clusters": f"{clusters.sizes[:2].sum()} of 100",
        "angle deg (true 60)": f"{angle:.2f}",
        "axis off [111] by deg": f"{axis:.2f}",
    }


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300, help="in tens (%(default)s)")
    parser.add_argument("--resolution", type=float, default=1.0, help="step of the library in degrees (%(default)s)")
    parser.add_argument("--electrons", type=float, default=3000, help="in the reflections of a frame (%(default)s)")
    parser.add_argument("--pyxem", default=os.environ.get("ESTEEM_PYXEM_PYTHON", ""), help="interpreter that has pyxem")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    try:
        import diffsims  # noqa: F401
        import orix  # noqa: F401
    except ImportError as error:
        sys.exit(f'{error.name} is not installed; run: python -m pip install "nionswift-esteem[diffraction]"')
    rng = np.random.default_rng(0)
    true = rng.normal(size=(arguments.frames // 10 * 10, 4))
    true /= np.linalg.norm(true, axis=1)[:, None]
    data = frames(true, arguments.electrons, rng)
    library = diffraction.template_library(
        gold(),
        200,
        resolution_deg=arguments.resolution,
        reach_per_nm=10 * REACH,
        excitation_per_nm=10 * SIMULATION["max_excitation_error"],
        thickness_nm=0.1 / SIMULATION["shape_factor_width"],
    )
    print(f"{len(library)} templates, {len(library.vectors) / len(library):.0f} spots each, {len(data)} frames")
    rows = [ours(data, true, library, refine=refine)[0] for refine in (True, False)]
    if arguments.pyxem:
        rows += pyxem_rows(arguments.pyxem, data, true, arguments.resolution)
    else:
        print("left out: pyxem (ESTEEM_PYXEM_PYTHON names no interpreter)")
    report("orientation", rows, arguments.json)
    print()
    report("twin", [twin_row(library, rng)], None)


if __name__ == "__main__":
    main()
