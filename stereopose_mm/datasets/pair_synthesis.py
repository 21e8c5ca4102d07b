# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""2D–3D training pairs made from mocap poses, whole batches at a time.

Bone directions come from the clip, bone lengths from people: proportions, camera and detector noise are drawn
per pair. Every function takes a :class:`torch.Generator` and is deterministic in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor

from ..geometry import COCO_17, H36M_17, Camera, body_skeleton, map_scores, mapping_matrix
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
# Spread of each of these, relative, from one skeleton definition to another: motion-capture systems and body models put
# hips, spine and head elsewhere, and people's limbs differ too.
_WIDE_SPREADS = (0.4, 0.15, 0.15, 0.5, 0.3, 0.4, 0.6, 0.4, 0.15, 0.25)
# Bone type of each H36M-17 child joint (joint 0 has no bone); left and right share a type and so a length.
_BONE_TYPE_OF_JOINT = (
    'hip', 'thigh', 'shin', 'hip', 'thigh', 'shin', 'lower_spine', 'upper_spine', 'neck', 'head',
    'clavicle', 'upper_arm', 'forearm', 'clavicle', 'upper_arm', 'forearm',
)  # fmt: skip
_TYPE_INDEX = [list(MEAN_BONE_LENGTHS).index(t) for t in _BONE_TYPE_OF_JOINT]
# From H36M-17's joints to COCO-17's keypoints: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles.
_OFFSET_TYPE_INDEX = [0] + [t for t in range(1, 9) for _ in range(2)]
_BODY_HEIGHT = 1.7

KEYPOINT_SETS = ('h36m', 'coco', 'coco_as_h36m')


