# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The shipped clip's detections, as a 2D detector would give them, and its true 3D."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from .example_clip import CLIP_SIZE, bodies_of, clip_camera, clip_figures, clip_times
from .example_scene import Body, Figure, coco_joints, to_camera, world_to_camera
from .mannequin import Parts, sculpt

# From H36M-17's joints to COCO-17's keypoints, metres: means over a man and a woman of the package's body model. In
# the left shoulder's and hip's own frames: outwards, up, ahead.
_SHOULDER, _HIP = (-0.017, 0.028, 0.0), (-0.017, -0.021, 0.020)
# Keypoints of elbows, knees and ankles: back along the limb from the joint towards the one before, metres.
_BACK_ALONG_LIMB = (
    (7, 12, 0.015), (8, 15, 0.015), (13, 5, 0.019), (14, 2, 0.019), (15, 6, 0.019), (16, 3, 0.019),
)  # fmt: skip
# How deep a ray may run through the person's own body before it meets a keypoint: face keypoints lie on the skin.
_SKIN_DEEP = np.array([0.03] * 5 + [0.15] * 12)
# A detector finds people of whom it sees so many keypoints.
_LEAST_SEEN = 5
_SEEN_SCORE = 0.3


def coco_keypoints(body: Body) -> np.ndarray:
    """COCO-17 keypoints of a body in 3D where annotators put them, ``(17, 3)`` metres.

    Unlike :func:`.example_scene.coco_joints`, whose shoulders and hips are Human3.6M's.
    """
    points = coco_joints(body)
    for offset, frame, left in ((_SHOULDER, 'chest', 5), (_HIP, 'pelvis', 11)):
        for index, outwards in ((left, 1), (left + 1, -1)):
            points[index] += body.frames[frame] @ (np.array(offset) * [outwards, 1, 1])
    for keypoint, joint, back in _BACK_ALONG_LIMB:
        along = body.joints[joint - 1] - body.joints[joint]
        points[keypoint] += back * along / np.linalg.norm(along)
    return points


@dataclass(frozen=True)
class SeenClip:
    """P people on F frames, as the camera sees them.

    Attributes:
        keypoints_cam: ``(F, P, 17, 3)`` metres, H36M-17 in the camera frame.
        pixels: ``(F, P, 17, 2)`` of the COCO-17 keypoints, exact.
        inside: ``(F, P, 17)`` bool, in the picture.
        behind_others: ``(F, P, 17)`` bool, hidden by another person.
        behind_self: ``(F, P, 17)`` bool, hidden by the person's own body.
    """

    keypoints_cam: np.ndarray
    pixels: np.ndarray
    inside: np.ndarray
    behind_others: np.ndarray
    behind_self: np.ndarray


def see_clip() -> SeenClip:
    """Project the clip and find what hides what."""
    camera, joints, coco, others, own = clip_camera(), [], [], [], []
    for figures in clip_figures():
        bodies = bodies_of(figures)
        joints.append([to_camera(b.joints, f) for b, f in zip(bodies, figures, strict=True)])
        coco.append([to_camera(coco_keypoints(b), f) for b, f in zip(bodies, figures, strict=True)])
        hidden = _hidden(figures, np.array(coco[-1]))
        own.append(hidden.diagonal().T.copy())
        hidden[np.diag_indices(len(figures))] = False
        others.append(hidden.any(1))
    pixels = camera.project(torch.from_numpy(np.array(coco))).numpy()
    inside = ((pixels >= 0) & (pixels < [camera.width, camera.height])).all(-1)
    return SeenClip(np.array(joints), pixels, inside, np.array(others), np.array(own))


def _hidden(figures: Sequence[Figure], points: np.ndarray) -> np.ndarray:
    """``(P, P, 17)`` bool: whose (first) keypoints, at ``(P, 17, 3)`` in the camera frame, are behind whom (second)."""
    rotation, position = world_to_camera()
    hidden = np.zeros((len(figures), len(figures), 17), bool)
    for second, figure in enumerate(figures):
        parts = sculpt(figure)
        middle = np.linalg.norm(parts.start.mean(0) - position)
        for first in range(len(figures)):
            depth = np.linalg.norm(points[first], axis=1)
            margin = _SKIN_DEEP if first == second else 0.15
            rays = points[first] @ rotation / depth[:, None]
            hidden[first, second] = _met(parts, position, rays, middle - 0.9, np.minimum(depth - margin, middle + 0.9))
    return hidden


