# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The shipped example: hand-designed people before a known camera, their detections and their true 3D.

Nothing here is recorded or learnt from anybody: a :class:`Posture` says where hands and feet go, two-bone inverse
kinematics finds elbows and knees, and every bone has the mean length of people. World frame: x right, y up,
z towards the camera, metres, ground at y = 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from ..datasets.pair_synthesis import MEAN_BONE_LENGTHS, world_to_camera_rotation
from ..geometry import Camera

IMAGE_SIZE = (1280, 720)
FOV_DEG = 55.0
CAMERA_HEIGHT = 1.45
CAMERA_PITCH_DEG = 7.0
# Height of the ankle joint above the sole of a foot that stands flat.
ANKLE_HEIGHT = 0.085

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Posture:
    """A person's posture, in the person's own frame: x to their left, y up, z ahead; metres, ground at y = 0.

    Limbs are named left, then right. Turns are (bend forward, lean left, turn left) in degrees.

    Attributes:
        pelvis: Position of the pelvis.
        ankles: Where the ankles go.
        knees: Direction that each knee points to.
        wrists: Where the wrists go.
        elbows: Direction that each elbow points to.
        toes: (turn out, point down) of each foot, degrees.
        toe_bends: How far the toes bend up against each foot, degrees.
        pelvis_turn: Turn of the pelvis.
        spine_turn: Further turn of the lower spine.
        chest_turn: Further turn of the chest.
        head_turn: Further turn of the head.
    """

    pelvis: Vector
    ankles: tuple[Vector, Vector]
    knees: tuple[Vector, Vector]
    wrists: tuple[Vector, Vector]
    elbows: tuple[Vector, Vector]
    toes: tuple[tuple[float, float], tuple[float, float]] = ((12, 0), (12, 0))
    toe_bends: tuple[float, float] = (0, 0)
    pelvis_turn: Vector = (0, 0, 0)
    spine_turn: Vector = (0, 0, 0)
    chest_turn: Vector = (0, 0, 0)
    head_turn: Vector = (0, 0, 0)


@dataclass(frozen=True)
class Figure:
    """A person who stands somewhere.

    Attributes:
        posture: How.
        ground: Where: world x and z, metres.
        facing_deg: Where to: 0 is the camera; positive turns to the person's left.
        outfit: Index of the clothes' colours.
        seat: Half-size of the box below the pelvis, or ``None``.
        bones: Lengths by bone type, metres; as :data:`MEAN_BONE_LENGTHS`.
        girth: Factor on the thickness of everything but the head.
    """

    posture: Posture
    ground: tuple[float, float]
    facing_deg: float
    outfit: int = 0
    seat: Vector | None = None
    bones: Mapping[str, float] = field(default_factory=lambda: MEAN_BONE_LENGTHS)
    girth: float = 1.0


@dataclass(frozen=True)
class Body:
    """Joints of a posed figure, in its own frame.

    Attributes:
        joints: ``(17, 3)`` metres, H36M-17.
        frames: Rotations ``(3, 3)`` of ``'pelvis'``, ``'spine'``, ``'chest'``, ``'head'``, the feet ``'left_foot'``,
            ``'right_foot'`` and, where they bend, ``'left_toes'``, ``'right_toes'``; columns are left, up and ahead.
    """

    joints: np.ndarray
    frames: dict[str, np.ndarray] = field(default_factory=dict)


WALKING_AND_WAVING = Posture(
    pelvis=(0, 0.915, 0),
    ankles=((0.11, 0.10, 0.33), (-0.09, 0.16, -0.40)),
    knees=((0.1, 0, 1), (-0.05, 0, 1)),
    wrists=((0.33, 0.93, -0.20), (-0.47, 1.70, 0.16)),
    elbows=((0.5, -0.2, -1), (-1, -0.5, -0.25)),
    toes=((8, -12), (8, 38)),
    pelvis_turn=(3, 0, -8),
    spine_turn=(2, -2, 5),
    chest_turn=(0, -3, 8),
    head_turn=(-2, 3, -6),
)
SITTING = Posture(
    pelvis=(0, 0.565, 0),
    ankles=((0.19, ANKLE_HEIGHT, 0.46), (-0.20, ANKLE_HEIGHT, 0.36)),
    knees=((0.25, 1, 0.6), (-0.25, 1, 0.6)),
    wrists=((0.15, 0.68, 0.43), (-0.40, 1.14, 0.36)),
    elbows=((1, -0.35, -0.35), (-0.7, -1, -0.2)),
    pelvis_turn=(-8, 0, 0),
    spine_turn=(12, 0, -4),
    chest_turn=(8, 0, -6),
    head_turn=(-6, 4, -14),
)
REACHING_UP = Posture(
    pelvis=(0.02, 0.945, 0),
    ankles=((0.15, ANKLE_HEIGHT, 0.02), (-0.22, 0.115, -0.14)),
    knees=((0.15, 0, 1), (-0.2, 0, 1)),
    wrists=((0.24, 2.00, 0.10), (-0.46, 1.00, 0.16)),
    elbows=((1, 0, 0.3), (-1, -0.2, -0.6)),
    toes=((10, 0), (20, 18)),
    pelvis_turn=(0, -3, 3),
    spine_turn=(-3, -5, 0),
    chest_turn=(-4, -4, 6),
    head_turn=(-8, -4, 8),
)
WARRIOR = Posture(
    pelvis=(0, 0.63, 0.02),
    ankles=((0.66, ANKLE_HEIGHT, 0.08), (-0.74, ANKLE_HEIGHT, -0.02)),
    knees=((1, 0.4, 0.35), (-0.4, 0, 1)),
    wrists=((0.68, 1.15, 0.12), (-0.66, 1.12, 0.0)),
    elbows=((0, -1, -0.4), (0, -1, -0.4)),
    toes=((78, 0), (10, 0)),
    pelvis_turn=(2, 0, 12),
    spine_turn=(-1, 0, 4),
    chest_turn=(0, -2, 4),
    head_turn=(0, 0, 48),
)

