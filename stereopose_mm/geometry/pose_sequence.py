# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""People through the frames of a video, or on photographs: the one form in which clips are drawn and exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from .camera import CAMERA_FIELDS, Camera
from .skeletons import get_skeleton

# Without a ground: z up is the camera's up, y is forward, and the origin is the camera.
_CAMERA_UPRIGHT = ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0))
_FRAME_ARRAYS = ('frame_numbers', 'frame_times', 'frame_names')


@dataclass(frozen=True, eq=False)
class PoseSequence:
    """P poses on F frames, as numpy arrays; poses in the order of their frames.

    Attributes:
        skeleton: Of the 2D keypoints: ``'coco'``, ``'h36m'`` or ``'mpi_inf_3dhp'``, of 17 each.
        frame_numbers: ``(F,)`` int64, position of each frame in its video or folder, from 0, ascending.
        frame_times: ``(F,)`` float64 seconds from the start; photographs count one a second.
        frame_names: ``(F,)`` names of photographs; empty for frames of a video.
        cameras: Batch of F cameras (float64).
        frame: ``(P,)`` int64, row of a pose's frame, ascending.
        track: ``(P,)`` int64, the same number for one person on several frames.
        keypoints_2d: ``(P, 17, 2)`` float32 pixels.
        scores_2d: ``(P, 17)`` float32.
        bboxes: ``(P, 4)`` float32 pixels: left, top, right, bottom.
        bbox_scores: ``(P,)`` float32.
        keypoints_cam: ``(P, 17, 3)`` float32 metres, H36M-17 in the camera frame; NaN where not ``valid``.
        input_keypoints_cam: ``(P, 17, 3)`` float32 metres, the 2D keypoints' own joints in the camera frame, those
            ``used`` on their rays.
        uncertainty: ``(P, 17)`` float32 metres, standard deviation of depth relative to the root's; NaN where unknown.
        reprojection_error: ``(P,)`` float32 pixels, mean over the used keypoints.
        search_residual: ``(P,)`` float32 metres.
        used: ``(P, 17)`` bool, keypoints put on their rays.
        valid: ``(P,)`` bool, whether the pose could be lifted.
        world_rotation: ``(3, 3)`` float64 and
        world_translation: ``(3,)`` float64 metres: world = rotation · camera + translation, z up. The camera must not
            have moved. Default: the camera's axes (x, z, −y), the origin at the camera.
        grounded: Whether the world's z = 0 is the ground.
    """

    skeleton: str
    frame_numbers: np.ndarray
    frame_times: np.ndarray
    frame_names: np.ndarray
    cameras: Camera
    frame: np.ndarray
    track: np.ndarray
    keypoints_2d: np.ndarray
    scores_2d: np.ndarray
    bboxes: np.ndarray
    bbox_scores: np.ndarray
    keypoints_cam: np.ndarray
    input_keypoints_cam: np.ndarray
    uncertainty: np.ndarray
    reprojection_error: np.ndarray
    search_residual: np.ndarray
    used: np.ndarray
    valid: np.ndarray
    world_rotation: np.ndarray = None
    world_translation: np.ndarray = None
    grounded: bool = False

    def __post_init__(self) -> None:
        if self.world_rotation is None:
            object.__setattr__(self, 'world_rotation', np.array(_CAMERA_UPRIGHT))
            object.__setattr__(self, 'world_translation', np.zeros(3))
        get_skeleton(self.skeleton)
        for name in POSE_ARRAYS:
            if len(getattr(self, name)) != len(self.frame):
                raise ValueError(f'{name}: {len(getattr(self, name))} rows for {len(self.frame)} poses')
        for name in _FRAME_ARRAYS:
            if len(getattr(self, name)) != self.cameras.batch_size:
                raise ValueError(f'{name}: {len(getattr(self, name))} rows for {self.cameras.batch_size} cameras')

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def num_frames(self) -> int:
        """F."""
        return len(self.frame_numbers)

    @property
    def tracks(self) -> np.ndarray:
        """``(T,)`` numbers of the people, ascending."""
        return np.unique(self.track)

    @property
    def frame_rate(self) -> float:
        """Frames a second, from the median step between frames; 1 for fewer than two frames."""
        steps = np.diff(self.frame_times)
        return float(1 / np.median(steps)) if len(steps) and np.median(steps) > 0 else 1.0

    @property
    def keypoints_world(self) -> np.ndarray:
        """``(P, 17, 3)`` float32 metres, H36M-17, z up; see ``world_rotation``."""
        return (self.keypoints_cam @ self.world_rotation.T + self.world_translation).astype(np.float32)

    def rows_of_frame(self, index: int) -> slice:
        """Poses of the frame in row ``index``."""
        return slice(*np.searchsorted(self.frame, [index, index + 1]))

    def select(self, rows: np.ndarray | slice) -> PoseSequence:
        """Some of the poses, on all frames.

        Args:
            rows: Mask ``(P,)``, ascending indices or a slice.
        """
        return replace(self, **{name: getattr(self, name)[rows] for name in POSE_ARRAYS})

    def select_frames(self, frames: slice) -> PoseSequence:
        """A range of frames with their poses.

        Args:
            frames: A slice without a step.
        """
        start, stop, step = frames.indices(self.num_frames)
        if step != 1:
            raise ValueError(f'frames: takes a slice without a step, got {frames}')
        rows = slice(*np.searchsorted(self.frame, [start, stop]))
        part = {name: getattr(self, name)[start:stop] for name in _FRAME_ARRAYS}
        cameras = self.cameras[start:stop]
        return replace(self.select(rows), **part, cameras=cameras, frame=self.frame[rows] - start)

    @classmethod
    def concatenate(cls, parts: Sequence[PoseSequence]) -> PoseSequence:
        """Consecutive parts of one clip; the world is the first one's.

        Raises:
            ValueError: If there are none, or their skeletons differ.
        """
        if not parts or len({part.skeleton for part in parts}) > 1:
            raise ValueError(f'parts: takes parts of one skeleton, got {[part.skeleton for part in parts]}')
        starts = np.cumsum([0] + [part.num_frames for part in parts])
        arrays = {name: np.concatenate([getattr(p, name) for p in parts]) for name in (*_FRAME_ARRAYS, *POSE_ARRAYS)}
        arrays['frame'] = np.concatenate([p.frame + start for p, start in zip(parts, starts, strict=False)])
        return replace(parts[0], **arrays, cameras=Camera.stack([part.cameras for part in parts]))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All of it as arrays for an NPZ file; :meth:`from_arrays` reads them."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != 'cameras'}
        arrays = {name: np.asarray(value) for name, value in values.items()}
        numbers = [getattr(self.cameras, name).double().numpy() for name in CAMERA_FIELDS]
        arrays |= {'cameras': np.stack(numbers, -1), 'camera_fields': np.array(CAMERA_FIELDS)}
        if self.cameras.distortion is not None:
            arrays['distortion'] = self.cameras.distortion.double().numpy()
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> PoseSequence:
        """Sequence of the arrays that :meth:`to_arrays` returned.

        Raises:
            ValueError: If one is missing.
        """
        names = [f.name for f in fields(cls)]
        missing = [name for name in names if name not in arrays]
        if missing:
            raise ValueError(f'takes the arrays {", ".join(names)}; has no {", ".join(missing)}')
        values = {name: np.asarray(arrays[name]) for name in names}
        lens = arrays['distortion'] if 'distortion' in arrays else None
        columns = torch.as_tensor(values['cameras'], dtype=torch.float64).unbind(-1)
        values['cameras'] = Camera(*columns, None if lens is None else torch.as_tensor(lens))
        return cls(**values | {'skeleton': str(values['skeleton']), 'grounded': bool(values['grounded'])})


# The arrays with one row a pose.
POSE_ARRAYS = (
    'frame', 'track', 'keypoints_2d', 'scores_2d', 'bboxes', 'bbox_scores', 'keypoints_cam', 'input_keypoints_cam',
    'uncertainty', 'reprojection_error', 'search_residual', 'used', 'valid',
)  # fmt: skip
