# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The shipped clip: three mannequins who move before a fixed camera, with their detections and their true 3D.

Nothing is recorded: feet follow footholds and roll over heel and toes, pelvis, back and arms follow key poses, and the
inverse kinematics of :mod:`.example_scene` finds knees, so bones keep their lengths and standing feet stand still. One
walks across and greets, one squats and stretches, one waves and turns round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from ..datasets.pair_synthesis import MEAN_BONE_LENGTHS
from ..geometry import Camera
from .example_scene import FOV_DEG, Body, Figure, Posture, pose_body, turn

NUM_FRAMES = 100
FRAME_RATE = 25.0
CLIP_SIZE = (640, 360)

# The middle of the heel's and of the ball's rounded sole, from the ankle in the foot's frame: up, ahead; its radius.
_HEEL, _BALL, _SOLE = (-0.070, -0.045), (-0.070, 0.100), 0.016
# Key poses are joined on a fine grid, so that smoothing is the same at every frame rate.
_GRID = np.linspace(-1.5, 6.0, 1501)


def clip_camera() -> Camera:
    """The clip's camera: the example's, at :data:`CLIP_SIZE`."""
    return Camera.from_fov(FOV_DEG, *CLIP_SIZE)


def clip_times() -> np.ndarray:
    """``(F,)`` seconds of the frames."""
    return np.arange(NUM_FRAMES) / FRAME_RATE


def curve(times: np.ndarray, keys: Sequence[tuple], softness: float = 0.06) -> np.ndarray:
    """A smooth curve through key values, without overshoot; constant before the first and after the last.

    Args:
        times: ``(F,)`` seconds.
        keys: ``(time, value, …)`` each, in the order of time.
        softness: Standard deviation of the smoothing in time, seconds.

    Returns:
        ``(F,)``, or ``(F, V)`` for V values a key.
    """
    table = np.array(keys, float)
    joined = PchipInterpolator(table[:, 0], table[:, 1:])(np.clip(_GRID, table[0, 0], table[-1, 0]))
    smooth = gaussian_filter1d(joined, softness / (_GRID[1] - _GRID[0]), axis=0, mode='nearest')
    values = np.stack([np.interp(times, _GRID, column) for column in smooth.T], -1)
    return values[:, 0] if values.shape[1] == 1 else values


@dataclass(frozen=True)
class Foothold:
    """Where and when a foot stands.

    Attributes:
        land: When it comes down, seconds.
        leave: When it goes up.
        place: World x and z below the ankle, metres.
        yaw: Where the foot points to, degrees; 0 is the camera.
        heel_strike: How far the toes are up when it lands, degrees.
        push_off: How far the heel is up when it leaves, degrees.
    """

    land: float
    leave: float
    place: tuple[float, float]
    yaw: float
    heel_strike: float = 4.0
    push_off: float = 24.0


@dataclass(frozen=True)
class FootPath:
    """A foot through F frames.

    Attributes:
        ankle: ``(F, 3)`` metres, world.
        yaw: ``(F,)`` where the foot points to, degrees.
        pitch: ``(F,)`` how far the heel is up, degrees.
        bend: ``(F,)`` how far the toes bend up against the foot, degrees.
    """

    ankle: np.ndarray
    yaw: np.ndarray
    pitch: np.ndarray
    bend: np.ndarray


