# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from mmpose.codecs.base import BaseKeypointCodec
from mmpose.registry import KEYPOINT_CODECS
from torch import Tensor

from ..compat.keypoint_conversion import coco_of_converted
from ..geometry import (
    COCO_17,
    H36M_17,
    H36M_COCO,
    MIN_SCALE,
    Camera,
    right_view,
    rotate_points,
    to_virtual_view,
)

# Without a root among the keypoints the view is centred between the first of these pairs that is seen.
_COCO_CENTRES = tuple((COCO_17.index(f'left_{part}'), COCO_17.index(f'right_{part}')) for part in ('hip', 'shoulder'))
# Keypoints of a pose that lacks some are a detector's, however they are scored: the network has seen no exact ones
# there.
_MOST_INCOMPLETE = 0.85
# Mean of log(scale) for a standing body 2 to 20 m away; centres the scale channel.
_MEAN_LOG_SCALE = math.log(0.09)


@KEYPOINT_CODECS.register_module()
class StereoPoseLifting(BaseKeypointCodec):
    r"""Left-view input, right-view target and root-relative 3D target of the stereo lifter.

    Source: Wang et al., "Generalizing Monocular 3D Human Pose Estimation in the Wild", ICCVW 2019.

    Note:
        - instance number: N (1 for a sample of a dataset, any number for a batch)
        - keypoint number: K
        - joint number: J (K, or 34 for COCO-17: the joints of H36M-17, then COCO's)
        - input channels: C

    Args:
        num_keypoints: K, of the H36M-17 skeleton or another whose root is a keypoint.
        root_index: Index of the root (pelvis) in the 3D pose.
        keypoint_set: What the 2D keypoints are: ``'h36m'`` (or any set whose root is a keypoint), or ``'coco'``:
            COCO-17, which has no root. Takes the ``'ray'`` view.
        view: How 2D is normalised.

            - ``'ray'``: undistorted rays turned so that the root's is the optical axis, divided by their spread.
              The input does not depend on where in the image or with which lens a pose is seen. C = 3K + 1: K
              x and y pairs, K scores (0 is missing; where any is, at most 0.85), the logarithm of the spread (how large
              the body is seen). COCO's view is centred between the hips; between the shoulders where no hip is seen,
              else amid all keypoints.
            - ``'pixel'``: the paper's: pixels relative to the root, standardised per coordinate. C = 2K.
            - ``'screen'``: VideoPose3D's screen coordinates, width to [-1, 1]. C = 2K. For comparison.
        baseline: How far right the second camera stands: a fraction of the root's distance for ``'ray'`` (whose
            picture has no scale), metres for the others.
        statistics: What ``'pixel'`` standardises with, from ``tools/compute_statistics.py``: its JSON file, or a dict
            of ``keypoints_mean``, ``keypoints_std``, ``right_mean``, ``right_std`` (``(K, 2)`` pixels relative to the
            view's root) and ``target_mean``, ``target_std`` (``(K, 3)`` metres relative to the root).

    Raises:
        ValueError: For an unknown view or keypoint set, a zero baseline, or statistics missing or of the wrong shape.
    """

    auxiliary_encode_keys = {'lifting_target', 'lifting_target_visible', 'camera_param'}

    instance_mapping_table = dict(
        lifting_target='lifting_target',
        lifting_target_visible='lifting_target_visible',
    )
    label_mapping_table = dict(
        lifting_target_label='lifting_target_label',
        lifting_target_weight='lifting_target_weight',
        right_view_label='right_view_label',
        right_view_weight='right_view_weight',
        target_root='target_root',
        rays='rays',
        view_rotation='view_rotation',
        focal='focal',
        search_weight='search_weight',
    )

    def __init__(
        self,
        num_keypoints: int = 17,
        root_index: int = 0,
        view: str = 'ray',
        baseline: float = 0.5,
        statistics: dict | str | None = None,
        keypoint_set: str = 'h36m',
    ):
        super().__init__()
        if keypoint_set not in ('h36m', 'coco'):
            raise ValueError(f"keypoint_set takes 'h36m' or 'coco', got {keypoint_set!r}")
        if keypoint_set == 'coco' and (view != 'ray' or num_keypoints != COCO_17.num_keypoints or root_index != 0):
            raise ValueError(
                f"keypoint_set='coco' takes view='ray', num_keypoints=17 and root_index=0, "
                f'got {view!r}, {num_keypoints} and {root_index}'
            )
        if view not in ('ray', 'pixel', 'screen'):
            raise ValueError(f"view takes 'ray', 'pixel' or 'screen', got {view!r}")
        if not (math.isfinite(baseline) and baseline != 0):
            raise ValueError(f'baseline takes a finite number other than 0, got {baseline}')
        if not 0 <= root_index < num_keypoints:
            raise ValueError(f'root_index takes 0 … {num_keypoints - 1}, got {root_index}')
        self.num_keypoints, self.root_index, self.view, self.baseline = num_keypoints, root_index, view, baseline
        self.keypoint_set = keypoint_set
        self.num_joints = num_keypoints if keypoint_set == 'h36m' else H36M_COCO.num_keypoints
        self.statistics = self._load_statistics(statistics) if view == 'pixel' else {}

    def _load_statistics(self, statistics: dict | str | None) -> dict[str, tuple[Tensor, Tensor]]:
        """``{'keypoints' | 'right' | 'target': (mean, std)}`` from a JSON file or a dict."""
        if isinstance(statistics, str):
            try:
                statistics = json.loads(Path(statistics).read_text(encoding='utf-8'))
            except (OSError, ValueError) as error:
                raise ValueError(f'statistics: cannot read {statistics}: {error}') from error
        loaded = {}
        for name, dims in dict(keypoints=2, right=2, target=3).items():
            shape = (self.num_keypoints, dims)
            pair = []
            for key in (f'{name}_mean', f'{name}_std'):
                value = (statistics or {}).get(key)
                if value is None or np.shape(value) != shape or not np.isfinite(value).all():
                    got = 'nothing' if value is None else f'shape {np.shape(value)}'
                    raise ValueError(
                        f"statistics: view='pixel' needs finite {key} of shape {shape}, got {got}; "
                        'tools/compute_statistics.py makes them'
                    )
                pair.append(torch.as_tensor(np.asarray(value, np.float32)))
            # The root is always at 0: its deviation is 0 and it stays at 0.
            loaded[name] = (pair[0], torch.where(pair[1] > 0, pair[1], 1.0))
        return loaded

    @property
    def input_channels(self) -> int:
        """C, the number of values that stand for the left view."""
        return 3 * self.num_keypoints + 1 if self.view == 'ray' else 2 * self.num_keypoints

    def encode_batch(
        self,
        keypoints: Tensor,
        keypoints_visible: Tensor | None,
        camera: Camera,
        pose_cam: Tensor | None = None,
        target_visible: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Encode N instances at once.

        Args:
            keypoints: ``(N, K, 2)`` pixels.
            keypoints_visible: ``(N, K)`` scores or visibilities in [0, 1]; 0 is missing. Default: all 1, which is
                exact.
            camera: One camera, or a batch of N.
            pose_cam: ``(N, J, 3)`` metres in the camera frame. Default: no targets.
            target_visible: ``(N, J)``, 1 where ``pose_cam`` is known; a pose without its root is not known at all.
                Default: all 1.

        Returns:
            ``inputs`` ``(N, C)``; ``rays`` ``(N, K, 2)`` at z = 1; ``view_rotation`` ``(N, 3, 3)`` from the camera to
            the frame of the 3D target; ``focal`` ``(N, 2)`` pixels; ``search_weight`` ``(N, K)``; and with
            ``pose_cam``: ``lifting_target_label`` ``(N, J, 3)`` metres (standardised in the pixel view),
            ``lifting_target_weight`` ``(N, J)``, ``right_view_label`` ``(N, K, 2)``, ``right_view_weight``
            ``(N, K)``, ``target_root`` ``(N, 3)`` metres.
        """
        if keypoints_visible is None:
            keypoints_visible = torch.ones_like(keypoints[..., 0])
        rays = camera.unproject(keypoints)
        focal = torch.stack([torch.as_tensor(f).to(rays) for f in (camera.fx, camera.fy)], -1)
        encoded = dict(rays=rays, focal=focal.expand(len(rays), 2), search_weight=keypoints_visible)
        seen = (keypoints_visible > 0).to(rays.dtype)
        if self.keypoint_set == 'h36m':
            # The root has to be seen: everything is relative to it.
            seen[:, self.root_index] = 1.0
        if self.view == 'ray':
            centre = None if self.keypoint_set == 'h36m' else _view_centre(rays, seen)
            left, view = to_virtual_view(rays, seen, self.root_index, centre)
            left = torch.where(seen[..., None] > 0, left, 0.0)
            complete = (keypoints_visible > 0).all(1, keepdim=True)
            most = torch.where(complete, 1.0, _MOST_INCOMPLETE).to(rays.dtype)
            scores = torch.minimum(keypoints_visible.to(rays.dtype), most)
            log_scale = view.scale.clamp(min=MIN_SCALE).log() - _MEAN_LOG_SCALE
            encoded['inputs'] = torch.cat([left.flatten(1), scores, log_scale[:, None]], -1)
            encoded['view_rotation'] = view.rotation
        else:
            view = None
            left = self._normalise_pixels(keypoints, camera, 'keypoints') * seen[..., None]
            encoded['inputs'] = left.flatten(1)
            encoded['view_rotation'] = torch.eye(3).to(rays).expand(len(rays), 3, 3)
        if pose_cam is not None:
            encoded.update(self._encode_targets(pose_cam, target_visible, camera, view, encoded['view_rotation']))
        return encoded

    def _encode_targets(self, pose_cam, target_visible, camera, view, rotation) -> dict[str, Tensor]:
        """Targets of :meth:`encode_batch`; a pose that is not before the camera has no right view."""
        known = torch.ones_like(pose_cam[..., 0]) if target_visible is None else (target_visible > 0.5).to(pose_cam)
        # Without its root nothing of a pose is known: all of it is relative to the root.
        weight = known * known[:, self.root_index, None]
        root = torch.where(weight[:, self.root_index, None] > 0, pose_cam[:, self.root_index], 0)
        # Joints that are not known stand at the root, where they disturb nothing.
        pose_cam = torch.where(weight[..., None] > 0, pose_cam, root[:, None])
        relative = pose_cam - root[:, None]
        before_camera = (pose_cam[..., 2] > 0).all(1)
        safe_pose = torch.where(before_camera[:, None, None], pose_cam, torch.ones_like(pose_cam))
        if view is not None:
            turned = rotate_points(safe_pose, rotation)
            turned = torch.where(before_camera[:, None, None], turned, torch.ones_like(turned))
            rays = right_view(turned, self.baseline * turned[:, self.root_index, 2])
            rays = rays - rays[:, self.root_index : self.root_index + 1]
            # The joints that are keypoints: H36M-17's are all, COCO-17's come last.
            rays = rays[:, -self.num_keypoints :]
            right = rays / view.scale.clamp(min=MIN_SCALE)[:, None, None]
            # Without a scale the label is out of any proportion.
            has_right_view = before_camera & (view.scale > MIN_SCALE)
            target = rotate_points(relative, rotation)
        else:
            shift = safe_pose.new_tensor([self.baseline, 0.0, 0.0])
            # Undistorted, as the construction knows no lens.
            right = replace(camera, distortion=None).project(safe_pose - shift)
            right = self._normalise_pixels(right, camera, 'right')
            has_right_view = before_camera
            target = relative
            if self.view == 'pixel':
                mean, std = (s.to(target) for s in self.statistics['target'])
                target = (target - mean) / std
        return dict(
            lifting_target_label=target,
            lifting_target_weight=weight,
            right_view_label=right,
            right_view_weight=weight[:, -self.num_keypoints :] * has_right_view[:, None],
            target_root=root,
        )

    def _normalise_pixels(self, keypoints: Tensor, camera: Camera, which: str) -> Tensor:
        if self.view == 'screen':
            width, height = (torch.as_tensor(s).to(keypoints).reshape(-1, 1) for s in (camera.width, camera.height))
            return torch.stack([(2 * keypoints[..., 0] - width) / width, (2 * keypoints[..., 1] - height) / width], -1)
        mean, std = (s.to(keypoints) for s in self.statistics[which])
        return (keypoints - keypoints[:, self.root_index : self.root_index + 1] - mean) / std

    def decode_batch(self, encoded: Tensor, view_rotation: Tensor) -> Tensor:
        """Network output to root-relative metres in the real camera's frame.

        Args:
            encoded: ``(N, J, 3)``.
            view_rotation: ``(N, 3, 3)`` as :meth:`encode_batch` gave it.

        Returns:
            ``(N, J, 3)`` metres, root at 0.
        """
        if self.view == 'pixel':
            mean, std = (s.to(encoded) for s in self.statistics['target'])
            encoded = encoded * std + mean
        relative = encoded - encoded[:, self.root_index : self.root_index + 1]
        return rotate_points(relative, view_rotation.mT) if self.view == 'ray' else relative

    def encode(
        self,
        keypoints: np.ndarray,
        keypoints_visible: np.ndarray | None = None,
        lifting_target: np.ndarray | None = None,
        lifting_target_visible: np.ndarray | None = None,
        camera_param: dict | None = None,
    ) -> dict:
        """Encode one sample, as MMPose's ``GenerateTarget`` calls it.

        Args:
            keypoints: ``(1, K, 2)`` pixels.
            keypoints_visible: ``(1, K)``.
            lifting_target: ``(1, J, 3)`` metres, camera frame. All zeros (MMPose's inference) is no target, and may
                have K joints.
            lifting_target_visible: As many, ``(1, J)`` or ``(1, J, 1)``.
            camera_param: MMPose's camera dict, see :meth:`Camera.from_mmpose`.

        Returns:
            dict of numpy arrays: ``keypoint_labels`` ``(C, 1)`` and the fields of :meth:`encode_batch`.

        Raises:
            ValueError: If the keypoints are not ``(1, K, 2)`` or ``camera_param`` is absent.
        """
        if keypoints.shape != (1, self.num_keypoints, 2):
            raise ValueError(f'keypoints takes (1, {self.num_keypoints}, 2), got {keypoints.shape}')
        if not camera_param:
            raise ValueError('camera_param is needed: at least the image size, dict(w=..., h=...)')

        if self.keypoint_set == 'coco':
            seen = np.ones(keypoints.shape[:2], np.float32) if keypoints_visible is None else keypoints_visible
            keypoints, keypoints_visible = coco_of_converted(keypoints, seen)

        def tensor(array, shape):
            return None if array is None else torch.as_tensor(np.asarray(array, np.float32)).reshape(shape)

        num, num_joints = (1, self.num_keypoints), (1, self.num_joints)
        if lifting_target is None or (np.size(lifting_target) != 3 * self.num_joints and not np.any(lifting_target)):
            lifting_target, lifting_target_visible = np.zeros((*num_joints, 3), np.float32), None
        encoded = self.encode_batch(
            tensor(keypoints, (*num, 2)),
            tensor(keypoints_visible, num),
            Camera.from_mmpose(camera_param),
            tensor(lifting_target, (*num_joints, 3)),
            tensor(lifting_target_visible, num_joints),
        )
        keypoint_labels = encoded.pop('inputs').T
        if self.keypoint_set == 'coco':
            # Poses are judged by the joints of H36M-17, whatever else they were trained with.
            encoded['lifting_target'] = tensor(lifting_target, (*num_joints, 3))[:, : H36M_17.num_keypoints]
            encoded['lifting_target_visible'] = encoded['lifting_target_weight'][:, : H36M_17.num_keypoints]
        return dict(
            {k: v.numpy() for k, v in encoded.items()},
            keypoint_labels=keypoint_labels.numpy(),
            keypoints_visible=keypoints_visible,
        )

    def decode(
        self, encoded: np.ndarray, target_root: np.ndarray | None = None, view_rotation: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Decode network output, as MMPose's heads call it.

        Args:
            encoded: ``(J, 3)`` or ``(N, J, 3)``.
            target_root: ``(3,)`` or ``(N, 3)`` metres, added to the result where given.
            view_rotation: ``(3, 3)`` or ``(N, 3, 3)``; the ``'ray'`` view needs it.

        Returns:
            ``(N, J, 3)`` metres in the camera frame, and ``(N, J)`` scores, all 1.

        Raises:
            ValueError: If the ``'ray'`` view is decoded without its rotation.
        """
        batch = torch.as_tensor(np.asarray(encoded, np.float32)).reshape(-1, self.num_joints, 3)
        if view_rotation is None:
            if self.view == 'ray':
                raise ValueError("view_rotation is needed to decode the 'ray' view")
            view_rotation = np.eye(3, dtype=np.float32)
        rotation = torch.as_tensor(np.asarray(view_rotation, np.float32)).reshape(-1, 3, 3)
        keypoints = self.decode_batch(batch, rotation).numpy()
        if target_root is not None and np.size(target_root):
            keypoints = keypoints + np.asarray(target_root, np.float32).reshape(-1, 1, 3)
        return keypoints, np.ones(keypoints.shape[:-1], dtype=np.float32)


def _view_centre(rays: Tensor, seen: Tensor) -> Tensor:
    """``(N, 2)`` ray to centre COCO's view on; the middle of two rays is taken as that of their unit vectors."""
    directions = torch.cat([rays, torch.ones_like(rays[..., :1])], -1)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    weight = torch.where(seen.any(1, keepdim=True), seen, 1.0)
    for pair in reversed(_COCO_CENTRES):
        of_pair = torch.zeros_like(seen)
        of_pair[:, pair] = seen[:, pair]
        weight = torch.where(of_pair.any(1, keepdim=True), of_pair, weight)
    centre = (directions * weight[..., None]).sum(1)
    return centre[:, :2] / centre[:, 2:]
