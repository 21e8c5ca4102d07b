# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""2D–3D training pairs made from mocap poses, whole batches at a time.

Bone directions come from the clip, bone lengths from people: proportions, camera and detector noise are drawn
per pair. Every function takes a :class:`torch.Generator` and is deterministic in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from ..geometry import H36M_17, Camera
from .detector_noise import DetectorNoise, imitate_detector
from .pose_augmentation import PoseAugmentation, augment_poses
from .sampling import check_fraction, check_range, uniform

# Mean bone lengths of the H36M-17 skeleton, metres (published Human3.6M means).
MEAN_BONE_LENGTHS = {
    'hip': 0.133,
    'thigh': 0.443,
    'shin': 0.454,
    'lower_spine': 0.233,
    'upper_spine': 0.257,
    'neck': 0.121,
    'head': 0.115,
    'clavicle': 0.151,
    'upper_arm': 0.279,
    'forearm': 0.252,
}
# Bone type of each H36M-17 child joint (joint 0 has no bone); left and right share a type and so a length.
_BONE_TYPE_OF_JOINT = (
    'hip', 'thigh', 'shin', 'hip', 'thigh', 'shin', 'lower_spine', 'upper_spine', 'neck', 'head',
    'clavicle', 'upper_arm', 'forearm', 'clavicle', 'upper_arm', 'forearm',
)  # fmt: skip
_TYPE_INDEX = [list(MEAN_BONE_LENGTHS).index(t) for t in _BONE_TYPE_OF_JOINT]
_PARENT = [p for p, _ in H36M_17.bones]
_BODY_HEIGHT = 1.7


@dataclass(frozen=True)
class Proportions:
    """Distribution of human bone lengths.

    Attributes:
        bone_spread: Relative spread of each bone type, independent of the others.
        body_spread: Relative spread of the whole body.
        distribution: ``'uniform'``: within ± the spread; ``'normal'``: the spread is the standard deviation.
        mean_lengths: Metres by bone type; missing types take :data:`MEAN_BONE_LENGTHS`.
    """

    bone_spread: float = 0.04
    body_spread: float = 0.05
    distribution: str = 'uniform'
    mean_lengths: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        check_fraction('bone_spread', self.bone_spread, 0.5)
        check_fraction('body_spread', self.body_spread, 0.5)
        if self.distribution not in ('uniform', 'normal'):
            raise ValueError(f"distribution takes 'uniform' or 'normal', got {self.distribution!r}")
        unknown = set(self.mean_lengths) - set(MEAN_BONE_LENGTHS)
        if unknown or any(v <= 0 for v in self.mean_lengths.values()):
            raise ValueError(
                f'mean_lengths takes positive metres for {list(MEAN_BONE_LENGTHS)}, got {self.mean_lengths}'
            )

    def sample(self, num: int, generator: Generator) -> Tensor:
        """Draw bone lengths, ``(num, 16)`` metres, in the order of H36M-17's joints 1 … 16."""
        means = {**MEAN_BONE_LENGTHS, **self.mean_lengths}
        mean = torch.tensor([means[t] for t in MEAN_BONE_LENGTHS], device=generator.device)
        body = 1 + self.body_spread * self._unit((num, 1), generator)
        bone = 1 + self.bone_spread * self._unit((num, len(mean)), generator)
        return (mean * (body * bone).clamp(min=0.3))[:, _TYPE_INDEX]

    def _unit(self, shape, generator: Generator) -> Tensor:
        if self.distribution == 'uniform':
            return uniform(shape, (-1.0, 1.0), generator)
        return torch.randn(shape, generator=generator, device=generator.device)