def foot_path(times: np.ndarray, footholds: Sequence[Foothold], lift: float, raises: Sequence[tuple] = ()) -> FootPath:
    """A foot that goes from foothold to foothold; it rolls from the heel over the ball.

    Args:
        times: ``(F,)`` seconds.
        footholds: In the order of time.
        lift: How high the ankle goes between two, metres.
        raises: Further keys ``(time, degrees)`` of the pitch: rising to the toes.
    """
    keys = [(-9.0, 0.0), *raises]
    for hold in footholds:
        keys += [(hold.land, -hold.heel_strike), (hold.land + 0.10, 0.0)]
        push = hold.push_off
        keys += [(hold.leave - 0.27, 0), (hold.leave - 0.11, 0.33 * push), (hold.leave, push)]
        keys += [(hold.leave + 0.08, 1.4 * push), (hold.leave + 0.23, 0.3 * push)]
    for before, after in zip(footholds, footholds[1:], strict=False):
        keys.append((max(after.land - 0.08, before.leave + 0.26), -0.85 * after.heel_strike))
    keys = sorted(k for k in keys if np.isfinite(k).all())

    def pitch_at(t):
        return curve(np.atleast_1d(t), keys, softness=0.025)

    pitch = pitch_at(times)
    ankle, yaw, bend = np.zeros((len(times), 3)), np.zeros(len(times)), np.maximum(pitch, 0)
    for index, hold in enumerate(footholds):
        stands = (times >= hold.land) & (times <= hold.leave)
        ankle[stands], yaw[stands] = _standing_ankle(hold, pitch[stands]), hold.yaw
        if index + 1 == len(footholds):
            continue
        after = footholds[index + 1]
        swings = (times > hold.leave) & (times < after.land)
        duration = after.land - hold.leave
        share = (times[swings] - hold.leave) / duration
        ends = []
        for foothold, t in ((hold, hold.leave), (after, after.land)):
            near = _standing_ankle(foothold, pitch_at(t + np.array([-0.004, 0, 0.004])))
            ends += [near[1], (near[2] - near[0]) / 0.008 * duration]
        ankle[swings] = _hermite(share[:, None], *ends)
        # Highest early, as a heel that kicks up.
        ankle[swings, 1] += lift * 28.9 * share**2 * (1 - share) ** 3
        eased = share**3 * (10 - 15 * share + 6 * share**2)
        yaw[swings] = hold.yaw + eased * (after.yaw - hold.yaw)
        bend[swings] *= np.clip(1 - share / 0.45, 0, 1) ** 2
    return FootPath(ankle, yaw, pitch, bend)


def _standing_ankle(hold: Foothold, pitch: np.ndarray) -> np.ndarray:
    """Ankle ``(F, 3)`` of a foot that stands, its heel ``pitch`` degrees up, or its toes for a negative one."""
    angle = np.radians(pitch)
    up, ahead = np.where((pitch > 0)[:, None], _BALL, _HEEL).T
    height = _SOLE - (up * np.cos(angle) - ahead * np.sin(angle))
    along = ahead - (ahead * np.cos(angle) + up * np.sin(angle))
    yaw = np.radians(hold.yaw)
    x, z = hold.place
    return np.stack([x + along * np.sin(yaw), height, z + along * np.cos(yaw)], -1)


def _hermite(share, start, start_slope, end, end_slope):
    """Cubic from start to end with slopes per unit of ``share``."""
    s2, s3 = share**2, share**3
    stay = 2 * s3 - 3 * s2
    return (1 + stay) * start - stay * end + (s3 - 2 * s2 + share) * start_slope + (s3 - s2) * end_slope


@dataclass(frozen=True)
class ArmPath:
    """An arm through F frames, in the chest's frame; for the right arm mirrored.

    Attributes:
        upper: ``(F, 3)`` direction of the upper arm: outwards, up, ahead.
        bend: ``(F,)`` of the elbow, degrees; 0 is straight.
        towards: ``(F, 3)`` where the elbow bends to.
    """

    upper: np.ndarray
    bend: np.ndarray
    towards: np.ndarray


def arm_path(times: np.ndarray, keys: Sequence[tuple[float, tuple, float, tuple]]) -> ArmPath:
    """An arm from key poses ``(time, upper, bend, towards)``."""
    rows = [(t, *np.array(upper) / np.linalg.norm(upper), bend, *towards) for t, upper, bend, towards in keys]
    values = curve(times, rows)
    return ArmPath(values[:, :3], values[:, 3], values[:, 4:])


