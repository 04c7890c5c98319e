"""Make the pictures of the README and of the documentation: docs/pictures/*.png.

``python scripts/make_pictures.py``: half a minute. All of them are simulated with fixed seeds; the phase images come
from the raw file that ``esteem demo`` writes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from esteemcore import cli, fourd, io, scan, simulate, stream
from esteemcore.cli import demo, pictures

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
DOSE = 2000.0
DEFOCUS_NM = 12.0
SIDE, GAP, LINE = 256, 10, 20
STEPS = 40
PATH = (235, 140, 40)

Panel = tuple[Image.Image, Sequence[str]]


def compose(panels: Sequence[Panel], columns: int) -> Image.Image:
    """Lay panels (picture, lines of text above it) out in rows."""
    lines = max(len(text) for _, text in panels)
    head = lines * LINE + 4
    rows = -(-len(panels) // columns)
    size = columns * (SIDE + GAP) + GAP, rows * (head + SIDE + GAP)
    sheet = Image.new("RGB", size, pictures.BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    fonts = [ImageFont.load_default(16)] + [ImageFont.load_default(13)] * (lines - 1)
    for n, (picture, text) in enumerate(panels):
        left, top = GAP + n % columns * (SIDE + GAP), n // columns * (head + SIDE + GAP)
        sheet.paste(picture, (left, top + head))
        for i, line in enumerate(text):
            if draw.textlength(line, fonts[i]) > SIDE:
                raise ValueError(f"{line!r} is wider than its picture")
            draw.text((left, top + i * LINE + 2), line, fill=pictures.INK, font=fonts[i])
    return sheet


def image(data: NDArray[Any], black_white: tuple[float, float] | None = None) -> Image.Image:
    """Return a panel with a scale bar."""
    return pictures.gray(data, black_white=black_white, size=SIDE, nm_per_pixel=demo.STEP_NM)


def correlation(data: NDArray[Any], truth: NDArray[np.float64]) -> str:
    """Say how well an image agrees with the truth."""
    return f"correlation {np.corrcoef(np.ravel(data), truth.ravel())[0, 1]:.2f}"


def true_phase(shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return what a perfect reconstruction of the demo's scan would show, mean zero."""
    positions = np.argwhere(np.ones(shape, bool)) * demo.STEP_NM + demo.ORIGIN_NM
    phase = simulate.phase_truth(
        simulate.specimen("zeolite"), demo.BEAM.energy_kev, positions, max_angle_mrad=2 * demo.BEAM.semiangle_mrad
    ).reshape(shape)
    return np.asarray(phase - phase.mean())


def phase_forming(source: io.FrameSource, geometry: fourd.Geometry, truth: NDArray[np.float64]) -> Image.Image:
    """Show the SSB phase at parts of the frames, between the visit order and the truth."""
    grays = pictures.limits(truth, 0.1)
    reducer = fourd.SingleSideband(geometry)
    state = reducer.init(source.spec)
    order = np.concatenate([chunk.index for chunk in source.chunks()])
    shape = source.spec.scan_shape
    first = pictures.visit_order(shape, order, size=SIDE)
    panels: list[Panel] = [(first, ("Visit order", "dark: early, bright: late"))]
    done = 0
    for fraction in demo.FRACTIONS:
        stop = round(fraction * len(source))
        for chunk in source.chunks(done, stop):
            reducer.update(state, chunk)
        done = stop
        phase = reducer.result(state).phase
        panels.append((image(phase, grays), (f"SSB, {100 * fraction:.0f} % of the frames", correlation(phase, truth))))
    panels.append((image(truth, grays), ("Truth", f"grays of all: {grays[0]:.2f} to {grays[1]:.2f} rad")))
    return compose(panels, len(panels))


def live_images(source: io.FrameSource, geometry: fourd.Geometry) -> Image.Image:
    """Show the four images of a live view."""
    reducers = fourd.live_reducers(geometry, source.spec.frame_shape)
    results = stream.run(reducers, source.spec, source.chunks())
    panels = []
    for live in fourd.live_images(results, geometry).values():
        low, high = pictures.limits(live.data)
        panels.append((image(live.data), (live.title, f"{low:.3g} to {high:.3g} {live.unit}")))
    return compose(panels, len(panels))