@dataclass(frozen=True)
class Proportions:
    """Distribution of human bone lengths.

    Attributes:
        bone_spread: Relative spread of each bone type, independent of the others.
        body_spread: Relative spread of the whole body.
        distribution: ``'uniform'``: within ± the spread; ``'normal'``: the spread is the standard deviation.
        own_share: Share of the bodies whose mean lengths are the recorded body's own instead of ``mean_lengths``.
        wide_share: Share of the bodies whose bones spread much wider, uniformly, as skeletons of other definitions and
            unusual people do: hips, spine, neck, head and shoulders by 30 to 60 %, limbs by 15 to 25 %.
        offset_spread: Relative spread of the distances from H36M-17's joints to COCO-17's keypoints, whose mean is
            always the recorded body's: how detectors' ideas of a joint differ.
        mean_lengths: Metres by bone type; missing types take :data:`MEAN_BONE_LENGTHS`.
    """

    bone_spread: float = 0.04
    body_spread: float = 0.05
    distribution: str = 'uniform'
    own_share: float = 0.0
    wide_share: float = 0.0
    offset_spread: float = 0.0
    mean_lengths: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        check_fraction('bone_spread', self.bone_spread, 0.5)
        check_fraction('body_spread', self.body_spread, 0.5)
        check_fraction('own_share', self.own_share)
        check_fraction('wide_share', self.wide_share)
        check_fraction('offset_spread', self.offset_spread, 0.5)
        if self.distribution not in ('uniform', 'normal'):
            raise ValueError(f"distribution takes 'uniform' or 'normal', got {self.distribution!r}")
        unknown = set(self.mean_lengths) - set(MEAN_BONE_LENGTHS)
        if unknown or any(v <= 0 for v in self.mean_lengths.values()):
            raise ValueError(
                f'mean_lengths takes positive metres for {list(MEAN_BONE_LENGTHS)}, got {self.mean_lengths}'
            )

    def sample(self, num: int, generator: Generator, own: Tensor | None = None) -> Tensor:
        """Draw bone lengths.

        Args:
            num: Number of bodies N.
            generator: Source of randomness.
            own: ``(N, 16)`` or ``(N, 33)`` metres, the recorded bodies' lengths. Default: not known, which
                ``own_share`` must not ask for.

        Returns:
            ``(N, 16)`` metres, in the order of H36M-17's joints 1 … 16; or ``(N, 33)``, with the distances from these
            to COCO-17's keypoints.

        Raises:
            ValueError: If ``own`` is needed and absent.
        """
        if own is None and self.own_share > 0:
            raise ValueError(f'own_share: {self.own_share} of the bodies keep their own lengths, but none are given')
        means = {**MEAN_BONE_LENGTHS, **self.mean_lengths}
        mean = torch.tensor([means[t] for t in MEAN_BONE_LENGTHS], device=generator.device)
        body = 1 + self.body_spread * self._unit((num, 1), generator)
        bone = 1 + self.bone_spread * self._unit((num, len(mean)), generator)
        if self.wide_share > 0:
            wide = torch.rand((num, 1), generator=generator, device=generator.device) < self.wide_share
            spread = mean.new_tensor(_WIDE_SPREADS)
            bone = torch.where(wide, 1 + spread * uniform(bone.shape, (-1.0, 1.0), generator), bone)
        factor = (body * bone).clamp(min=0.3)[:, _TYPE_INDEX]
        lengths = mean[_TYPE_INDEX].expand(num, -1)
        if own is None:
            return lengths * factor
        num_bones = len(_TYPE_INDEX)
        if self.own_share > 0:
            keeps = torch.rand((num, 1), generator=generator, device=generator.device) < self.own_share
            lengths = torch.where(keeps, own[:, :num_bones], lengths)
        lengths = lengths * factor
        if own.shape[1] == num_bones:
            return lengths
        offset = 1 + self.offset_spread * self._unit((num, 9), generator)[:, _OFFSET_TYPE_INDEX]
        return torch.cat([lengths, own[:, num_bones:] * body * offset], 1)

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
        wrong_focal_prob: Share of the pairs whose camera, as the pair has it, is told wrongly.
        wrong_focal: Range of the factor, drawn log-uniformly, between the focal length told and the true one.
        told_fov_deg: Horizontal field of view that those pairs' cameras are told to have instead, whatever is true.
    """

    image_size: tuple[int, int] = (1920, 1080)
    focal: tuple[float, float] = (600.0, 3000.0)
    pitch_deg: tuple[float, float] = (-17.0, 40.0)
    roll_deg: tuple[float, float] = (-5.0, 5.0)
    body_fraction: tuple[float, float] = (0.2, 0.9)
    distance: tuple[float, float] = (2.0, 20.0)
    off_centre: float = 1.0
    wrong_focal_prob: float = 0.0
    wrong_focal: tuple[float, float] = (1.0, 1.0)
    told_fov_deg: float | None = None

    def __post_init__(self):
        for name in ('image_size', 'focal', 'body_fraction', 'distance', 'wrong_focal'):
            value = getattr(self, name)
            check_range(name, tuple(sorted(value)) if name == 'image_size' else value, positive=True)
        check_range('pitch_deg', self.pitch_deg)
        check_range('roll_deg', self.roll_deg)
        check_fraction('off_centre', self.off_centre)
        check_fraction('wrong_focal_prob', self.wrong_focal_prob)
        if self.told_fov_deg is not None and not 0 < self.told_fov_deg < 180:
            raise ValueError(f'told_fov_deg takes degrees between 0 and 180, got {self.told_fov_deg}')


@dataclass(frozen=True)
class PairBatch:
    """A batch of 2D–3D pairs.

    Attributes:
        keypoints: ``(N, 17, 2)`` pixels, as a detector would give them.
        keypoints_visible: ``(N, 17)`` scores in [0, 1]: 1 where exact, 0 where not detected.
        pose_cam: ``(N, J, 3)`` metres, camera frame; J = 17 (H36M-17), or 34 with COCO-17 where that is the input.
        camera: Batch of N cameras, as they are told.
    """

    keypoints: Tensor
    keypoints_visible: Tensor
    pose_cam: Tensor
    camera: Camera


def bone_directions(joints: Tensor) -> Tensor:
    """Unit bone directions.

    Args:
        joints: ``(N, J, 3)`` in any unit, of H36M-17 (J = 17) or H36M-17 and COCO-17 (J = 34).

    Returns:
        ``(N, J - 1, 3)``, in the order of joints 1 … J - 1.

    Raises:
        ValueError: If a bone has no length; names the pose and the joint.
    """
    return split_bones(joints)[0]


def split_bones(joints: Tensor) -> tuple[Tensor, Tensor]:
    """Unit directions ``(N, J - 1, 3)`` and lengths ``(N, J - 1)`` of the bones; see :func:`bone_directions`."""
    skeleton = body_skeleton(joints.shape[1])
    bones = joints[:, 1:] - joints[:, list(skeleton.parents[1:])]
    length = bones.norm(dim=-1, keepdim=True)
    if not bool((length > 1e-6).all()):
        pose, bone, _ = (~(length > 1e-6)).nonzero()[0].tolist()
        raise ValueError(f'pose {pose}: the bone to {skeleton.joint_names[bone + 1]} has no length')
    return bones / length, length[..., 0]


def assemble_pose(directions: Tensor, lengths: Tensor) -> Tensor:
    """Root-relative joints from bone directions and lengths.

    Args:
        directions: ``(N, J - 1, 3)`` unit vectors.
        lengths: ``(N, J - 1)`` metres.

    Returns:
        ``(N, J, 3)`` metres, pelvis at 0.
    """
    path = body_skeleton(directions.shape[1] + 1).path_matrix[:, 1:].to(directions)
    return path @ (directions * lengths[..., None])


def mirror_pose(pose: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror chosen poses in x and swap their left and right joints.

    Args:
        pose: ``(N, J, 3)``.
        mirrored: ``(N,)`` bool.

    Returns:
        ``(N, J, 3)``.
    """
    flipped = pose[:, list(body_skeleton(pose.shape[1]).flip_indices)] * pose.new_tensor([-1.0, 1.0, 1.0])
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
        pose: ``(N, J, 3)`` metres, root-relative, y-up world.
        distribution: What to draw cameras from.
        generator: Source of randomness, on the pose's device.

    Returns:
        ``(N, J, 3)`` metres in the camera frame, and the batch of cameras.
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