@dataclass(frozen=True)
class Motion:
    """A person through F frames; turns are (bend forward, lean left, turn left) ``(F, 3)`` as in :class:`Posture`.

    Attributes:
        pelvis: ``(F, 3)`` metres, world.
        facing: ``(F,)`` degrees, as in :class:`Figure`.
        feet: Left, right.
        arms: Left, right.
        pelvis_turn: Turn of the pelvis.
        spine_turn: Further turn of the lower spine.
        chest_turn: Further turn of the chest.
        head_turn: Further turn of the head.
        knees_out: ``(F,)`` how far outwards knees point, as a share of ahead.
    """

    pelvis: np.ndarray
    facing: np.ndarray
    feet: tuple[FootPath, FootPath]
    arms: tuple[ArmPath, ArmPath]
    pelvis_turn: np.ndarray
    spine_turn: np.ndarray
    chest_turn: np.ndarray
    head_turn: np.ndarray
    knees_out: np.ndarray


@dataclass(frozen=True)
class Actor:
    """Who moves: lengths of bones, thickness, clothes."""

    bones: dict[str, float]
    girth: float
    outfit: int

    def figures(self, motion: Motion) -> list[Figure]:
        """The figure on each frame."""
        return [self._figure(motion, frame) for frame in range(len(motion.facing))]

    def _figure(self, motion: Motion, frame: int) -> Figure:
        facing, place = motion.facing[frame], motion.pelvis[frame] * [1, 0, 1]
        to_own = turn(0, 0, facing).T
        toes = tuple(
            (outwards * (foot.yaw[frame] - facing), foot.pitch[frame])
            for foot, outwards in zip(motion.feet, (1, -1), strict=True)
        )
        out = motion.knees_out[frame]
        posture = Posture(
            pelvis=(0, motion.pelvis[frame, 1], 0),
            ankles=tuple(to_own @ (foot.ankle[frame] - place) for foot in motion.feet),
            # Knees point where the toes point to, and a little outwards.
            knees=tuple(
                (outwards * (out + np.tan(np.radians(np.clip(0.7 * toe, -60, 60)))), 0.35, 1)
                for outwards, (toe, _) in zip((1, -1), toes, strict=True)
            ),
            wrists=((0.3, 0.9, 0), (-0.3, 0.9, 0)),
            elbows=((0, 0, -1), (0, 0, -1)),
            toes=toes,
            toe_bends=tuple(foot.bend[frame] for foot in motion.feet),
            pelvis_turn=motion.pelvis_turn[frame],
            spine_turn=motion.spine_turn[frame],
            chest_turn=motion.chest_turn[frame],
            head_turn=motion.head_turn[frame],
        )
        arms = self._arms(posture, motion, frame)
        posture = Posture(**{**posture.__dict__, **arms})
        return Figure(posture, (place[0], place[2]), facing, self.outfit, bones=self.bones, girth=self.girth)

    def _arms(self, posture: Posture, motion: Motion, frame: int) -> dict[str, tuple]:
        """Wrists and elbows of the posture, from the arms' directions."""
        body, wrists, elbows = pose_body(posture, self.bones), [], []
        for arm, shoulder, outwards in zip(motion.arms, (11, 14), (1, -1), strict=True):
            frame_of_chest = body.frames['chest'] * [outwards, 1, 1]
            upper = frame_of_chest @ arm.upper[frame]
            upper /= np.linalg.norm(upper)
            towards = frame_of_chest @ arm.towards[frame]
            towards -= (towards @ upper) * upper
            towards /= np.linalg.norm(towards)
            bend = np.radians(arm.bend[frame])
            forearm = np.cos(bend) * upper + np.sin(bend) * towards
            reach = self.bones['upper_arm'] * upper + self.bones['forearm'] * forearm
            wrists.append(body.joints[shoulder] + reach)
            elbows.append(-towards)
        return {'wrists': tuple(wrists), 'elbows': tuple(elbows)}


