# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Data sets whose 2D-3D pairs are read from files: Human3.6M, MPI-INF-3DHP, Wild-3D."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ..geometry import Camera
from ..geometry.skeletons import H36M_17, get_skeleton, to_h36m_mapping
from .lifting_dataset import LiftingBatch, LiftingDataset, to_tensor


@dataclass
class PoseRecords:
    """2D-3D pairs of N people as they are stored: arrays, so that millions fit and worker processes share them.

    Attributes:
        keypoints: ``(N, K, 2)`` pixels.
        keypoints_visible: ``(N, K)`` in [0, 1]; 0 is missing.
        pose_cam: ``(N, K, 3)`` metres in the camera frame.
        pose_visible: ``(N, K)``, above 0 where ``pose_cam`` is known.
        camera_params: MMPose's ``camera_param`` dicts of C cameras, a sequence.
        camera_index: ``(N,)``, which of them each person is seen by.
        img_path: ``(N,)`` text, path of the image.
        meta: Further meta information by key, ``(N, ...)`` each: ``subject``, ``action``, ``sequence``, ``frame``.
    """

    keypoints: np.ndarray
    keypoints_visible: np.ndarray
    pose_cam: np.ndarray
    pose_visible: np.ndarray
    camera_params: Sequence[dict]
    camera_index: np.ndarray
    img_path: np.ndarray
    meta: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keypoints)

    def __getitem__(self, index: np.ndarray | slice) -> PoseRecords:
        """Return the people that a mask, indices or a slice selects; of all cameras."""
        arrays = {key: value[index] for key, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, **arrays, meta={key: value[index] for key, value in self.meta.items()})

    def check(self, source: str) -> None:
        """Check that the arrays fit together and that what is marked as known is finite.

        Args:
            source: Name of the file, for messages.

        Raises:
            ValueError: If an array has another length or shape, a camera is absent, or ground truth is not finite;
                names the file, the array and the record.
        """
        num, joints = self.keypoints.shape[:2]
        shapes = dict(
            keypoints=(num, joints, 2),
            keypoints_visible=(num, joints),
            pose_cam=(num, joints, 3),
            pose_visible=(num, joints),
            camera_index=(num,),
            img_path=(num,),
        )
        for key, shape in shapes.items():
            if getattr(self, key).shape != shape:
                raise ValueError(f'{source}: {key} is {getattr(self, key).shape}; takes {shape}')
        for key, value in self.meta.items():
            if len(value) != num:
                raise ValueError(f'{source}: {key} has {len(value)} entries; takes one for each of {num} records')
        for key, visible in (('keypoints', self.keypoints_visible), ('pose_cam', self.pose_visible)):
            bad = ~np.isfinite(getattr(self, key)).all(-1) & (visible > 0)
            if bad.any():
                record, joint = np.argwhere(bad)[0]
                raise ValueError(
                    f'{source}: {key} of record {record} ({self.img_path[record]}), joint {joint}, is not finite'
                )
        if num and not (0 <= self.camera_index.min() and self.camera_index.max() < len(self.camera_params)):
            raise ValueError(
                f'{source}: camera_index names camera {self.camera_index.max()} of {len(self.camera_params)}'
            )

    def to_h36m(self, skeleton: str) -> PoseRecords:
        """Return the records with the joints of H36M-17.

        Args:
            skeleton: Keypoint set that they have, see :func:`.geometry.skeletons.get_skeleton`. A joint of H36M-17 that
                is an average of two is known where both are; one without a source is missing.
        """
        source = get_skeleton(skeleton)
        if self.keypoints.shape[1] != source.num_keypoints:
            raise ValueError(f'keypoints has {self.keypoints.shape[1]} joints; {skeleton} has {source.num_keypoints}')
        sources = to_h36m_mapping(skeleton)

        def average(values: np.ndarray, visible: np.ndarray) -> np.ndarray:
            # A loop over joints: all at once would take an (N, 17, K) array.
            averages = np.zeros((len(values), H36M_17.num_keypoints, values.shape[-1]), values.dtype)
            for joint, parts in sources.items():
                averages[:, joint] = np.where((visible[:, parts] > 0)[..., None], values[:, parts], 0).mean(1)
            return averages

        def visibility(visible: np.ndarray) -> np.ndarray:
            known = np.zeros((len(visible), H36M_17.num_keypoints), visible.dtype)
            for joint, parts in sources.items():
                known[:, joint] = visible[:, parts].min(1)
            return known

        return replace(
            self,
            keypoints=average(self.keypoints, self.keypoints_visible),
            keypoints_visible=visibility(self.keypoints_visible),
            pose_cam=average(self.pose_cam, self.pose_visible),
            pose_visible=visibility(self.pose_visible),
        )