def tell_camera(camera: Camera, distribution: CameraDistribution, generator: Generator) -> Camera:
    """The cameras as they are told: some with the wrong focal length, as ``distribution`` says.

    Args:
        camera: Batch of N true cameras.
        distribution: How wrong.
        generator: Source of randomness.

    Returns:
        Batch of N cameras.
    """
    if distribution.wrong_focal_prob == 0:
        return camera
    num = len(camera.fx)
    wrong = torch.rand(num, generator=generator, device=generator.device) < distribution.wrong_focal_prob
    if distribution.told_fov_deg is not None:
        focal = camera.width / 2 / math.tan(math.radians(distribution.told_fov_deg) / 2)
    else:
        focal = camera.fx * uniform(num, [math.log(v) for v in distribution.wrong_focal], generator).exp()
    return replace(camera, fx=torch.where(wrong, focal, camera.fx), fy=torch.where(wrong, focal, camera.fy))


def make_pairs(
    directions: Tensor,
    generator: Generator,
    proportions: Proportions | None = None,
    cameras: CameraDistribution | None = None,
    noise: DetectorNoise | None = None,
    augmentation: PoseAugmentation | None = None,
    mirror_prob: float = 0.5,
    own_lengths: Tensor | None = None,
    keypoint_set: str = 'h36m',
) -> PairBatch:
    """Make one 2D–3D pair from each pose.

    Args:
        directions: ``(N, J - 1, 3)`` unit bone directions, y-up world, as :func:`bone_directions` gives them; J = 17,
            or 34 for the COCO keypoint sets.
        generator: Source of randomness, on the same device.
        proportions: Bone lengths. Default: Human3.6M means ± 4 % a bone, ± 5 % a body.
        cameras: Cameras. Default: focal 600–3000 px at 1920×1080, pitch −17…40 degrees.
        noise: Detector errors. Default: none.
        augmentation: New poses; limbs are mixed among the batch's. Default: none.
        mirror_prob: Probability that a pose is mirrored.
        own_lengths: ``(N, J - 1)`` metres, the recorded bodies' bone lengths; needed where J = 34.
        keypoint_set: What is detected: ``'h36m'``; ``'coco'``, whose 3D is H36M-17 and COCO-17 together; or
            ``'coco_as_h36m'``, COCO keypoints made into H36M-17 by averaging, as MMPose does.

    Returns:
        :class:`PairBatch` of N pairs.

    Raises:
        ValueError: If the poses have not the joints that ``keypoint_set`` takes, or own lengths are needed and absent.
    """
    num, num_bones = directions.shape[:2]
    if num_bones > len(_TYPE_INDEX) and own_lengths is None:
        raise ValueError(f'own_lengths is needed for poses of {num_bones + 1} joints')
    if num_bones == len(_TYPE_INDEX) and keypoint_set != 'h36m':
        raise ValueError(f'keypoint_set={keypoint_set!r} takes poses of 34 joints, got {num_bones + 1}')
    if augmentation is not None:
        # Frames were drawn at random, so that the next pair's is a random other.
        directions = augment_poses(directions, directions.roll(1, 0), augmentation, generator)
    lengths = (proportions or Proportions()).sample(num, generator, own_lengths)
    pose = assemble_pose(directions, lengths)
    mirrored = torch.rand(num, generator=generator, device=generator.device) < mirror_prob
    cameras = cameras or CameraDistribution()
    pose_cam, camera = place_in_view(mirror_pose(pose, mirrored), cameras, generator)
    is_coco = keypoint_set != 'h36m'
    exact = camera.project(pose_cam[:, H36M_17.num_keypoints :] if is_coco else pose_cam[:, : H36M_17.num_keypoints])
    skeleton = COCO_17 if is_coco else H36M_17
    keypoints, scores = imitate_detector(exact, noise or DetectorNoise(), generator, skeleton)
    if keypoint_set == 'coco_as_h36m':
        keypoints, scores = coco_as_h36m(keypoints, scores)
    if keypoint_set != 'coco':
        pose_cam = pose_cam[:, : H36M_17.num_keypoints]
    return PairBatch(keypoints, scores, pose_cam, tell_camera(camera, cameras, generator))


def coco_as_h36m(keypoints: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """COCO-17 keypoints as H36M-17 ones by averaging, as MMPose converts them.

    Args:
        keypoints: ``(N, 17, 2)`` pixels.
        scores: ``(N, 17)``.

    Returns:
        ``(N, 17, 2)`` pixels and ``(N, 17)`` scores: of two that are averaged the smaller one; 0 without a source.
    """
    return mapping_matrix('coco')[0].to(keypoints) @ keypoints, map_scores('coco', scores)