def _bones(height: float, **factors: float) -> dict[str, float]:
    """Mean bone lengths, all times ``height`` and some times their own factor."""
    return {name: length * height * factors.get(name, 1) for name, length in MEAN_BONE_LENGTHS.items()}


WALKER = Actor(_bones(1.02), 0.98, outfit=0)
SQUATTER = Actor(_bones(0.95, clavicle=0.90, hip=0.97, forearm=0.97), 0.90, outfit=2)
WAVER = Actor(_bones(1.04, clavicle=1.07, upper_spine=1.03), 1.09, outfit=1)

_HANGING = ((0.15, -1, 0.04), 16, (-0.3, 0.2, 1))


def walk() -> Motion:
    """Crosses the picture from left to right, and looks at whom he passes."""
    t = clip_times()
    speed, step, heading = 1.235, 0.54, 83.5
    start = np.array([-2.86, -4.95])
    ahead = np.array([np.sin(np.radians(heading)), np.cos(np.radians(heading))])
    left = np.array([ahead[1], -ahead[0]])
    first = -1.02  # A left foot lands then, and every second step.
    footholds = ([], [])
    for k in range(11):
        land, side = first + k * step, k % 2
        place = start + (speed * land + 0.318) * ahead + (0.055 - 0.11 * side) * left
        yaw = heading + (6 - 12 * side)
        footholds[side].append(Foothold(land, land + 1.13 * step, tuple(place), yaw, heel_strike=19, push_off=44))
    cycle = np.pi * (t - first) / step
    swing, stance = np.cos(cycle), np.sin(cycle)
    ground = start + speed * t[:, None] * ahead + 0.020 * stance[:, None] * left
    height = 0.964 - 0.016 * np.cos(2 * cycle)
    zero = np.zeros_like(t)
    look = curve(t, [(1.5, 0, 0), (2.15, -34, 3), (2.8, -40, 4), (3.4, 0, 0)], 0.09)
    arms = []
    for sign in (-1, 1):
        forward = np.cos(cycle - 0.15) * sign
        angle = np.radians(2 + 21 * forward)
        upper = np.stack([0.13 + zero, -np.cos(angle), np.sin(angle)], -1)
        towards = np.stack([-0.35 + zero, 0.3 + zero, 1 + zero], -1)
        arms.append(ArmPath(upper, 26 + 13 * np.cos(cycle - 0.55) * sign, towards))
    return Motion(
        pelvis=np.stack([ground[:, 0], height, ground[:, 1]], -1),
        facing=heading + zero,
        feet=tuple(foot_path(t, holds, lift=0.045) for holds in footholds),
        arms=tuple(arms),
        pelvis_turn=np.stack([4 + np.cos(2 * cycle), -3.0 * stance, -5 * swing], -1),
        spine_turn=np.stack([-1 + zero, 2.6 * stance, 4 * swing - 1 + 0.1 * look[:, 0]], -1),
        chest_turn=np.stack([1 - np.cos(2 * cycle - 0.3), 1.4 * stance, 5 * swing + 0.2 * look[:, 0]], -1),
        head_turn=np.stack([look[:, 1] - 1 + np.cos(2 * cycle), -0.8 * stance, -3.5 * swing + 0.75 * look[:, 0]], -1),
        knees_out=0.02 + zero,
    )


