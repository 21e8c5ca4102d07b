# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os.path as osp
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import torch
from mmpose.registry import DATASETS

from ..geometry import DEFAULT_FOV_DEG, Camera
from .recorded_dataset import PoseRecords, RecordedDataset
from .wild3d_files.coco_reader import read_coco
from .wild3d_files.parquet_shards import count_rows, find_shards, iter_parquet
from .wild3d_files.schema import CHUNK, column_array, skeleton_of

# What training needs; the other columns are not read.
_COLUMNS = (
    *('id', 'image_id', 'file_name', 'width', 'height', 'bbox', 'iscrowd', 'keypoints', 'keypoint_scores'),
    *('keypoints_3d', 'camera', 'distortion', 'label_quality', 'source'),
)


@DATASETS.register_module()
class Wild3dDataset(RecordedDataset):
    """Photographs with 2D keypoints and, for some or all, 3D labels: COCO-format JSON or Parquet shards.

    ``docs/datasets/wild3d.md`` describes the format. People without 3D load too: nothing of their pose is known
    (``lifting_target_visible`` 0), so they take part in no 3D loss and no 3D error. A person whose camera is not known
    gets one with the default field of view. Crowds and people without a marked keypoint are left out.

    Data samples have, besides what :class:`RecordedDataset` gives, ``img_id``, ``ann_id``, ``bbox`` ``(1, 4)`` (x1, y1,
    x2, y2) and ``bbox_score`` ``(1,)``, so that MMPose's top-down transforms take them, ``label_quality`` and
    ``source``.

    Args:
        ann_file: JSON file, folder of shards, pattern of shards (``*``), or a list of shards.
        data_root: Folder that ``ann_file`` and ``data_prefix`` are in.
        data_prefix: ``dict(img=...)``, folder that the images' names are relative to.
        split: Which split of a folder of shards; needed if it has several.
        skeleton: Keypoint set of a JSON file whose categories do not tell: ``'h36m'``, ``'coco'`` or
            ``'mpi_inf_3dhp'``. They are mapped to H36M-17.
        min_quality: Leave out people whose ``label_quality`` is less.
        codec: See :class:`LiftingDataset`.
        pipeline: See :class:`LiftingDataset`.
        metainfo: See :class:`LiftingDataset`.
        indices: See :class:`RecordedDataset`; of what is left.
        test_mode: See :class:`RecordedDataset`.

    Raises:
        ValueError: If a file cannot be read, or a record of it has something else than the format says; names the
            file, the key and the record. If no person is left.
    """

    def __init__(
        self,
        ann_file: str | Sequence[str],
        data_root: str = '',
        data_prefix: dict | None = None,
        split: str | None = None,
        skeleton: str | None = None,
        min_quality: float = 0.0,
        codec: dict | None = None,
        pipeline: Sequence | None = None,
        metainfo: dict | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
    ):
        if not 0 <= min_quality <= 1:
            raise ValueError(f'min_quality takes a number from 0 to 1, got {min_quality}')
        files = [ann_file] if isinstance(ann_file, str) else list(ann_file)
        self._files = [osp.join(data_root, file) for file in files]
        self.ann_file = self._files[0] if isinstance(ann_file, str) else self._files
        folder = osp.join(data_root, (data_prefix or {}).get('img', ''))
        self.img_prefix = osp.join(folder, '') if folder else ''
        self.split = split
        self.skeleton = skeleton
        self.min_quality = min_quality
        super().__init__(codec, pipeline, metainfo, indices, test_mode)

    def _load(self) -> PoseRecords:
        rows, schema, batches = self._open()
        skeleton = skeleton_of(schema, str(self.source))
        num = skeleton.num_keypoints
        arrays = dict(
            keypoints=np.empty((rows, num, 2), np.float32),
            keypoint_scores=np.empty((rows, num), np.float32),
            keypoints_3d=np.empty((rows, num, 4), np.float32),
            camera=np.empty((rows, 4), np.float32),
            distortion=np.empty((rows, 8), np.float32),
            bbox=np.empty((rows, 4), np.float32),
            **{name: np.empty(rows, np.int32) for name in ('width', 'height')},
            **{name: np.empty(rows, np.int64) for name in ('id', 'image_id')},
            label_quality=np.empty(rows, np.float32),
            # One text object for each source, not for each row.
            source=np.empty(rows, object),
        )
        names, count = [], 0
        # Batch by batch into place, so that memory holds the set once.
        for batch in batches:
            usable = (column_array(batch, 'keypoint_scores') > 0).any(1) & ~column_array(batch, 'iscrowd')
            usable &= column_array(batch, 'label_quality') >= self.min_quality
            end = count + int(usable.sum())
            for name, array in arrays.items():
                values = _words(batch.column(name)) if name == 'source' else column_array(batch, name)
                array[count:end] = values[usable]
            names.append(np.array(batch.column('file_name').filter(pa.array(usable)).to_pylist(), np.str_))
            count = end
        arrays = {name: array[:count] for name, array in arrays.items()}
        names = np.concatenate(names) if names else np.array([], np.str_)
        bbox = arrays['bbox']
        self._cameras_known = _Cameras(arrays, self.source)
        records = PoseRecords(
            keypoints=arrays['keypoints'],
            keypoints_visible=arrays['keypoint_scores'],
            pose_cam=arrays['keypoints_3d'][..., :3],
            pose_visible=arrays['keypoints_3d'][..., 3],
            camera_params=self._cameras_known,
            camera_index=self._cameras_known.index,
            img_path=np.char.add(self.img_prefix, names),
            meta=dict(
                img_id=arrays['image_id'],
                ann_id=arrays['id'],
                bbox=np.concatenate([bbox[:, :2], bbox[:, :2] + bbox[:, 2:]], -1)[:, None],
                bbox_score=np.ones((count, 1), np.float32),
                label_quality=arrays['label_quality'],
                source=arrays['source'],
            ),
        )
        records.check(str(self.source))
        return records if skeleton.name == 'h36m' else records.to_h36m(skeleton.name)

    def _open(self) -> tuple[int, pa.Schema, Iterator[pa.RecordBatch]]:
        """Number of rows, their schema, and the rows."""
        if len(self._files) == 1 and self._files[0].lower().endswith('.json'):
            table = read_coco(self._files[0], self.skeleton)
            return len(table), table.schema, iter(table.to_batches(CHUNK))
        if json := [file for file in self._files if file.lower().endswith('.json')]:
            raise ValueError(f'{json[0]}: ann_file takes one JSON file, or shards; several combine as a data set each')
        shards = find_shards(self._files, self.split)
        rows, schema = count_rows(shards)
        return rows, schema, iter_parquet(shards, _COLUMNS)

    def _stack_cameras(self, records: PoseRecords) -> Camera:
        return self._cameras_known.stack()


