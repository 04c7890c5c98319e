"""Which frames surely lie where they seem to: hops by a unit cell undone, doubtful and foreign frames left out."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from esteemcore.register.grid import Image
from esteemcore.register.hops import BLUR_PX, MOST_HOPS, Corrected, Judge, Seen, possible_hops
from esteemcore.register.lines import LineFit

Floats = NDArray[np.float64]

SURE = 6.0
"""ln of the odds from which a place is sure."""
STEADY = 9.0
"""ln of the prior odds against a hop between frames where the drift shows no jump."""
UNLIKE = 0.5
"""A frame that resembles the mean less than this share of what frames usually do is left out."""
LEAST_LIKENESS = 0.1
"""Correlation with the mean below which nothing is recognised, in large frames."""
CHANCE = 4.0
"""How many standard deviations of a chance correlation a frame must reach, in small frames."""
AS_EXPECTED = 0.3
"""Odds below this share of what they should be at the right place speak against it."""
NEAREST = 8
"""Hops that single frames are tested for, the nearest ones."""
TRIALS = 4
"""Hops that are tried for a stretch of frames that seems to be elsewhere."""
TORN = 0.25
"""Share of lines that fit nowhere, above which a frame is left out."""
FOLDS = 4
"""Frames are compared with the mean of the others in this many groups."""
ROUNDS = 3
"""Times that frames are moved and looked at again."""


@dataclasses.dataclass
class Verdict:
    """What was decided about each frame of a fit.

    Attributes
    ----------
    likeness : ndarray, shape (n,)
        Correlation with the mean of the others.
    reasons : list of str
        Why a frame is left out; empty if its place is sure.
    moved : int
        How many frames were moved by a hop.
    odds : ndarray, shape (n,)
        ln of the odds of the place against the best hop; infinite where the image does not repeat itself.
    """

    likeness: Floats
    reasons: list[str]
    moved: int
    odds: Floats


class Places:
    """Look at the frames of a fit, in time order, and decide; blurs are made smaller by ``blur_factor``."""

    def __init__(self, fit: LineFit, blur_factor: float = 1.0) -> None:
        self.fit, self._blur_factor = fit, blur_factor
        n = len(fit.frames)
        self.verdict = Verdict(np.zeros(n), [""] * n, 0, np.full(n, np.inf))
        self._images: list[tuple[Image, Image]] = []
        self._looked: dict[int, Seen] = {}
        gains = np.array([f.gain for f in fit.frames])
        usual = float(np.median(gains)) if n else 1.0
        sensible = (gains > 0.2 * usual) & (gains < 5 * usual)
        self._gains = np.where(sensible, gains / (usual or 1.0), 1.0)
        self._noise = float(np.median([f.noise for f in fit.frames])) if n else 1.0
        self._slope = float(np.median([f.slope for f in fit.frames])) if n else 0.0
        self._cover = float(np.mean([f.weight.mean() for f in fit.frames])) if n else 1.0

    def decide(self) -> Verdict:
        """Return the verdict; frames that hopped have been moved back."""
        n = len(self.fit.frames)
        for _ in range(ROUNDS):
            self._spread()
            self._foreign()
            good = [k for k in range(n) if not self.verdict.reasons[k]]
            if len(good) < 2:
                return self.verdict
            hops = self._hops(good)
            self.verdict.odds[good] = np.inf
            if not len(hops):
                break
            moved = self._blocks(good, hops)
            good = [k for k in good if not self.verdict.reasons[k]]
            if not moved:
                moved = self._single(good, hops)
            self.verdict.moved += moved
            if not moved:
                break
            self.fit.rebuild()
            self.verdict.reasons = [""] * n
        return self.verdict

    def _spread(self) -> None:
        self._corrected = Corrected(self.fit.grid, self._blur_factor)
        self._images = [self._corrected.image(f, g) for f, g in zip(self.fit.frames, self._gains, strict=True)]
        self._looked = {}

    def _seen(self, members: list[int]) -> list[Seen]:
        """Return what frames show; each is looked at once as long as it is not moved."""
        for k in members:
            if k not in self._looked:
                self._looked[k] = self._corrected.seen(*self._images[k], 0.3 * self._cover)
        return [self._looked[k] for k in members]

    def _sum(self, members: list[int]) -> tuple[Image, Image]:
        total, weights = np.zeros_like(self._images[0][0]), np.zeros_like(self._images[0][1])
        for k in members:
            total += self._images[k][0]
            weights += self._images[k][1]
        return total, weights

    def _judge(self, members: list[int], hops: Floats) -> Judge:
        total, weights = self._sum(members)
        enough = max(0.5 * len(members), 0.3) * self._cover
        return Judge(self._corrected, total, weights, hops.copy(), self._noise, self._slope, enough)

    def _hops(self, members: list[int]) -> Floats:
        seen = self._corrected.seen(*self._sum(members), max(0.5 * len(members), 0.3) * self._cover)
        most = MOST_HOPS if np.prod(self.fit.shape) <= 2**20 else NEAREST  # they cost memory
        return possible_hops(self._corrected, seen, min(self.fit.shape) / 3, most)

    def _foreign(self) -> None:
        """Mark frames that do not resemble the mean of the others, or whose lines do not."""
        n = len(self._images)
        for group in _groups(list(range(n))):
            others = [k for k in range(n) if k not in group]
            judge = self._judge(others, np.zeros((0, 2)))
            self.verdict.likeness[group] = judge.likeness(self._seen(group))
        usual = float(np.median(self.verdict.likeness))
        least = least_likeness(usual, self._cover * float(np.prod(self.fit.shape)))
        for k, like in enumerate(self.verdict.likeness):
            if like < least:
                self.verdict.reasons[k] = foreign(like, least)
            else:
                self.verdict.reasons[k] = torn_reason(self.fit.frames[k].chi)

    def _blocks(self, good: list[int], hops: Floats) -> int:
        """Compare stretches of frames with the longest steady one; return how many frames were moved."""
        blocks, hard = self._stretches(good, float(np.hypot(*hops.T).min()))
        main = max(range(len(blocks)), key=lambda b: len(blocks[b]))
        sure, waiting, moved = {main}, [b for b in range(len(blocks)) if b != main], 0
        odds: dict[int, float] = {}
        progress = True
        while waiting and progress:
            progress = False
            judge = self._judge([k for b in sure for k in blocks[b]], hops)
            for b in sorted(waiting, key=lambda b: min(abs(b - s) for s in sure)):
                steady = any(abs(b - s) == 1 and not hard[max(b, s)] for s in sure)
                hop, odds[b] = self._settled(judge, blocks[b], STEADY if steady else 0.0)
                if hop is None:
                    continue
                moved += len(blocks[b]) * bool(hop.any())
                sure.add(b)
                waiting.remove(b)
                progress = True
                if not steady or len(sure) == 2:
                    break  # the reference has grown: the others deserve the better one
        for b in waiting:
            for k in blocks[b]:
                self.verdict.odds[k] = odds[b]
                self.verdict.reasons[k] = doubt(hops)
        return moved

    def _settled(self, judge: Judge, block: list[int], steady: float) -> tuple[Floats | None, float]:
        """Move a stretch of frames to where it is sure to belong; return the hop, or None, and the ln of the odds.

        Each of the likeliest hops is tried: the right one is not only better than all others, but as much better as
        the reference leads one to expect.
        """
        found = judge.ratios(self._seen(block))
        power = found.power.sum(axis=0)
        ratio = plausible(found.ratio.sum(axis=0), power)
        odds = float(ratio.min()) + steady
        if odds >= SURE and consistent(ratio, power, steady):
            return np.zeros(2), odds
        for h in np.argsort(ratio)[:TRIALS]:
            if ratio[h] + steady > -SURE:
                break
            hop = found.hops[h]
            for k in block:
                self._move(k, hop)
            there = judge.ratios(self._seen(block))
            power_there = there.power.sum(axis=0)
            ratio_there = plausible(there.ratio.sum(axis=0), power_there)
            if ratio_there.min() >= SURE and consistent(ratio_there, power_there, 0.0):
                return hop, float(ratio_there.min())
            for k in block:
                self._move(k, -hop)
        return None, odds

    def _single(self, good: list[int], hops: Floats) -> int:
        """Compare single frames with the mean of the others; return how many were moved."""
        moved = 0
        for group in _groups(good):
            others = [k for k in good if k not in group]
            if not others:
                continue
            found = self._judge(others, hops[:NEAREST]).ratios(self._seen(group))
            for k, ratio, power in zip(group, found.ratio, found.power, strict=True):
                best = int(ratio.argmin())
                odds = float(ratio[best])
                self.verdict.odds[k] = odds + STEADY
                if odds + STEADY < -SURE and -odds > 0.5 * power[best]:
                    self._move(k, found.hops[best])
                    moved += 1
                elif odds + STEADY < SURE or not consistent(ratio, power, STEADY):
                    self.verdict.reasons[k] = doubt(hops)
        return moved

    def _move(self, k: int, hop: Floats) -> None:
        frame = self.fit.frames[k]
        frame.shift = frame.shift + hop
        self._images[k] = self._corrected.image(frame, self._gains[k])
        self._looked.pop(k, None)

    def _stretches(self, good: list[int], cell_px: float) -> tuple[list[list[int]], list[bool]]:
        """Return stretches of frames, and whether the drift jumps before each of them."""
        shifts = np.array([self.fit.frames[k].shift - self.fit.frames[k].scan for k in good])
        innovation = innovations(shifts, np.array([self.fit.frames[k].number for k in good]))
        usual = 1.4826 * float(np.median(innovation)) if len(innovation) else 0.0
        limit = max(0.12 * cell_px, 4 * usual, 1.0)
        longest = max(3, -(-len(good) // FOLDS))
        blocks, hard = [[good[0]]], [True]
        for i in range(1, len(good)):
            if innovation[i - 1] > limit:
                blocks.append([good[i]])
                hard.append(True)
            elif len(blocks[-1]) >= longest:
                blocks.append([good[i]])
                hard.append(False)
            else:
                blocks[-1].append(good[i])
        return blocks, hard


def innovations(shifts: Floats, numbers: NDArray[np.int64]) -> Floats:
    """Return how far each step between frames is from what the usual drift around it leads to, in px, shape (n - 1,).

    ``numbers`` are the places of the frames in the series, some of which may be missing.
    """
    gaps = np.diff(numbers)[:, None]
    steps = np.diff(shifts, axis=0) / gaps
    result = np.zeros(len(steps))
    for i, step in enumerate(steps):
        around = np.concatenate([steps[max(i - 3, 0) : i], steps[i + 1 : i + 4]])
        usual = np.median(around, axis=0) if len(around) else np.zeros(2)
        result[i] = float(np.hypot(*((step - usual) * gaps[i])))
    return result


def plausible(ratio: Floats, power: Floats) -> Floats:
    """Return log likelihood ratios that speak for a hop no louder than its right place is expected to.

    What goes beyond comes from what the reference does not describe, such as its own distortion.
    """
    found: Floats = np.maximum(ratio, -power)
    return found


def consistent(ratio: Floats, power: Floats, steady: float) -> bool:
    """Return whether the odds are about as high as they should be at the right place, where that says anything."""
    telling = power > 4 * SURE + 10 * steady
    share = AS_EXPECTED if steady == 0 else AS_EXPECTED / 3
    return not telling.any() or float((ratio[telling] / power[telling]).min()) > share


def doubt(hops: Floats) -> str:
    """Return the reason of a frame whose place is not sure."""
    return (
        f"its place is ambiguous: the image nearly repeats itself every {float(np.hypot(*hops.T).min()):.1f} px, and "
        "what does not repeat does not tell which place is right"
    )


def foreign(like: float, least: float) -> str:
    """Return the reason of a frame that does not resemble the mean."""
    return (
        f"it does not show what the others show (correlation {like:.2f}, expected {least:.2f} or more): another area, "
        "damage, or no signal"
    )


def torn_reason(chi: Floats) -> str:
    """Return the reason of a frame whose lines stick out, or nothing."""
    torn = _torn(chi)
    return f"{torn:.0%} of its lines fit nowhere: it is torn or damaged" if torn > TORN else ""


def least_likeness(usual: float, measured: float) -> float:
    """Return the correlation with the mean that a frame needs; `measured` is its number of samples."""
    independent = measured / (4 * np.pi * BLUR_PX**2)
    return float(max(UNLIKE * usual, LEAST_LIKENESS, min(CHANCE / np.sqrt(max(independent, 1)), 0.5)))


def _groups(members: list[int]) -> list[list[int]]:
    folds = min(FOLDS, len(members))
    return [members[f::folds] for f in range(folds)]


def _torn(chi: Floats) -> float:
    """Return the share of lines whose residual sticks out."""
    if not len(chi):
        return 0.0
    seen = chi[:, 1] > 8
    if seen.sum() < 8:
        return 0.0
    reduced = chi[seen, 0] / chi[seen, 1]
    usual = float(np.median(reduced))
    scatter = max(1.4826 * float(np.median(np.abs(reduced - usual))), 0.05 * usual)
    return float((reduced > usual + 6 * scatter).mean())
