"""Make the potentials that esteemcore.simulate ships: ``python scripts/make_specimens.py`` (extra ``simulation``).

Each file in ``esteemcore/simulate/data`` holds the projected potential of the slices of one unit cell, in V nm, with
the beam along the depth: isolated-atom potentials of Lobato and Van Dyck (Acta Cryst. A 70 (2014) 636) through abTEM,
each slice holding the whole potential of its atoms, and thermal motion as a Debye-Waller factor of u = 0.008 nm.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import abtem
import ase
import numpy as np
from ase.build import graphene, make_supercell

FOLDER = Path(__file__).resolve().parent.parent / "esteemcore" / "simulate" / "data"
THERMAL_MOTION_A = 0.08

# MFI framework, space group Pnma: H. van Koningsveld, H. van Bekkum, J. C. Jansen, "On the location and disorder of the
# tetrapropylammonium (TPA) ion in zeolite ZSM-5 with improved framework accuracy", Acta Cryst. B 43 (1987) 127-132.
# The sites were written down without the paper at hand and not compared with it; the figures that are checked below
# (bond lengths, coordination, composition) hold.
MFI_CELL_A = (20.022, 19.899, 13.383)
MFI_SITES = """
Si 0.42238  0.0565  -0.33598
Si 0.30716  0.02772 -0.1893
Si 0.27911  0.06127  0.0312
Si 0.12215  0.06298  0.0267
Si 0.07128  0.02722 -0.18551
Si 0.18641  0.05896 -0.32818
Si 0.42265 -0.1725  -0.32718
Si 0.30778 -0.13016 -0.18548
Si 0.27554 -0.17279  0.03109
Si 0.12058 -0.1731   0.02979
Si 0.07044 -0.13037 -0.182
Si 0.18706 -0.17327 -0.31933
O  0.3726   0.0534  -0.2442
O  0.3084   0.0587  -0.0789
O  0.2007   0.0592   0.0289
O  0.0969   0.0611  -0.0856
O  0.1149   0.0541  -0.2763
O  0.2435   0.0553  -0.246
O  0.3742  -0.1561  -0.2372
O  0.3085  -0.1552  -0.0728
O  0.198   -0.1554   0.0288
O  0.091   -0.1614  -0.0777
O  0.1169  -0.1578  -0.2694
O  0.2448  -0.1594  -0.2422
O  0.3047  -0.051   -0.1866
O  0.0768  -0.0519  -0.1769
O  0.4161   0.1276  -0.3896
O  0.4086  -0.0017  -0.4136
O  0.402   -0.1314  -0.4239
O  0.1886   0.1298  -0.3836
O  0.194    0.0007  -0.4082
O  0.1951  -0.1291  -0.419
O -0.0037   0.0502  -0.208
O -0.004   -0.1528  -0.2078
O  0.4192  -0.25    -0.354
O  0.1884  -0.25    -0.3538
O  0.2883  -0.25     0.0579
O  0.1085  -0.25     0.0611
"""
# Equivalent positions of Pnma: (sign, shift) of x, y, z; inversion doubles them.
PNMA = (
    ((1, 0.0), (1, 0.0), (1, 0.0)),
    ((-1, 0.5), (-1, 0.0), (1, 0.5)),
    ((-1, 0.0), (1, 0.5), (-1, 0.0)),
    ((1, 0.5), (-1, 0.5), (-1, 0.5)),
)


def zeolite() -> tuple[ase.Atoms, dict[str, object]]:
    """Return one cell of MFI, its straight channels ([010]) along the beam; rows are a, columns are c."""
    symbols: list[str] = []
    positions: list[np.ndarray] = []
    for line in MFI_SITES.split("\n"):
        if not line:
            continue
        element, *xyz = line.split()
        site = np.array(xyz, float)
        for operation in PNMA:
            image = np.array([sign * value + shift for (sign, shift), value in zip(operation, site, strict=True)])
            for inverted in (image, -image):
                candidate = inverted % 1.0
                same = [p for s, p in zip(symbols, positions, strict=True) if s == element]
                if not any(np.abs((candidate - p + 0.5) % 1.0 - 0.5).max() < 1e-4 for p in same):
                    symbols.append(element)
                    positions.append(candidate)
    a, b, c = MFI_CELL_A
    crystal = ase.Atoms(symbols, scaled_positions=np.array(positions)[:, [0, 2, 1]], cell=[a, c, b], pbc=True)
    distances = crystal.get_all_distances(mic=True)[np.ix_(crystal.numbers == 14, crystal.numbers == 8)]
    bonds = distances[distances < 2.2]
    composition = {element: symbols.count(element) for element in ("Si", "O")}
    if composition != {"Si": 96, "O": 192} or (np.sum(distances < 2.2, axis=1) != 4).any():
        raise SystemExit(f"MFI is wrong: {composition}, or a silicon atom without four oxygen neighbours")
    if (np.sum(distances < 2.2, axis=0) != 2).any() or bonds.min() < 1.55 or bonds.max() > 1.65:
        raise SystemExit(f"MFI is wrong: Si-O distances {bonds.min():.3f} to {bonds.max():.3f} A")
    sys.stdout.write(f"MFI: {composition}, Si-O {bonds.min():.3f} to {bonds.max():.3f} A, mean {bonds.mean():.3f} A\n")
    return crystal, {
        "description": "ZSM-5 (MFI framework, pure silica), beam along the straight channels [010]",
        "source": "after H. van Koningsveld, H. van Bekkum, J. C. Jansen, Acta Cryst. B 43 (1987) 127"
        " (sites written down without the paper at hand; checked by bond lengths and coordination)",
        "si_o_distance_nm": [round(float(f(bonds)) / 10, 5) for f in (np.min, np.mean, np.max)],
        "slices": 8,
        "grid": (108, 72),
        "default_slices": 8,
    }


def graphene_sheet() -> tuple[ase.Atoms, dict[str, object]]:
    """Return 12 x 7 rectangular cells of graphene with unrelaxed vacancies and Si and N substitutions."""
    sheet = make_supercell(graphene(a=2.46, vacuum=1.7), [[1, 0, 0], [1, 2, 0], [0, 0, 1]]).repeat((12, 7, 1))
    sheet.wrap()

    def nearest(row: float, column: float) -> np.ndarray:
        return np.argsort(np.linalg.norm(sheet.positions[:, :2] - (row, column), axis=1))

    single = int(nearest(22.0, 8.0)[0])
    double = [int(i) for i in nearest(8.0, 22.0)]
    neighbour = next(i for i in double[1:] if sheet.get_distance(double[0], i, mic=True) < 1.6)
    silicon = int(nearest(7.5, 7.5)[0])
    nitrogen = [int(nearest(*place)[0]) for place in ((21.5, 22.0), (14.5, 15.0))]
    symbols = sheet.get_chemical_symbols()
    symbols[silicon] = "Si"
    for i in nitrogen:
        symbols[i] = "N"
    sheet.set_chemical_symbols(symbols)
    removed = {single, double[0], neighbour}
    sheet = sheet[[i for i in range(len(sheet)) if i not in removed]]
    return sheet, {
        "description": "graphene with a vacancy, a divacancy, one Si and two N substitutions (unrelaxed)",
        "source": "lattice parameter 0.246 nm; ideal positions",
        "slices": 1,
        "grid": (162, 162),
        "default_slices": 1,
    }


def strontium_titanate() -> tuple[ase.Atoms, dict[str, object]]:
    """Return one cubic cell of SrTiO3: an SrO plane, then a TiO2 plane."""
    places = [(0, 0, 0.25), (0.5, 0.5, 0.75), (0.5, 0.5, 0.25), (0.5, 0, 0.75), (0, 0.5, 0.75)]
    return ase.Atoms("SrTiO3", scaled_positions=places, cell=[3.905] * 3, pbc=True), {
        "description": "SrTiO3, beam along [001]",
        "source": "cubic perovskite, lattice parameter 0.3905 nm",
        "slices": 2,
        "grid": (32, 32),
        "default_slices": 52,
    }


def write(name: str, crystal: ase.Atoms, figures: dict[str, object]) -> None:
    """Project the potential of one cell and write it as scaled uint16."""
    cell_nm = crystal.cell.lengths() / 10
    n_slices, grid = figures.pop("slices"), figures.pop("grid")
    potential = abtem.Potential(
        crystal,
        gpts=grid,
        slice_thickness=(10 * cell_nm[2] / n_slices,) * n_slices,
        parametrization="lobato",
        projection="infinite",
    ).build(lazy=False)
    volts_nm = np.asarray(potential.array, np.float64) / 10
    k = [np.fft.fftfreq(n, length / n) for n, length in zip(grid, 10 * cell_nm[:2], strict=True)]
    k2 = k[0][:, None] ** 2 + k[1] ** 2
    if volts_nm.shape != (n_slices, *grid):
        raise SystemExit(f"{name}: {volts_nm.shape} came out, expected {n_slices} slices of {grid}")
    debye_waller = np.exp(-2 * np.pi**2 * THERMAL_MOTION_A**2 * k2)
    volts_nm = np.fft.ifft2(np.fft.fft2(volts_nm) * debye_waller).real
    offset = float(volts_nm.min())
    step = float(np.ptp(volts_nm)) / 65535
    symbols = crystal.get_chemical_symbols()
    figures |= {
        "cell_nm": [round(float(x), 6) for x in cell_nm],
        "composition": {s: symbols.count(s) for s in sorted(set(symbols), key=symbols.index)},
        "thermal_motion_nm": THERMAL_MOTION_A / 10,
        "offset_v_nm": offset,
        "step_v_nm": step,
        "potential": "isolated atoms, Lobato and Van Dyck, Acta Cryst. A 70 (2014) 636; "
        f"abTEM {abtem.__version__}, whole atoms per slice",
    }
    scaled = np.round((volts_nm - offset) / step).astype(np.uint16)
    path = FOLDER / f"{name}.npz"
    np.savez_compressed(path, slices=scaled, figures=np.array(json.dumps(figures)))
    sys.stdout.write(
        f"{name}: {scaled.shape}, {path.stat().st_size / 1e3:.0f} kB, {figures['composition']}, "
        f"mean {volts_nm.sum(0).mean():.3f} V nm, {volts_nm.min():.4f} to {volts_nm.max():.3f} V nm per slice\n"
    )


def main() -> None:
    """Write every specimen."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, make in (("zeolite", zeolite), ("graphene", graphene_sheet), ("srtio3", strontium_titanate)):
        write(name, *make())


if __name__ == "__main__":
    main()