def aberrations(source: io.FrameSource, geometry: fourd.Geometry, truth: NDArray[np.float64]) -> Image.Image:
    """Show what a wrong rotation and an uncompensated defocus do to the SSB phase."""
    grays = pictures.limits(truth, 0.1)
    reducer = fourd.SingleSideband(geometry)
    state = reducer.init(source.spec)
    for chunk in source.chunks():
        reducer.update(state, chunk)
    calibrations = {**source.dataset.geometry, "aberrations": None}
    panels = []
    for off, title in ((0, "Correct rotation"), (90, "90 degrees off"), (180, "180 degrees off")):
        turned = fourd.Geometry(**{**calibrations, "rotation_deg": off})
        phase = reducer.evaluate(state, geometry=turned).phase
        panels.append((image(phase, grays), (title, correlation(phase, truth))))
    state = defocused(reducer, source)
    for c10, title in ((0.0, "not compensated"), (-DEFOCUS_NM, "compensated")):
        lens = fourd.Geometry(**{**calibrations, "aberrations": {"C10": c10}})
        phase = reducer.evaluate(state, geometry=lens).phase
        panels.append((image(phase, grays), (f"{DEFOCUS_NM:.0f} nm defocus, {title}", correlation(phase, truth))))
    return compose(panels, len(panels))


def defocused(reducer: fourd.SingleSideband, source: io.FrameSource) -> stream.Sums:
    """Return the state after the same scan with a defocused probe."""
    beam = simulate.Beam(demo.BEAM.energy_kev, demo.BEAM.semiangle_mrad, {"C10": -DEFOCUS_NM})
    bank = simulate.bank(simulate.specimen("zeolite"), beam)
    sampler = simulate.FrameSampler(bank, demo.DETECTOR, origin_nm=demo.ORIGIN_NM, seed=1)
    state = reducer.init(source.spec)
    for chunk in source.chunks():
        positions = np.stack(np.divmod(chunk.index, source.spec.scan_shape[1]), axis=1) * demo.STEP_NM
        frames = sampler.frames(positions, DOSE * (10 * demo.STEP_NM) ** 2)
        reducer.update(state, stream.Chunk(chunk.index, frames))
    return state


def patterns() -> Image.Image:
    """Show the visit orders of a small scan and their first steps; positions that are never visited are blue."""
    shape = (16, 16)
    shown = [
        scan.raster(shape),
        scan.serpentine(shape),
        scan.interlaced(shape, 4),
        scan.hilbert(shape),
        scan.spiral(shape),
        scan.shuffled(shape, seed=1),
        *(scan.sparse(shape, 0.25, seed=1, method=m) for m in ("uniform", "jittered", "poisson_disk", "line_hop")),
    ]
    panels = []
    for pattern in shown:
        picture = pictures.visit_order(shape, pattern.order, size=SIDE)
        path = (pattern.positions[:STEPS, ::-1] + 0.5) * (SIDE / shape[1])
        ImageDraw.Draw(picture).line([(float(x), float(y)) for x, y in path], fill=PATH, width=2)
        title = pattern.name.replace("sparse_", "sparse, ")
        panels.append((picture, (title, f"{len(pattern)} of {pattern.mask.size} positions")))
    return compose(panels, 5)


def main() -> None:
    """Make all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if cli.main(["demo", "--out", folder]):
            raise SystemExit(1)
        source = io.source(Path(folder) / f"zeolite_{DOSE:.0f}.esteem")
        geometry = fourd.Geometry(**source.dataset.geometry)
        truth = true_phase(source.spec.scan_shape)
        made = {
            "phase_forming": phase_forming(source, geometry, truth),
            "live_images": live_images(source, geometry),
            "aberrations": aberrations(source, geometry, truth),
            "patterns": patterns(),
        }
    for name, sheet in made.items():
        path = pictures.save(sheet.quantize(256, dither=Image.Dither.NONE), FOLDER / f"{name}.png")
        print(f"{path}: {sheet.width} x {sheet.height}, {path.stat().st_size / 1e3:.0f} kB")  # noqa: T201


if __name__ == "__main__":
    main()
