# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Poses that no joint allows: how far H36M-17 poses are beyond the limits of human joints."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..geometry import H36M_17

_SIDES = ('right', 'left')


@dataclass(frozen=True)
class JointLimits:
    """Largest angles, degrees.

    Ranges of motion of the American Academy of Orthopaedic Surgeons (Greene and Heckman, *The Clinical Measurement of
    Joint Motion*, 1994), where it has one, with room for H36M-17, whose joints are points: the trunk has one joint for
    many, its frame is that of the spine's two bones, and hips and shoulders turn it. The others were chosen on
    recorded poses. No limit has one recorded joint in a thousand beyond it by more than a few degrees.

    Attributes:
        elbow_flexion: 150 and 5 of room. How an upper arm is turned is not seen, and so which way an elbow may bend.
        knee_flexion: 135 and 20: who squats on the heels bends it by more than 150.
        knee_extension: Of the shin to the front of the thigh, beyond stretched: 0 and 20.
        hip_flexion: Of the thigh to the front, 120 and 25.
        hip_extension: To the back, 30 and 30.
        hip_adduction: Inwards, 30 and 10.
        shoulder_extension: Of the upper arm to the back, 60.
        shoulder_adduction: Inwards across the chest; chosen.
        spine_bend: Between the spine's two bones; chosen.
        spine_twist: Between hips and shoulders about the spine, 45 and 25.
        neck_bend: Between the upper spine and the neck; chosen. The neck's own range is 45.
        head_bend: Between neck and head; chosen: the joint between them is by the nose.
    """

    elbow_flexion: float = 155.0
    knee_flexion: float = 155.0
    knee_extension: float = 20.0
    hip_flexion: float = 145.0
    hip_extension: float = 60.0
    hip_adduction: float = 40.0
    shoulder_extension: float = 60.0
    shoulder_adduction: float = 50.0
    spine_bend: float = 60.0
    spine_twist: float = 70.0
    neck_bend: float = 65.0
    head_bend: float = 65.0


def joint_angles(keypoints: Tensor) -> dict[str, Tensor]:
    """Angles of H36M-17 poses, by the names of :class:`JointLimits`.

    Args:
        keypoints: ``(N, 17, 3)`` metres, in any right-handed frame, such as the camera's.

    Returns:
        ``(N, 1)`` or ``(N, 2)`` degrees each, right and left; what is bent the other way is negative.
    """

    def bone(child: str) -> Tensor:
        index = H36M_17.index(child)
        return _unit(keypoints[:, index] - keypoints[:, H36M_17.parents[index]])

    def across(joint: str) -> Tensor:
        return _unit(keypoints[:, H36M_17.index(f'left_{joint}')] - keypoints[:, H36M_17.index(f'right_{joint}')])

    hips, shoulders = across('hip'), across('shoulder')
    lower, upper = bone('spine'), bone('thorax')
    angles = {name.name: [] for name in fields(JointLimits)}
    for side, sign in zip(_SIDES, (1.0, -1.0), strict=True):
        thigh, shin = bone(f'{side}_knee'), bone(f'{side}_foot')
        arm, forearm = bone(f'{side}_elbow'), bone(f'{side}_wrist')
        pelvis_left, pelvis_up, front = _frame(hips, lower)
        angles['knee_flexion'].append(_between(thigh, shin))
        # The front of the thigh, its length less than 1 where the leg is stretched sideways and it is not known.
        thigh_front = torch.linalg.cross(pelvis_left, -thigh)
        angles['knee_extension'].append(_arcsine(_dot(shin, thigh_front)))
        angles['hip_flexion'].append(_swing(thigh, front, -pelvis_up))
        angles['hip_extension'].append(_swing(thigh, -front, -pelvis_up))
        angles['hip_adduction'].append(_arcsine(sign * _dot(thigh, pelvis_left)))
        angles['elbow_flexion'].append(_between(arm, forearm))
        chest_left, _, chest_front = _frame(shoulders, upper)
        angles['shoulder_extension'].append(_arcsine(-_dot(arm, chest_front)))
        angles['shoulder_adduction'].append(_arcsine(sign * _dot(arm, chest_left)))
    angles['spine_bend'].append(_between(lower, upper))
    spine = _unit(lower + upper)
    angles['spine_twist'].append(_between(*(_unit(v - _dot(v, spine)[:, None] * spine) for v in (hips, shoulders))))
    angles['neck_bend'].append(_between(upper, bone('neck_base')))
    angles['head_bend'].append(_between(bone('neck_base'), bone('head')))
    return {name: torch.stack(values, 1) for name, values in angles.items()}


def joint_excess(keypoints: Tensor, limits: JointLimits | None = None) -> Tensor:
    """How far poses are beyond the limits of their joints, all joints together.

    Args:
        keypoints: ``(N, 17, 3)`` metres, in any right-handed frame.
        limits: Default: :class:`JointLimits`.

    Returns:
        ``(N,)`` radians, 0 where no joint is beyond its limit.
    """
    limits = limits or JointLimits()
    excess = [(angle - getattr(limits, name)).clamp(min=0) for name, angle in joint_angles(keypoints).items()]
    return torch.cat(excess, 1).sum(1) * (math.pi / 180)


def _frame(left: Tensor, up: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Left, up and front of a trunk, orthonormal."""
    left = _unit(left - _dot(left, up)[:, None] * up)
    return left, up, torch.linalg.cross(left, up)


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm(dim=-1, keepdim=True).clamp(min=1e-9)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1)


def _between(a: Tensor, b: Tensor) -> Tensor:
    return torch.rad2deg(torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), _dot(a, b)))


def _arcsine(value: Tensor) -> Tensor:
    return torch.rad2deg(value.clamp(-1, 1).asin())


def _swing(limb: Tensor, towards: Tensor, down: Tensor) -> Tensor:
    """Angle from hanging down towards a direction, from -90 to 180; 0 as the limb leaves that plane."""
    forward, below = _dot(limb, towards), _dot(limb, down)
    angle = torch.rad2deg(torch.atan2(forward, below))
    return torch.where(forward > 0, angle, -torch.rad2deg(torch.atan2(-forward, below)).clamp(max=90)) * torch.hypot(
        forward, below
    )