@dataclass(frozen=True)
class CameraDistribution:
    """Distribution of cameras and of where in their picture the body stands. Degrees are for configs only.

    Attributes:
        image_size: Width and height, pixels.
        focal: Range of focal lengths, pixels, drawn log-uniformly; fx = fy.
        pitch_deg: Range of the camera's pitch; positive looks down.
        roll_deg: Range of its roll.
        body_fraction: Range of the share of the image height that a 1.7 m body takes; sets the distance.
        distance: Range that the distance of the root is kept to, metres.
        off_centre: How far from the principal point the root may stand: 1 is as far as the body stays in the
            picture, 0 keeps it in the middle.
    """

    image_size: tuple[int, int] = (1920, 1080)
    focal: tuple[float, float] = (600.0, 3000.0)
    pitch_deg: tuple[float, float] = (-17.0, 40.0)
    roll_deg: tuple[float, float] = (-5.0, 5.0)
    body_fraction: tuple[float, float] = (0.2, 0.9)
    distance: tuple[float, float] = (2.0, 20.0)
    off_centre: float = 1.0

    def __post_init__(self):
        for name in ('image_size', 'focal', 'body_fraction', 'distance'):
            value = getattr(self, name)
            check_range(name, tuple(sorted(value)) if name == 'image_size' else value, positive=True)
        check_range('pitch_deg', self.pitch_deg)
        check_range('roll_deg', self.roll_deg)
        check_fraction('off_centre', self.off_centre)


@dataclass(frozen=True)
class PairBatch:
    """A batch of 2D–3D pairs.

    Attributes:
        keypoints: ``(N, 17, 2)`` pixels, as a detector would give them.
        keypoints_visible: ``(N, 17)``, 1 where detected, else 0.
        pose_cam: ``(N, 17, 3)`` metres, camera frame.
        camera: Batch of N cameras.
    """

    keypoints: Tensor
    keypoints_visible: Tensor
    pose_cam: Tensor
    camera: Camera


def bone_directions(joints: Tensor) -> Tensor:
    """Unit bone directions of H36M-17 poses.

    Args:
        joints: ``(N, 17, 3)`` in any unit.

    Returns:
        ``(N, 16, 3)``, in the order of joints 1 … 16.

    Raises:
        ValueError: If a bone has no length; names the pose and the joint.
    """
    bones = joints[:, 1:] - joints[:, _PARENT]
    length = bones.norm(dim=-1, keepdim=True)
    if not bool((length > 1e-6).all()):
        pose, bone, _ = (~(length > 1e-6)).nonzero()[0].tolist()
        raise ValueError(f'pose {pose}: the bone to {H36M_17.joint_names[bone + 1]} has no length')
    return bones / length


def assemble_pose(directions: Tensor, lengths: Tensor) -> Tensor:
    """Root-relative joints from bone directions and lengths.

    Args:
        directions: ``(N, 16, 3)`` unit vectors.
        lengths: ``(N, 16)`` metres.

    Returns:
        ``(N, 17, 3)`` metres, pelvis at 0.
    """
    path = H36M_17.path_matrix[:, 1:].to(directions)
    return path @ (directions * lengths[..., None])


