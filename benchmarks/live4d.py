"""Live 4D-STEM: frames per CPU second from packed one-bit frames to sums and to a phase image, one thread.

``python -m benchmarks.live4d [--json FILE]``. Peers (extra ``peers``): LiberTEM with ptychography40.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import best, report
from esteemcore import events, fourd, scan, simulate, stream

ELECTRONS = (18, 178, 1735)
FRAMES = 5000
PER_IMAGE = 1250
"""Frames between two images: 10 images per 12,500 frames, one second of the camera."""


def make_frames(detector: simulate.Detector, shape: tuple[int, int], n: int, electrons: float) -> np.ndarray:
    """Return packed frames of the simulated zeolite at the first positions of a shuffled scan."""
    bank = simulate.bank(simulate.specimen("zeolite"), simulate.Beam(200, 15))
    sampler = simulate.FrameSampler(bank, detector, seed=1)
    order = scan.shuffled(shape, seed=1).order[:n]
    row, column = np.divmod(order, shape[1])
    return sampler.frames(np.stack([row, column], 1) * 0.03, electrons)


def chunks_of(frames: np.ndarray, order: np.ndarray, size: int) -> list[stream.Chunk]:
    """Return packed frames as chunks in visit order."""
    return [stream.Chunk(order[i : i + size], frames[i : i + size]) for i in range(0, len(frames), size)]


def ours(shape: tuple[int, int]) -> list[dict[str, Any]]:
    """Measure our reducers on packed 256x256 frames."""
    detector = simulate.Detector((256, 256), pixel_mrad=15 / 96)
    geometry = fourd.Geometry(
        scan_step_nm=0.03, beam_energy_kev=200, semiangle_mrad=15, pixel_mrad=15 / 96, center=detector.center
    )
    spec = stream.Spec(shape, (256, 256), np.uint8, packed=True)
    order = scan.shuffled(shape, seed=1).order
    fourd.warm_up(geometry, spec)
    rows = []
    for electrons in ELECTRONS:
        frames = make_frames(detector, shape, FRAMES, electrons)
        chunks = chunks_of(frames, order, PER_IMAGE)
        everything = fourd.live_reducers(geometry, (256, 256))
        cases = {
            "projection to SSB bins": ({"ssb": everything["ssb"]}, False),
            "projection and phase image 10 times per 12,500 frames": ({"ssb": everything["ssb"]}, True),
            "virtual detectors (2)": ({"detectors": everything["detectors"]}, False),
            "centre of mass": ({"com": everything["com"]}, False),
            "frame statistics": ({"statistics": everything["statistics"]}, False),
            "all four reducers": (everything, False),
        }
        for name, (reducers, show) in cases.items():
            states = {key: reducer.init(spec) for key, reducer in reducers.items()}

            def work(reducers=reducers, states=states, show=show, chunks=chunks) -> None:
                for chunk in chunks:
                    chunk.forget_electrons()
                    for key, reducer in reducers.items():
                        reducer.update(states[key], chunk)
                    if show:
                        reducers["ssb"].result(states["ssb"])

            work()
            cpu, wall = best(work)
            rows.append(row("esteem", name, f"{shape[0]}x{shape[1]} scan, 256x256 one bit", electrons, cpu, wall))
    return rows


def row(
    who: str, what: str, data: str, electrons: float, cpu: float, wall: float, frames: int = FRAMES
) -> dict[str, Any]:
    """Return a row of the table."""
    return {
        "program": who,
        "work": what,
        "data": data,
        "electrons/frame": electrons,
        "frames/CPU s": f"{frames / cpu:,.0f}",
        "frames/wall s": f"{frames / wall:,.0f}",
    }


def setup_times(shape: tuple[int, int]) -> list[dict[str, Any]]:
    """Measure what a change of the optics costs: the overlaps are computed again, the data are kept."""
    spec = stream.Spec(shape, (256, 256), np.uint8, packed=True)
    base = {"scan_step_nm": 0.03, "beam_energy_kev": 200, "semiangle_mrad": 15, "pixel_mrad": 15 / 96}
    reducer = fourd.SingleSideband(fourd.Geometry(**base))
    state = reducer.init(spec)
    reducer.update(state, stream.Chunk(np.zeros(1, np.int64), np.full((1, 256, 32), 255, np.uint8)))
    reducer.result(state)
    rows = []
    for name, values in (
        ("another rotation", {"rotation_deg": 7.0}),
        ("another defocus", {"aberrations": {"C10": -7.0}}),
        ("another regularization", {}),
    ):
        changed = fourd.Geometry(**base, **values)
        cpu, wall = time.process_time(), time.perf_counter()
        reducer.evaluate(state, geometry=changed, regularization=0.05)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        rows.append(
            {
                "program": "esteem", "work": f"image after {name}", "data": f"{shape[0]}x{shape[1]} scan",
                "electrons/frame": "", "frames/CPU s": f"{cpu:.3f} s", "frames/wall s": f"{wall:.3f} s",
            }
        )  # fmt: skip
    return rows


def peers() -> list[dict[str, Any]]:
    """Measure LiberTEM with ptychography40, and ours, on the same dense frames: 128x128 scan, 64x64 pixels."""
    shape, detector = (128, 128), simulate.Detector((64, 64), pixel_mrad=15 / 24)
    data = events.unpack_bits(make_frames(detector, shape, shape[0] * shape[1], 18), 64)
    order = scan.shuffled(shape, seed=1).order
    image = np.empty_like(data)
    image[order] = data
    image = image.reshape(*shape, 64, 64)
    label, n = "128x128 scan, 64x64 uint8", len(data)
    geometry = fourd.Geometry(
        scan_step_nm=0.03, beam_energy_kev=200, semiangle_mrad=15, pixel_mrad=15 / 24, center=detector.center
    )
    spec = stream.Spec(shape, (64, 64), np.uint8)
    everything = fourd.live_reducers(geometry, (64, 64))
    rows = []
    for name, key in (("SSB, one phase image", "ssb"), ("centre of mass", "com"), ("frame statistics", "statistics")):

        def work(key=key) -> None:
            stream.run({key: everything[key]}, spec, stream.chunks(image))

        work()
        rows.append(row("esteem", name, label, 18, *best(work, 3), frames=n))
    missing = [name for name in ("libertem", "ptychography40") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"peers left out: {', '.join(missing)} not installed (extra 'peers')")
        return rows
    from libertem.api import Context
    from libertem.common.container import MaskContainer
    from libertem.executor.inline import InlineJobExecutor
    from libertem.udf.com import CoMUDF
    from libertem.udf.stddev import StdDevUDF
    from ptychography40.reconstruction.ssb import SSB_UDF, generate_masks

    context = Context(executor=InlineJobExecutor())
    stored = context.load("memory", data=image, sig_dims=2, num_partitions=8)
    optics = {
        "lamb": geometry.wavelength_nm * 1e-9, "dpix": 0.03e-9, "semiconv": 15e-3, "semiconv_pix": 24.0,
        "cy": detector.center[0], "cx": detector.center[1], "cutoff": 1, "dtype": np.float32,
    }  # fmt: skip
    masks = generate_masks(reconstruct_shape=shape, mask_shape=(64, 64), method="subpix", **optics)
    ready = MaskContainer(lambda: masks, dtype=masks.dtype, use_sparse="scipy.sparse.csr", count=masks.shape[0])
    for name, udf in (
        ("SSB, one phase image", SSB_UDF(**optics, mask_container=ready)),
        ("centre of mass", CoMUDF.with_params(cy=detector.center[0], cx=detector.center[1])),
        ("frame statistics", StdDevUDF()),
    ):

        def work(udf=udf) -> None:
            context.run_udf(dataset=stored, udf=udf)

        work()
        who = "LiberTEM + ptychography40" if name.startswith("SSB") else "LiberTEM"
        rows.append(row(who, name, label, 18, *best(work, 3), frames=n))
    context.close()
    return rows


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--scan", type=int, default=256, help="N x N scan of the main part (%(default)s)")
    arguments = parser.parse_args()
    shape = (arguments.scan, arguments.scan)
    report("live4d", [*ours(shape), *setup_times(shape), *peers()], arguments.json)


if __name__ == "__main__":
    main()