class _Cameras(Sequence):
    """MMPose's ``camera_param`` dicts of the different cameras of a set, made when they are asked for.

    Args:
        arrays: ``camera`` ``(N, 4)``, ``distortion`` ``(N, 8)``, ``width`` and ``height`` ``(N,)``.
        source: Name of the set, for the warning.

    Attributes:
        index: ``(N,)``, which camera each person is seen by.
    """

    def __init__(self, arrays: dict[str, np.ndarray], source: object):
        size = np.stack([arrays['width'], arrays['height']], -1).astype(np.float32)
        rows = np.concatenate([arrays['camera'], size, arrays['distortion']], -1)
        # Rows as bytes: sorting them so is ten times as fast as sorting by columns.
        keys = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
        _, first, self.index = np.unique(keys, return_index=True, return_inverse=True)
        rows = rows[first].astype(np.float64)
        unknown = rows[:, 0] == 0
        if unknown.any():
            people = int(unknown[self.index].sum())
            warnings.warn(
                f'{source}: the camera of {people} people is not known: taking a horizontal field of view of '
                f'{DEFAULT_FOV_DEG:g} degrees',
                stacklevel=2,
            )
            camera = Camera.from_fov(DEFAULT_FOV_DEG, *(torch.from_numpy(rows[unknown, i]) for i in (4, 5)))
            intrinsics = (camera.fx, camera.fy, camera.cx, camera.cy)
            rows[unknown, :4] = torch.stack(intrinsics, -1).numpy()
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict:
        fx, fy, cx, cy, width, height, *lens = self._rows[index].tolist()
        param = dict(
            K=np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float32),
            f=np.array([[fx], [fy]], np.float32),
            c=np.array([[cx], [cy]], np.float32),
            w=width,
            h=height,
        )
        if any(lens):
            # OpenCV's order is k1 k2 p1 p2 k3 …
            param |= dict(k=np.array(lens[:2] + lens[4:], np.float32), p=np.array(lens[2:4], np.float32))
        return param

    def stack(self) -> Camera:
        """All of them as a batch."""
        rows = torch.from_numpy(self._rows)
        lens = rows[:, 6:]
        return Camera(*rows[:, :6].unbind(-1), distortion=lens if bool(lens.any()) else None)


def _words(column: pa.Array) -> np.ndarray:
    """Text as an array in which equal words are one object; nothing is the empty text."""
    encoded = column.fill_null('').dictionary_encode()
    return np.array(encoded.dictionary.to_pylist(), object)[encoded.indices.to_numpy()]