def _met(parts: Parts, origin: np.ndarray, rays: np.ndarray, start: float, stop: np.ndarray) -> np.ndarray:
    """Whether rays ``(K, 3)`` meet a body between two distances."""
    share = np.linspace(0, 1, 64)
    reach = start + share * np.maximum(stop - start, 0)[:, None]
    at = origin + reach[..., None] * rays[:, None]
    return (parts.field(at.reshape(-1, 3)).reshape(reach.shape) < 0).any(1) & (stop > start)


def imitate_clip_detections(seen: SeenClip, seed: int = 2019, noise_px: float = 1.2) -> tuple[list[dict], np.ndarray]:
    """Detections on all frames, as a detector would give them; the same each time.

    Errors go on from frame to frame and are larger where a keypoint is hidden. A keypoint out of the picture is put at
    its border, with next to no score; a person of whom little is seen is not found.

    Args:
        seen: From :func:`see_clip`.
        seed: Of the errors.
        noise_px: Standard deviation of the error of a keypoint in plain sight, pixels.

    Returns:
        COCO results, by frame and then by score, and ``(D,)`` which person each is.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    shape = seen.inside.shape
    # Shown and hidden over a few frames, as a detector's confidence goes.
    others, own = (uniform_filter1d(a.astype(float), 3, axis=0) for a in (seen.behind_others, seen.behind_self))
    error = gaussian_filter1d(random.normal(0, 1, (*shape, 2)), 1.2, axis=0, mode='wrap')
    error *= noise_px / error.std()
    error *= (1 + 2.0 * others + 0.7 * own)[..., None]
    size = np.array(CLIP_SIZE)
    pixels = np.clip(seen.pixels + error, 0, size - 1)
    doubt = 0.03 * np.linalg.norm(error, axis=-1) / noise_px + 0.05 * random.random(shape)
    scores = np.clip(0.97 - doubt, 0, 1) * (1 - 0.62 * others) * (1 - 0.28 * own)
    scores = np.where(seen.inside, scores, 0.02 + 0.06 * random.random(shape))
    records, people = [], []
    for frame in range(shape[0]):
        found = np.flatnonzero((scores[frame] > _SEEN_SCORE).sum(1) >= _LEAST_SEEN)
        # By score, as detectors list people.
        for person in found[np.argsort(-scores[frame, found].mean(1))]:
            records.append(
                _record(frame, pixels[frame, person], scores[frame, person], seen.inside[frame, person], size)
            )
            people.append(person)
    return records, np.array(people)


def _record(frame: int, pixels: np.ndarray, scores: np.ndarray, inside: np.ndarray, size: np.ndarray) -> dict:
    shown = pixels[inside]
    low, high = shown.min(0), shown.max(0)
    margin = 0.06 * (high - low).max()
    low, high = np.maximum(low - margin, 0), np.minimum(high + margin, size)
    keypoints = np.concatenate([np.round(pixels, 1), np.round(scores[:, None], 3)], 1)
    return {
        'image_id': frame,
        'category_id': 1,
        'keypoints': [float(v) for v in keypoints.ravel()],
        'score': round(float(scores.mean()), 3),
        'bbox': [round(float(v), 1) for v in (*low, *(high - low))],
    }


def clip_truth(seen: SeenClip, records: list[dict], people: np.ndarray) -> dict[str, np.ndarray]:
    """What lifting and tracking should find.

    Args:
        seen: From :func:`see_clip`.
        records: From :func:`imitate_clip_detections`.
        people: Likewise.

    Returns:
        ``keypoints_cam`` ``(F, P, 17, 3)`` metres, H36M-17 in the camera frame; ``detected`` ``(F, P)``;
        ``in_picture`` and ``hidden`` (by another) ``(F, P, 17)``, of the COCO-17 keypoints; ``record_person`` ``(D,)``,
        who each record of the detections is; ``camera`` ``(6,)``: fx, fy, cx, cy, width, height; ``frame_times``
        ``(F,)`` seconds.
    """
    camera = clip_camera()
    detected = np.zeros(seen.inside.shape[:2], bool)
    detected[[record['image_id'] for record in records], people] = True
    return {
        'keypoints_cam': seen.keypoints_cam.astype(np.float32),
        'detected': detected,
        'in_picture': seen.inside,
        'hidden': seen.behind_others,
        'record_person': people,
        'camera': np.array([camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height]),
        'frame_times': clip_times(),
    }