# One entry a picture; the pictures' ids are 1, 2, 3.
SCENES: tuple[tuple[Figure, ...], ...] = (
    (Figure(WALKING_AND_WAVING, ground=(-0.25, -4.1), facing_deg=28, outfit=0),),
    (
        Figure(SITTING, ground=(-0.95, -4.05), facing_deg=38, outfit=1, seat=(0.26, 0.235, 0.24)),
        Figure(REACHING_UP, ground=(1.15, -5.6), facing_deg=-28, outfit=2),
    ),
    (Figure(WARRIOR, ground=(0.1, -4.0), facing_deg=-16, outfit=3),),
)


def example_camera() -> Camera:
    """The camera of all pictures: 1280x720, 55 degrees wide."""
    return Camera.from_fov(FOV_DEG, *IMAGE_SIZE)


def world_to_camera() -> tuple[np.ndarray, np.ndarray]:
    """Rotation ``(3, 3)`` and camera position ``(3,)``: a point is ``rotation @ (world - position)`` to the camera."""
    pitch = torch.tensor([np.radians(CAMERA_PITCH_DEG)], dtype=torch.float64)
    zero = torch.zeros_like(pitch)
    return world_to_camera_rotation(zero, pitch, zero)[0].numpy(), np.array([0.0, CAMERA_HEIGHT, 0.0])


def turn(bend: float, lean: float, yaw: float) -> np.ndarray:
    """Rotation ``(3, 3)`` that turns left, then leans left, then bends forward, degrees."""
    (cb, cl, cy), (sb, sl, sy) = (f(np.radians([bend, lean, yaw])) for f in (np.cos, np.sin))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cb, -sb], [0, sb, cb]])
    about_z = np.array([[cl, sl, 0], [-sl, cl, 0], [0, 0, 1]])
    return about_y @ about_z @ about_x


def two_bone_joint(start: np.ndarray, target: np.ndarray, upper: float, lower: float, pole) -> tuple:
    """Inverse kinematics of a limb of two bones.

    Args:
        start: ``(3,)`` shoulder or hip.
        target: ``(3,)`` where the wrist or ankle should be; one out of reach is approached as far as bones allow.
        upper: Length of the first bone, metres.
        lower: Length of the second.
        pole: ``(3,)`` direction that the elbow or knee points to.

    Returns:
        Middle joint and end, ``(3,)`` each.
    """
    axis = target - start
    reach = float(np.clip(np.linalg.norm(axis), abs(upper - lower) + 1e-3, upper + lower - 1e-3))
    axis = axis / np.linalg.norm(axis)
    side = np.asarray(pole, float)
    side = side - (side @ axis) * axis
    side = side / np.linalg.norm(side)
    # Law of cosines.
    along = (upper**2 - lower**2 + reach**2) / (2 * reach)
    middle = start + along * axis + np.sqrt(upper**2 - along**2) * side
    return middle, start + reach * axis