def squat() -> Motion:
    """Squats with the arms ahead, stretches up on the toes, and lets the arms sink sidewards."""
    t = clip_times()
    facing, (x, z) = 20.0, (-0.85, -5.6)
    ahead, left = (turn(0, 0, facing) @ axis for axis in ([0, 0, 1], [1, 0, 0]))
    toes = [(2.25, 0), (2.65, 25), (3.0, 27), (3.4, 0)]
    feet = []
    for outwards in (1, -1):
        place = np.array([x, 0, z]) + 0.165 * outwards * left
        hold = Foothold(-5, 50, (place[0], place[2]), facing + 19 * outwards, 0, 0)
        feet.append(foot_path(t, [hold], 0, toes))
    # Height, forward shift and bends of pelvis, spine, chest and head.
    keys = [
        (0.10, 0.925, 0.000, 1, 1, 1, 0),
        (0.45, 0.880, -0.015, 6, 4, 2, -4),
        (1.30, 0.500, -0.115, 20, 14, 6, -24),
        (1.48, 0.495, -0.115, 20, 14, 6, -24),
        (2.25, 0.890, -0.010, 5, 2, -1, -6),
        (2.50, 0.930, 0.018, 1, -2, -4, -8),
        (2.65, 0.965, 0.046, 0, -3, -5, -10),
        (3.00, 0.970, 0.048, 0, -3, -5, -10),
        (3.40, 0.928, 0.006, 1, 0, 0, -2),
        (3.95, 0.925, 0.000, 1, 1, 1, 0),
    ]
    height, shift, *bends = curve(t, keys, 0.07).T
    sway = 0.006 * np.sin(2 * np.pi * 0.45 * t + 1)
    arm = arm_path(
        t,
        [
            (0.15, *_HANGING),
            (1.20, (0.16, 0.02, 1), 14, (-0.3, 1, 0)),
            (1.55, (0.16, 0.02, 1), 14, (-0.3, 1, 0)),
            (2.50, (0.22, 1, 0.12), 16, (-1, 0, -0.3)),
            (3.00, (0.20, 1, 0.08), 12, (-1, 0, -0.3)),
            (3.42, (1, 0.10, 0.10), 14, (-0.2, 0.6, 0.8)),
            (3.95, (0.20, -1, 0.05), 16, (-0.3, 0.2, 1)),
        ],
    )
    zero = np.zeros_like(t)
    turns = [np.stack([bend, 60 * sway * k, 40 * sway * k], -1) for bend, k in zip(bends, (1, -1, -1, 2), strict=True)]
    pelvis = np.array([x, 0, z]) + shift[:, None] * ahead + sway[:, None] * left
    pelvis[:, 1] = height
    return Motion(pelvis, facing + zero, tuple(feet), (arm, arm), *turns, knees_out=0.10 + zero)


def wave_and_turn() -> Motion:
    """Waves at the one who comes, then turns round to the camera with two steps."""
    t = clip_times()
    x, z = 1.05, -3.95
    facing = curve(t, [(2.15, -46), (3.35, 6)], 0.12)
    # Weight goes over the foot that stands: forth (towards the left foot), height.
    weight = curve(
        t,
        [(0.2, -0.3), (1.2, 0.25), (2.0, -0.2), (2.42, -0.85), (2.62, -0.6), (2.95, 0.85), (3.15, 0.6), (3.6, 0.1)],
        0.07,
    )
    height = curve(t, [(2.1, 1.006), (2.5, 0.990), (2.76, 0.996), (3.0, 0.990), (3.4, 1.006)], 0.07)
    across = np.stack([np.cos(np.radians(facing)), -np.sin(np.radians(facing))], -1)
    centre = curve(t, [(2.3, x, z), (3.2, x + 0.03, z - 0.02)], 0.1)
    ground = centre + 0.072 * weight[:, None] * across
    breath = np.sin(2 * np.pi * 0.3 * t)
    greets = curve(t, [(0.15, 0), (0.65, 1), (1.85, 1), (2.45, 0)], 0.05)
    beat = greets * np.sin(2 * np.pi * 1.7 * (t - 0.45))
    # Turns of pelvis, spine, chest and head ahead of the feet, and the nod at the end.
    lead = curve(
        t,
        [
            (0.1, -4, -2, -4, -22, 0),
            (0.6, -8, -5, -9, -34, -3),
            (1.7, -9, -6, -10, -40, -2),
            (2.15, 0, 2, 2, -8, 0),
            (2.55, 9, 7, 8, 14, 2),
            (3.10, 4, 2, 3, 5, -2),
            (3.40, 0, 0, 0, -2, 9),
            (3.65, 0, 0, 0, -4, -3),
            (3.95, 0, 0, 0, -4, 0),
        ],
        0.07,
    )
    zero = np.zeros_like(t)
    return Motion(
        pelvis=np.stack([ground[:, 0], height, ground[:, 1]], -1),
        facing=facing,
        feet=_turning_feet(t, x, z),
        arms=(_waiting_arm(t), _waving_arm(t, beat)),
        pelvis_turn=np.stack([2 + zero, 3.0 * weight, lead[:, 0]], -1),
        spine_turn=np.stack([-1 + 0.5 * breath, -3.5 * weight + 3 * greets, lead[:, 1]], -1),
        chest_turn=np.stack([1 - breath, -1.5 * weight + 2 * greets, lead[:, 2] - 1.5 * beat], -1),
        head_turn=np.stack([lead[:, 4], 2 * weight - 4 * greets + 1.5 * beat, lead[:, 3]], -1),
        knees_out=0.05 + zero,
    )


