# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What every data set of 2D-3D pairs has in common: whole batches through a codec, or single samples for pipelines."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.registry import FUNCTIONS
from mmengine.structures import InstanceData
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.registry import KEYPOINT_CODECS
from mmpose.structures import PoseDataSample
from torch import Tensor
from torch.utils.data import Dataset

from ..geometry import H36M_17, Camera

_METAINFO_KEYS = (
    'flip_pairs',
    'flip_indices',
    'upper_body_ids',
    'lower_body_ids',
    'skeleton_links',
    'dataset_keypoint_weights',
)


@FUNCTIONS.register_module()
def collate_packed(batch: list[dict]) -> dict:
    """Collate function for datasets that make their batches whole: passes the batch on.

    Args:
        batch: What :meth:`LiftingDataset.__getitems__` returned: one dict that holds the whole batch.

    Returns:
        dict: ``inputs`` ``(B, C, 1)`` and ``data_samples``, a list of one sample with B instances.
    """
    if len(batch) != 1:
        raise ValueError(
            f'collate_packed takes one packed batch, got {len(batch)} samples: set `codec`, not `pipeline`'
        )
    return batch[0]


@dataclass
class LiftingBatch:
    """2D-3D pairs of N people.

    Attributes:
        keypoints: ``(N, K, 2)`` pixels.
        keypoints_visible: ``(N, K)`` in [0, 1]; 0 is missing.
        pose_cam: ``(N, J, 3)`` metres in the camera frame, H36M-17 first; anything finite where it is not known.
        pose_visible: ``(N, J)``, 1 where ``pose_cam`` is known.
        camera: Batch of N cameras.
        meta: Meta information by key, each a sequence of N.
    """

    keypoints: Tensor
    keypoints_visible: Tensor
    pose_cam: Tensor
    pose_visible: Tensor
    camera: Camera
    meta: dict[str, Sequence] = field(default_factory=dict)


class LiftingDataset(Dataset):
    """Base of the data sets of 2D-3D pairs.

    With ``codec`` a batch is made at once: the data loader takes ``collate_fn=dict(type='collate_packed')``, and
    the batch's data sample holds all its instances, meta information as lists. With ``pipeline`` it gives single
    samples with the keys of MMPose's ``Human36mDataset``, which MMPose's transforms and ``CombinedDataset`` take. With
    neither, single samples are the data infos themselves. With both, ``codec`` makes the batches, and ``pipeline`` is
    there for MMPose's inference API, which takes it from the config of the test set.

    A subclass has :meth:`__len__`, :meth:`_batch`, and :meth:`_camera_params` or its own :meth:`_data_infos`.

    Args:
        codec: Config of a codec with ``encode_batch``.
        pipeline: MMPose transforms.
        metainfo: Dataset information instead of MMPose's for Human3.6M.
    """

    METAINFO: dict = dict(from_file='configs/_base_/datasets/h36m.py')

    def __init__(self, codec: dict | None = None, pipeline: Sequence | None = None, metainfo: dict | None = None):
        self.codec = None if codec is None else KEYPOINT_CODECS.build(codec)
        self.pipeline = Compose(list(pipeline or []))
        self._metainfo = load_metainfo(self.METAINFO if metainfo is None else metainfo)

    @property
    def metainfo(self) -> dict:
        """MMPose's dataset information."""
        return deepcopy(self._metainfo)

    @property
    def exact_keypoints(self) -> bool:
        """Whether the 2D keypoints are the projections of the 3D joints, not a detector's or made to look so."""
        return True

    def full_init(self) -> None:
        """Nothing is left to do; MMEngine and MMPose's wrappers call it."""

    def __len__(self) -> int:
        """Number of people."""
        raise NotImplementedError

    def _batch(self, indices: Sequence[int]) -> LiftingBatch:
        """Pairs of these indices."""
        raise NotImplementedError

    def _camera_params(self, indices: Sequence[int], batch: LiftingBatch) -> list[dict]:
        """MMPose's ``camera_param`` of each pair of a batch."""
        raise NotImplementedError

    def __getitems__(self, indices: Sequence[int]) -> list[dict]:
        """Make a whole batch, as the data loader asks for it.

        Args:
            indices: B indices.

        Returns:
            With ``codec``, a list of one dict: ``inputs`` ``(B, C, 1)`` and ``data_samples``, a list of one
            :class:`PoseDataSample` with B instances. Otherwise, a list of B samples.
        """
        indices = [int(i) for i in indices]
        if self.codec is None:
            return [self.pipeline(info) for info in self._data_infos(indices)]
        batch = self._batch(indices)
        encoded = self.codec.encode_batch(
            batch.keypoints, batch.keypoints_visible, batch.camera, batch.pose_cam, batch.pose_visible
        )
        inputs = encoded.pop('inputs')[..., None]
        meta = {key: list(values) for key, values in batch.meta.items()}
        sample = PoseDataSample(metainfo=dict(id=indices, flip_indices=self._metainfo['flip_indices'], **meta))
        # Poses are judged by the 3D skeleton's joints, whatever else they were trained with.
        sample.gt_instances = InstanceData(
            lifting_target=batch.pose_cam[:, : H36M_17.num_keypoints],
            lifting_target_visible=batch.pose_visible[:, : H36M_17.num_keypoints].to(batch.pose_cam),
        )
        sample.gt_instance_labels = InstanceData(**encoded)
        return [dict(inputs=inputs, data_samples=[sample])]

    def __getitem__(self, index: int) -> dict:
        """One sample; see :meth:`__getitems__`."""
        return self.__getitems__([self._checked(index)])[0]

    def get_data_info(self, index: int) -> dict:
        """What a pipeline gets for one sample; the keys of MMPose's ``Human36mDataset``.

        Raises:
            IndexError: If there is no such sample.
        """
        return self._data_infos([self._checked(index)])[0]

    def _checked(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f'index {index} is out of range for {len(self)} pairs')
        return index % len(self)

    def _data_infos(self, indices: Sequence[int]) -> list[dict]:
        batch = self._batch(indices)
        camera_params = self._camera_params(indices, batch)
        arrays = dict(
            keypoints=batch.keypoints.cpu().numpy(),
            keypoints_visible=batch.keypoints_visible.cpu().numpy(),
            lifting_target=batch.pose_cam.cpu().numpy(),
            lifting_target_visible=batch.pose_visible.to(batch.pose_cam).cpu().numpy(),
        )
        return [
            {key: array[i : i + 1] for key, array in arrays.items()}
            | {key: values[i] for key, values in batch.meta.items()}
            | {key: deepcopy(self._metainfo[key]) for key in _METAINFO_KEYS}
            | dict(camera_param=camera_params[i], factor=np.zeros(1, np.float32), id=index, category_id=1)
            for i, index in enumerate(indices)
        ]


def load_metainfo(metainfo: Mapping) -> dict:
    """MMPose's dataset information: names, links, flip indices.

    Args:
        metainfo: As MMPose's datasets take it, for example ``dict(from_file='configs/_base_/datasets/h36m.py')``.
    """
    with warnings.catch_warnings():
        # MMPose warns that it took the file from its own folder, which is where it should.
        warnings.simplefilter('ignore', UserWarning)
        return parse_pose_metainfo(deepcopy(dict(metainfo)))


def h36m_metainfo() -> dict:
    """MMPose's dataset information for Human3.6M."""
    return load_metainfo(LiftingDataset.METAINFO)


def to_tensor(array: np.ndarray, indices: Sequence[int]) -> Tensor:
    """Rows of an array as a float32 tensor."""
    return torch.from_numpy(np.ascontiguousarray(array[indices], dtype=np.float32))