class RecordedDataset(LiftingDataset):
    """Base of the data sets that read their pairs from files; see :class:`LiftingDataset`.

    A subclass has :meth:`_load`, ``img_prefix`` if it puts the folder of the images before their names, and
    ``keypoint_2d_src`` ``'detection'`` if the 2D is a detector's. Data samples have ``img_path``, ``target_img_path``
    (the name in the file, without that folder) and the records' ``meta``.

    Args:
        codec: Config of a codec with ``encode_batch``.
        pipeline: MMPose transforms.
        metainfo: Dataset information instead of the class's.
        indices: Take the first ``indices`` records, or those of a sequence of numbers. Default: all.
        test_mode: Kept for MMPose's configs; nothing here is random.
    """

    img_prefix = ''
    keypoint_2d_src = 'gt'

    def __init__(
        self,
        codec: dict | None = None,
        pipeline: Sequence | None = None,
        metainfo: dict | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
    ):
        super().__init__(codec, pipeline, metainfo)
        self.test_mode = test_mode
        records = self._load()
        if indices is not None:
            records = records[slice(indices) if isinstance(indices, int) else np.asarray(indices, dtype=np.int64)]
        if not len(records):
            raise ValueError(f'{type(self).__name__}: no record is left of {self.source}')
        self.records = records
        self._cameras = self._stack_cameras(records).to(dtype=torch.float32)

    @property
    def exact_keypoints(self) -> bool:
        """Whether the 2D keypoints are the annotated ones; see :class:`LiftingDataset`."""
        return self.keypoint_2d_src == 'gt'

    @property
    def source(self) -> str:
        """Name of the file that the records are from, for messages."""
        return getattr(self, 'ann_file', type(self).__name__)

    def _load(self) -> PoseRecords:
        """Read and check the records."""
        raise NotImplementedError

    def _stack_cameras(self, records: PoseRecords) -> Camera:
        """All C cameras of the records as a batch."""
        return Camera.stack([Camera.from_mmpose(camera) for camera in records.camera_params])

    def __len__(self) -> int:
        return len(self.records)

    def _batch(self, indices: Sequence[int]) -> LiftingBatch:
        records = self.records
        paths = records.img_path[indices].tolist()
        # A list, as MMPose's datasets of sequences have it.
        meta = dict(img_path=paths, target_img_path=[[path.removeprefix(self.img_prefix)] for path in paths])
        meta |= {key: _plain(value[indices]) for key, value in records.meta.items()}
        pose_visible = to_tensor(records.pose_visible, indices)
        pose_cam = to_tensor(records.pose_cam, indices)
        return LiftingBatch(
            keypoints=to_tensor(records.keypoints, indices).nan_to_num(0, 0, 0),
            keypoints_visible=to_tensor(records.keypoints_visible, indices),
            pose_cam=torch.where(pose_visible[..., None] > 0, pose_cam, 0),
            pose_visible=(pose_visible > 0).float(),
            camera=self._cameras[records.camera_index[indices]],
            meta=meta,
        )

    def _camera_params(self, indices: Sequence[int], batch: LiftingBatch) -> list[dict]:
        return [self.records.camera_params[camera] for camera in self.records.camera_index[indices]]


def drop_low_scores(scores: np.ndarray, min_score: float, root_index: int) -> np.ndarray:
    """Scores with 0, which is missing, for those below a limit; as :func:`.apis.lift_keypoints` does.

    Args:
        scores: ``(N, K)`` of detected keypoints.
        min_score: The limit.
        root_index: Joint that counts at any score above 0: it is where everything is measured from.
    """
    low = scores < min_score
    low[:, root_index] = scores[:, root_index] < 0
    return np.where(low, 0, scores).astype(scores.dtype)


def _plain(values: np.ndarray) -> list:
    """Rows of an array: numbers and text as Python's own, arrays as arrays."""
    return values.tolist() if values.ndim == 1 else list(values)


def index_of(keys: Sequence, table: Mapping, describe: Callable[[int], str]) -> np.ndarray:
    """Position of each key in a table.

    Args:
        keys: N keys.
        table: Mapping with C keys.
        describe: Record number to the start of the message, which names the file and the record.

    Returns:
        ``(N,)`` positions in the table's order.

    Raises:
        ValueError: If a key is not in the table.
    """
    position = {key: i for i, key in enumerate(table)}
    indices = np.array([position.get(key, -1) for key in keys], dtype=np.int64)
    if (indices < 0).any():
        record = int((indices < 0).argmax())
        raise ValueError(f'{describe(record)}: camera {keys[record]!r} is not in the camera file')
    return indices