def pose_body(posture: Posture, bone: Mapping[str, float] = MEAN_BONE_LENGTHS) -> Body:
    """Joints of a posture; every bone has its length of ``bone``."""
    pelvis_frame = turn(*posture.pelvis_turn)
    spine_frame = pelvis_frame @ turn(*posture.spine_turn)
    chest_frame = spine_frame @ turn(*posture.chest_turn)
    head_frame = chest_frame @ turn(*posture.head_turn)
    joints = np.zeros((17, 3))
    joints[0] = posture.pelvis
    joints[7] = joints[0] + spine_frame @ [0, bone['lower_spine'], 0]
    joints[8] = joints[7] + chest_frame @ [0, bone['upper_spine'], 0]
    # H36M's neck keypoint lies at the nose's root, ahead of the line from thorax to head top.
    joints[9] = joints[8] + head_frame @ _tilted(bone['neck'], 25)
    joints[10] = joints[9] + head_frame @ _tilted(bone['head'], -20)
    for side, (hip, knee, shoulder, elbow) in enumerate(((4, 5, 11, 12), (1, 2, 14, 15))):
        outwards = 1 - 2 * side
        joints[hip] = joints[0] + pelvis_frame @ [outwards * bone['hip'], 0, 0]
        joints[shoulder] = joints[8] + chest_frame @ [outwards * bone['clavicle'], 0, 0]
        for start, middle, upper, lower, targets, poles in (
            (hip, knee, 'thigh', 'shin', posture.ankles, posture.knees),
            (shoulder, elbow, 'upper_arm', 'forearm', posture.wrists, posture.elbows),
        ):
            joints[middle], joints[middle + 1] = two_bone_joint(
                joints[start], np.asarray(targets[side], float), bone[upper], bone[lower], poles[side]
            )
    frames = {'pelvis': pelvis_frame, 'spine': spine_frame, 'chest': chest_frame, 'head': head_frame}
    for side, outwards, (out, down), bend in zip(
        ('left', 'right'), (1, -1), posture.toes, posture.toe_bends, strict=True
    ):
        frames[f'{side}_foot'] = turn(0, 0, outwards * out) @ turn(down, 0, 0)
        if bend:
            frames[f'{side}_toes'] = frames[f'{side}_foot'] @ turn(-bend, 0, 0)
    return Body(joints, frames)


def _tilted(length: float, degrees: float) -> np.ndarray:
    return length * np.array([0, np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])


# Face keypoints of a head that looks ahead, from the thorax in the head's frame, metres: nose, eyes, ears.
FACE_POINTS = np.array(
    [[0, 0.160, 0.148], [0.032, 0.195, 0.120], [-0.032, 0.195, 0.120], [0.079, 0.178, 0.032], [-0.079, 0.178, 0.032]]
)
_COCO_BODY_FROM_H36M = (11, 14, 12, 15, 13, 16, 4, 1, 5, 2, 6, 3)


def coco_joints(body: Body) -> np.ndarray:
    """COCO-17 keypoints of a body in 3D, ``(17, 3)`` metres."""
    face = body.joints[8] + FACE_POINTS @ body.frames['head'].T
    return np.concatenate([face, body.joints[list(_COCO_BODY_FROM_H36M)]])


def to_camera(points: np.ndarray, figure: Figure) -> np.ndarray:
    """Points ``(K, 3)`` of a figure's own frame in the camera frame, metres."""
    rotation, position = world_to_camera()
    x, z = figure.ground
    world = points @ turn(0, 0, figure.facing_deg).T + [x, 0, z]
    return (world - position) @ rotation.T


def imitate_detections(seed: int = 2019, noise_px: float = 2.0) -> list[dict]:
    """Detections of all figures, as a detector would give them.

    Args:
        seed: Of the noise.
        noise_px: Standard deviation of a keypoint's error, pixels.

    Returns:
        COCO results: one dict a person, in the order of :data:`SCENES`.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    camera, records = example_camera(), []
    for image_id, figures in enumerate(SCENES, start=1):
        for figure in figures:
            points = coco_joints(pose_body(figure.posture))
            pixels = camera.project(torch.from_numpy(to_camera(points, figure))).numpy()
            error = np.clip(random.normal(0, noise_px, pixels.shape), -2 * noise_px, 2 * noise_px)
            scores = 0.97 - 0.03 * np.linalg.norm(error, axis=1) / noise_px - 0.06 * random.random(len(pixels))
            records.append(_coco_record(image_id, pixels + error, scores))
    return records


def _coco_record(image_id: int, pixels: np.ndarray, scores: np.ndarray) -> dict:
    low, high = pixels.min(0), pixels.max(0)
    margin = 0.06 * (high - low).max()
    low, high = np.maximum(low - margin, 0), np.minimum(high + margin, IMAGE_SIZE)
    keypoints = np.concatenate([np.round(pixels, 1), np.round(scores[:, None], 3)], 1)
    return {
        'image_id': image_id,
        'file_name': f'{image_id:012d}.jpg',
        'category_id': 1,
        'keypoints': [float(v) for v in keypoints.ravel()],
        'score': round(float(scores.mean()), 3),
        'bbox': [round(float(v), 1) for v in (*low, *(high - low))],
    }


def true_poses() -> dict[str, np.ndarray]:
    """What the lifter should find.

    Returns:
        ``keypoints_cam`` ``(P, 17, 3)`` metres, H36M-17 in the camera frame, in the order of
        :func:`imitate_detections`; ``image_id`` ``(P,)``; and ``camera`` ``(6,)``: fx, fy, cx, cy, width, height.
    """
    placed = [(i, figure) for i, figures in enumerate(SCENES, start=1) for figure in figures]
    camera = example_camera()
    return {
        'keypoints_cam': np.stack([to_camera(pose_body(f.posture).joints, f) for _, f in placed]),
        'image_id': np.array([i for i, _ in placed]),
        'camera': np.array([camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height]),
    }