def mirror_pose(pose: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror chosen poses in x and swap their left and right joints.

    Args:
        pose: ``(N, 17, 3)``.
        mirrored: ``(N,)`` bool.

    Returns:
        ``(N, 17, 3)``.
    """
    flipped = pose[:, list(H36M_17.flip_indices)] * pose.new_tensor([-1.0, 1.0, 1.0])
    return torch.where(mirrored[:, None, None], flipped, pose)


def world_to_camera_rotation(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """Rotation from a y-up world to the frame of a camera that looks down by ``pitch`` and is rolled by ``roll``.

    Args:
        yaw: ``(N,)`` radians, turn of the body about the vertical.
        pitch: ``(N,)`` radians, positive looks down.
        roll: ``(N,)`` radians.

    Returns:
        ``(N, 3, 3)``.
    """

    def matrix(rows):
        return torch.stack([torch.stack(r, -1) for r in rows], -2)

    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
    cy, sy, cp, sp = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin()
    # Turn about y, then (x, -y, -z): y up and z backward become y down and z forward.
    body = matrix([[cy, zero, sy], [zero, -one, zero], [sy, zero, -cy]])
    tilt = matrix([[one, zero, zero], [zero, cp, -sp], [zero, sp, cp]])
    spin = matrix([[roll.cos(), -roll.sin(), zero], [roll.sin(), roll.cos(), zero], [zero, zero, one]])
    return spin @ tilt @ body


def place_in_view(pose: Tensor, distribution: CameraDistribution, generator: Generator) -> tuple[Tensor, Camera]:
    """Draw a camera for each pose and put the pose before it.

    Args:
        pose: ``(N, 17, 3)`` metres, root-relative, y-up world.
        distribution: What to draw cameras from.
        generator: Source of randomness, on the pose's device.

    Returns:
        ``(N, 17, 3)`` metres in the camera frame, and the batch of cameras.
    """
    num = len(pose)
    width, height = (float(v) for v in distribution.image_size)
    focal = uniform(num, [math.log(v) for v in distribution.focal], generator).exp()
    yaw = uniform(num, (0.0, 2 * math.pi), generator)
    pitch = uniform(num, [math.radians(v) for v in distribution.pitch_deg], generator)
    roll = uniform(num, [math.radians(v) for v in distribution.roll_deg], generator)
    fraction = uniform(num, distribution.body_fraction, generator)
    depth = (focal * _BODY_HEIGHT / (fraction * height)).clamp(*distribution.distance)
    relative = pose @ world_to_camera_rotation(yaw, pitch, roll).mT
    # A pose stretched towards a near camera must stay in front of it.
    depth = torch.maximum(depth, 0.5 - relative[..., 2].amin(1))
    half_size = relative.new_tensor([width, height]) / 2
    extent = relative[..., :2].abs().amax(1) * (focal / depth)[:, None]
    room = (half_size - extent).clamp(min=0) * distribution.off_centre
    offset = uniform((num, 2), (-1.0, 1.0), generator) * room
    root = torch.cat([offset * (depth / focal)[:, None], depth[:, None]], -1)
    one = torch.ones_like(focal)
    camera = Camera(focal, focal, one * (width / 2), one * (height / 2), one * width, one * height)
    return relative + root[:, None], camera


def make_pairs(
    directions: Tensor,
    generator: Generator,
    proportions: Proportions | None = None,
    cameras: CameraDistribution | None = None,
    noise: DetectorNoise | None = None,
    augmentation: PoseAugmentation | None = None,
    mirror_prob: float = 0.5,
) -> PairBatch:
    """Make one 2D–3D pair from each pose.

    Args:
        directions: ``(N, 16, 3)`` unit bone directions, y-up world, as :func:`bone_directions` gives them.
        generator: Source of randomness, on the same device.
        proportions: Bone lengths. Default: Human3.6M means ± 4 % a bone, ± 5 % a body.
        cameras: Cameras. Default: focal 600–3000 px at 1920×1080, pitch −17…40 degrees.
        noise: Detector errors. Default: none.
        augmentation: New poses; limbs are mixed among the batch's. Default: none.
        mirror_prob: Probability that a pose is mirrored.

    Returns:
        :class:`PairBatch` of N pairs.
    """
    num = len(directions)
    if augmentation is not None:
        # Frames were drawn at random, so that the next pair's is a random other.
        directions = augment_poses(directions, directions.roll(1, 0), augmentation, generator)
    lengths = (proportions or Proportions()).sample(num, generator)
    pose = assemble_pose(directions, lengths)
    mirrored = torch.rand(num, generator=generator, device=generator.device) < mirror_prob
    pose_cam, camera = place_in_view(mirror_pose(pose, mirrored), cameras or CameraDistribution(), generator)
    keypoints, visible = imitate_detector(camera.project(pose_cam), noise or DetectorNoise(), generator)
    return PairBatch(keypoints, visible, pose_cam, camera)