def _turning_feet(t: np.ndarray, x: float, z: float) -> tuple[FootPath, FootPath]:
    """Feet of somebody at (x, z) who turns by two steps, the left one first."""
    feet = []
    for outwards, leave in ((1, 2.30), (-1, 2.82)):
        holds = []
        for land, go, yaw, centre in ((-5, leave, -46, (x, z)), (leave + 0.42, 50, 6, (x + 0.03, z - 0.02))):
            side = turn(0, 0, yaw) @ [0.115 * outwards, 0, 0]
            holds.append(Foothold(land, go, (centre[0] + side[0], centre[1] + side[2]), yaw + 13 * outwards))
        feet.append(foot_path(t, holds, lift=0.05))
    return tuple(feet)


def _waving_arm(t: np.ndarray, beat: np.ndarray) -> ArmPath:
    """The right arm, which goes up, follows the ``beat`` ``(F,)`` of the wave, and swings back with the turn."""
    arm = arm_path(
        t,
        [
            (0.05, *_HANGING),
            (0.62, (0.92, 0.16, 0.50), 92, (0.15, 1, 0.25)),
            (1.85, (0.92, 0.16, 0.50), 88, (0.15, 1, 0.25)),
            (2.15, (0.55, -0.55, 0.5), 84, (-0.2, 0.6, 0.8)),
            (2.62, *_HANGING),
            (2.95, (0.15, -1, -0.16), 16, (-0.3, 0.2, 1)),
            (3.45, *_HANGING),
        ],
    )
    return ArmPath(
        arm.upper + 0.10 * beat[:, None] * [0, 1, 0],
        arm.bend - 6 * beat,
        arm.towards + 0.52 * beat[:, None] * [1, 0, 0],
    )


def _waiting_arm(t: np.ndarray) -> ArmPath:
    """The left arm, which hangs, and swings with the turn."""
    return arm_path(
        t,
        [
            (0.2, (0.16, -1, 0.02), 18, (-0.3, 0.2, 1)),
            (1.2, (0.20, -1, -0.06), 24, (-0.3, 0.2, 1)),
            (2.1, (0.16, -1, 0.02), 18, (-0.3, 0.2, 1)),
            (2.6, (0.20, -1, -0.16), 20, (-0.3, 0.2, 1)),
            (3.0, (0.16, -1, 0.18), 26, (-0.3, 0.2, 1)),
            (3.5, (0.16, -1, 0.03), 18, (-0.3, 0.2, 1)),
        ],
    )


@lru_cache(maxsize=1)
def clip_figures() -> tuple[tuple[Figure, ...], ...]:
    """The people on each frame: who walks, who squats, who waves."""
    cast = ((WALKER, walk), (SQUATTER, squat), (WAVER, wave_and_turn))
    return tuple(zip(*(actor.figures(motion()) for actor, motion in cast), strict=True))


def bodies_of(figures: Sequence[Figure]) -> list[Body]:
    """Posed bodies of figures."""
    return [pose_body(figure.posture, figure.bones) for figure in figures]
