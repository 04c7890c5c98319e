"""Compiled loops that turn templates over the disks of frames and keep the best orientations."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

UNIT = 1 << 14
"""What a weight of one is as an integer: the sum of the products of two unit vectors stays within 32 bits."""
MOST = 7.99
"""Largest bound of a correlation: what 32 bits hold."""
BLOCK = 64
"""Scores of which the largest is kept."""


@njit(cache=True, nogil=True)
def spread_disks(radius, azimuth, weight, ring, tolerance, steps, first, start, stop, at, votes):
    """Write for every ring what each disk near it votes for: the azimuths it may have, with weights.

    Disk d has a radius in px, an azimuth in steps and a weight. Entry e of ring k, ``first[k] <= e < first[k + 1]``,
    votes ``votes[at[e] + j]`` for the step ``start[e] + j``; ``stop[e]`` is one past its last vote in ``votes``.
    """
    entry, vote = 0, 0
    for k in range(ring.size):
        first[k] = entry
        for d in range(radius.size):
            room = tolerance**2 - (radius[d] - ring[k]) ** 2
            if room <= 0:
                continue
            arc = 2 * math.pi * ring[k] / steps
            half = min(math.sqrt(room) / arc, steps / 2 - 1)
            low, high = math.ceil(azimuth[d] - half), math.floor(azimuth[d] + half)
            if high < low:  # a fine tolerance between two steps
                low = high = round(azimuth[d])
            start[entry] = low % steps
            at[entry] = vote
            for j in range(low, high + 1):
                share = (room - (arc * (j - azimuth[d])) ** 2) / tolerance**2
                votes[vote] = round(UNIT * weight[d] * max(share, 0.0))
                vote += 1
            stop[entry] = vote
            entry += 1
    first[ring.size] = entry


@njit(cache=True, nogil=True)
def count_votes(span, spot_ring, spot_step, spot_weight, sign, entries, steps, turns):
    """Write to ``turns`` (2 * steps,) how well a template fits when it is turned by each number of steps.

    ``sign`` is -1 for the mirrored template. Only the first ``steps`` hold the result.
    """
    first, start, stop, at, votes = entries
    turns[:] = 0
    for spot in range(span[0], span[1]):
        ring, weight, step = spot_ring[spot], spot_weight[spot], sign * spot_step[spot]
        for e in range(first[ring], first[ring + 1]):
            low = start[e] - step
            if low < 0:
                low += steps
            elif low >= steps:
                low -= steps
            low -= at[e]
            for v in range(at[e], stop[e]):
                turns[low + v] += weight * votes[v]
    for s in range(steps):
        turns[s] += turns[s + steps]


@njit(cache=True, nogil=True)
def turned(rotation, mirrored, angle):
    """Return the orientation whose pattern is that of ``rotation``, mirrored at the x axis or not, and then turned.

    Quaternions (w, x, y, z) from detector to crystal. Turning the pattern by an angle from x towards y turns the
    crystal about z; the mirror is half a turn about y, because opposite reflections are equal.
    """
    w, x, y, z = rotation
    if mirrored:
        w, x, y, z = -y, -z, w, x  # times (0, 0, 1, 0)
    c, s = math.cos(angle / 2), -math.sin(angle / 2)
    return w * c - z * s, x * c + y * s, y * c - x * s, z * c + w * s


@njit(cache=True, nogil=True)
def cos_half(a, b, symmetry):
    """Return the cosine of half the least angle between two orientations of a crystal with rotations ``symmetry``."""
    best = 0.0
    for k in range(symmetry.shape[0]):
        w, x, y, z = symmetry[k]
        dot = (
            (w * a[0] - x * a[1] - y * a[2] - z * a[3]) * b[0]
            + (w * a[1] + x * a[0] + y * a[3] - z * a[2]) * b[1]
            + (w * a[2] - x * a[3] + y * a[0] + z * a[1]) * b[2]
            + (w * a[3] + x * a[2] - y * a[1] + z * a[0]) * b[3]
        )
        best = max(best, abs(dot))
    return min(best, 1.0)


@njit(cache=True, nogil=True)
def compare(span, spot_radius, spot_azimuth, spot_share, sign, angle, disks, tolerance):
    """Return the correlation at an angle in rad, the change of the angle that the disks ask for, and how many match.

    Each disk, in their order, takes the spot that adds most among those that are left: the correlation is one at most.
    """
    radius, azimuth, weight = disks
    total, moment, inertia, matched = 0.0, 0.0, 0.0, 0
    taken = np.zeros(span[1] - span[0], np.bool_)
    for d in range(radius.size):
        most, best, by = 0.0, -1, 0.0
        for spot in range(span[0], span[1]):
            off = radius[d] - spot_radius[spot]
            if abs(off) >= tolerance or taken[spot - span[0]]:
                continue
            turn = (azimuth[d] - sign * spot_azimuth[spot] - angle) / (2 * math.pi)
            turn = 2 * math.pi * (turn - math.floor(turn + 0.5))
            share = 1 - (off**2 + (spot_radius[spot] * turn) ** 2) / tolerance**2
            if spot_share[spot] * share > most:
                most, best, by = spot_share[spot] * share, spot, turn
        if best >= 0:
            taken[best - span[0]] = True
            pull = weight[d] * spot_share[best] * spot_radius[best] ** 2
            total += weight[d] * most
            moment += pull * by
            inertia += pull
            matched += 1
    return total, moment / max(inertia, 1e-12), matched


@njit(cache=True, nogil=True)
def bound_scores(radius, azimuth, weight, ring, tolerance, groups, bounds):
    """Write to ``bounds`` (templates,) what no turn of a template can exceed, mirrored or not.

    ``groups`` holds the offsets of the templates, and of each template's rings the number, the sum, norm and maximum of
    its weights, and how many spots one disk can match. On one ring the sum over matches is at most the sum of the spots
    times the strongest disk, the strongest spot times the sum of the disks, and the product of both norms.
    """
    offset, number, total, norm, strongest, crowd = groups
    disks, most = np.zeros((ring.size, 3)), np.ones(ring.size)
    for k in range(ring.size):
        for d in range(radius.size):
            room = 1 - ((radius[d] - ring[k]) / tolerance) ** 2
            if room <= 0:
                continue
            seen = weight[d] * room
            disks[k, 0] = max(disks[k, 0], seen)
            disks[k, 1] += seen
            disks[k, 2] += seen**2
            near = 1.0
            for e in range(radius.size):
                if e != d and abs(radius[e] - ring[k]) < tolerance:
                    turn = (azimuth[d] - azimuth[e]) / (2 * math.pi)
                    near += 2 * math.pi * abs(turn - math.floor(turn + 0.5)) * ring[k] < 2 * tolerance
            most[k] = max(most[k], near)
        disks[k, 2] = math.sqrt(disks[k, 2])
    for t in range(offset.size - 1):
        bound = 0.0
        for g in range(offset[t], offset[t + 1]):
            k = number[g]
            by_disk, by_spot = total[g] * disks[k, 0] * most[k], strongest[g] * disks[k, 1] * crowd[g]
            bound += min(by_disk, by_spot, norm[g] * disks[k, 2] * math.sqrt(crowd[g] * most[k]))
        bounds[t] = math.ceil(min(1.001 * bound + 1e-3, MOST) * UNIT * UNIT) if bound > 0 else 0


@njit(cache=True, nogil=True)
def change(score, blocks, c, value):
    """Set a score and keep the largest of its block of `BLOCK` scores."""
    score[c] = value
    b = c // BLOCK
    blocks[b] = score[b * BLOCK : (b + 1) * BLOCK].max()


@njit(cache=True, nogil=True)
def is_new(orientation, phase, others, phases, kept, symmetries, sym_at, cos_apart):
    """Return whether an orientation is far from the better ones of its phase."""
    of = symmetries[sym_at[phase] : sym_at[phase + 1]]
    new = True
    for k in range(kept):
        new = new and (phases[k] != phase or cos_half(orientation, others[k], of) < cos_apart)
    return new


@njit(cache=True, nogil=True)
def match_frames(rows, radius, azimuth, weight, spots, groups, templates, search, best, quaternion, found):
    """Write the best orientations of frames, each more than an angle from the better ones.

    ``rows[f]:rows[f + 1]`` are the disks of frame f, with unit norm of the weights. ``spots`` holds the rings and, of
    each spot, the number of its ring, the step, the integer weight, the radius, the azimuth and the weight;
    ``groups`` what `bound_scores` needs; ``templates`` the offsets of the spots, rotations and phases of the templates,
    and symmetries of the phases with their offsets; ``search`` the tolerance in px, the steps of a turn, whether
    mirrored templates count, and the cosine of half the least angle between orientations. ``best`` (n, k, 3) takes
    correlation, angle and matched disks, ``quaternion`` (n, k, 4) the orientation and ``found`` (n, k, 3) template,
    mirror and phase, -1 where there is none.

    Of each template two turns count, the best one and the best that is as far from it as orientations must be: half a
    turn often is nearly as good.

    A template is turned over the disks only when its bound is the largest of what is left: those that cannot be among
    the best are never touched, and none is missed.
    """
    ring, s_ring, s_step, s_weight, s_radius, s_azimuth, s_share = spots
    offset, rotation, phase, symmetries, sym_at = templates
    tolerance, steps, mirrors, cos_apart = search
    n, wanted = offset.size - 1, best.shape[1]
    most = 1
    for f in range(rows.size - 1):
        most = max(most, rows[f + 1] - rows[f])
    room = most * ring.size
    longest = min(int(tolerance * steps / (math.pi * ring[0])) + 2, steps)
    first, start, stop = np.empty(ring.size + 1, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    entries = (first, start, stop, np.empty(room, np.int64), np.empty(room * longest, np.int32))
    turns, bounds, turn = np.empty(2 * steps, np.int32), np.empty(n, np.int32), np.empty(2 * n, np.int32)
    blocks = np.empty((2 * n + BLOCK - 1) // BLOCK, np.int32)
    score, span = np.zeros(blocks.size * BLOCK, np.int32), np.empty(2, np.int64)
    other, most_other = np.zeros(2 * n, np.int32), np.zeros(2 * n, np.int32)
    gap = max(1, int(steps * 2 * math.acos(cos_apart) / (2 * math.pi)))
    for f in range(rows.size - 1):
        a, b = rows[f], rows[f + 1]
        if a == b:
            continue
        disks = (radius[a:b], azimuth[a:b], weight[a:b])
        spread_disks(disks[0], disks[1] * (steps / (2 * math.pi)), disks[2], ring, tolerance, steps, *entries)
        bound_scores(*disks, ring, tolerance, groups, bounds)
        for t in range(n):
            score[2 * t] = bounds[t]
            score[2 * t + 1] = bounds[t] if mirrors else 0
        for c in range(blocks.size):
            blocks[c] = score[c * BLOCK : (c + 1) * BLOCK].max()
        turn[:] = -1
        kept = 0
        while kept < wanted:
            block = np.argmax(blocks)
            c = block * BLOCK + np.argmax(score[block * BLOCK : (block + 1) * BLOCK])
            if score[c] == 0:
                break
            t, sign = c // 2, 1 - 2 * (c % 2)
            span[0], span[1] = offset[t], offset[t + 1]
            if turn[c] < 0:  # only its bound is known
                count_votes(span, s_ring, s_step, s_weight, sign, entries, steps, turns)
                turn[c] = np.argmax(turns[:steps])
                other[c], most_other[c] = 0, 0
                for s in range(turn[c] + gap, turn[c] + steps - gap + 1):
                    if turns[s % steps] > most_other[c]:
                        other[c], most_other[c] = s % steps, turns[s % steps]
                change(score, blocks, c, turns[turn[c]])
                continue
            angle = 2 * math.pi / steps * turn[c]
            change(score, blocks, c, most_other[c])  # the other turn is left
            turn[c], most_other[c] = other[c], 0
            orientation = turned(rotation[t], sign < 0, angle)
            if not is_new(orientation, phase[t], quaternion[f], found[f, :, 2], kept, symmetries, sym_at, cos_apart):
                continue
            for _ in range(3):
                angle += compare(span, s_radius, s_azimuth, s_share, sign, angle, disks, tolerance)[1]
            total, _, matched = compare(span, s_radius, s_azimuth, s_share, sign, angle, disks, tolerance)
            best[f, kept, 0], best[f, kept, 1], best[f, kept, 2] = total, angle, matched
            quaternion[f, kept, :] = turned(rotation[t], sign < 0, angle)
            found[f, kept, 0], found[f, kept, 1], found[f, kept, 2] = t, c % 2, phase[t]
            kept += 1
