# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Predictions as MMPose's demos and inferencers write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...geometry import SKELETONS
from .joint_orders import COCO_FIRST_COUNTS
from .keypoint_file import frame_number
from .people_table import Gathering, PeopleTable

# Sets of keypoints by the names that MMPose's datasets have, for files that do not name their keypoints.
_COCO_FIRST = ('coco', 'coco_wholebody', 'halpe', 'halpe26', 'body8', 'ubody2d', 'humanart', 'ochuman')


def is_mmpose(data: Any) -> bool:
    """Whether it is a demo's file, an inferencer's of a video, or an inferencer's of an image with someone on it."""
    if isinstance(data, Mapping):
        return 'instance_info' in data
    first = data[0] if isinstance(data, list) and data else None
    return isinstance(first, Mapping) and ('keypoint_scores' in first or {'frame_id', 'instances'} <= first.keys())


def read_mmpose(data: Any, skeleton: str, first_frame: int | None = None) -> tuple[PeopleTable, str, bool]:
    """People of one of MMPose's files.

    Its demos (``--save-predictions``) write ``{meta_info, instance_info}``. Of a video, the latter is a list of
    ``{frame_id, instances}``, in which frames count from 1 (``demo/topdown_demo_with_mmdet.py``). Inferencers
    (``pred_out_dir``) write that list alone, and count from 0 (``BaseMMPoseInferencer._finalize_video_processing``).
    Of an image, there is a list of instances: ``{keypoints, keypoint_scores, bbox, bbox_score}``
    (``mmpose.structures.split_instances``), in which ``bbox`` is ``[[left, top, right, bottom]]``.

    Args:
        data: The content of the file.
        skeleton: What keypoints are that the file does not name.
        first_frame: ``frame_id`` of the first frame instead.

    Returns:
        The people; what their keypoints are; and whether the file is of one image.

    Raises:
        ValueError: For what is no such content, and for keypoints that are not COCO's, H36M-17 or MPI-INF-3DHP-17.
    """
    meta, items = {}, data
    if isinstance(data, Mapping):
        meta, items = data.get('meta_info') or {}, data.get('instance_info')
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise ValueError("takes MMPose's list of frames, or of the instances of one image")
    if first_frame is None:
        first_frame = int(isinstance(data, Mapping))
    is_one_image = not any('instances' in item for item in items)
    frames = [('image', 0, None, items)]
    if not is_one_image:
        frames = [_frame(item, index, first_frame) for index, item in enumerate(items)]
    table, skeleton = _read_frames(frames, skeleton, meta)
    return table, skeleton, is_one_image


def read_mmpose_images(files: Iterable[tuple[str, str, Any]], skeleton: str) -> tuple[PeopleTable, str]:
    """People of a folder of files, one of each image, as an inferencer writes it.

    Args:
        files: What each is called in messages, the name of its image, and its content.
        skeleton: What the keypoints are.

    Returns:
        The people, and what their keypoints are.
    """
    frames, meta = [], {}
    for where, name, data in files:
        items = data
        if isinstance(data, Mapping):
            meta, items = data.get('meta_info') or meta, data.get('instance_info')
        if not isinstance(items, list) or any(not isinstance(i, Mapping) or 'instances' in i for i in items):
            raise ValueError(f'{where}: takes the instances of one image')
        frames.append((where, frame_number(name, 0), name, items))
    return _read_frames(frames, skeleton, meta)


def _frame(item: Mapping, index: int, first_frame: int) -> tuple[str, int, None, list]:
    number, instances = item.get('frame_id'), item.get('instances')
    if type(number) is not int or not isinstance(instances, list):
        raise ValueError(f'record {index}: takes frame_id, a whole number, and instances, a list')
    if number < first_frame:
        raise ValueError(f'record {index}: frame_id: frames of such a file count from {first_frame}, got {number}')
    return f'frame {number}', number - first_frame, None, instances


def _read_frames(frames: list[tuple], skeleton: str, meta: Mapping) -> tuple[PeopleTable, str]:
    skeleton = _skeleton(meta, skeleton)
    found = Gathering()
    for where, number, name, instances in frames:
        found.add_frame(where, number, name)
        for instance in instances:
            if not isinstance(instance, Mapping) or 'keypoints' not in instance:
                raise ValueError(f'{where}: an instance takes keypoints and keypoint_scores')
            box = instance.get('bbox')
            if isinstance(box, list) and len(box) == 1:
                box = box[0]
            found.add(
                instance['keypoints'], instance.get('keypoint_scores'), box or None, instance.get('bbox_score'),
                instance.get('track_id'),
            )  # fmt: skip
    counts = COCO_FIRST_COUNTS if skeleton == 'coco' else (17,)
    count = found.length_of_keypoints(counts, f'keypoints ({skeleton})')
    first = found.keypoints[0][0] if found.keypoints else None
    if isinstance(first, list) and len(first) == 3:
        raise ValueError("keypoints: these are 3D poses; takes a 2D model's predictions")
    keypoints = found.stack('keypoints', found.keypoints, (count, 2))[:, :17]
    scores = found.stack('keypoint_scores', found.scores, (count,))[:, :17]
    return found.table(keypoints, scores), skeleton


def _skeleton(meta: Any, default: str) -> str:
    """What the keypoints are, by their names or by that of the dataset."""
    if not isinstance(meta, Mapping) or not meta:
        return default
    dataset, names = meta.get('dataset_name'), _names(meta)
    for skeleton in ('coco', 'h36m', 'mpi_inf_3dhp'):
        expected = SKELETONS[skeleton].joint_names
        if names and tuple(names[:17]) == expected and (skeleton == 'coco' or len(names) == 17):
            return skeleton
        if not names and dataset in (_COCO_FIRST if skeleton == 'coco' else (skeleton,)):
            return skeleton
    listed = f' of {len(names)} keypoints ({", ".join(names[:3])}, …)' if names else ''
    raise ValueError(f'meta_info: takes keypoints of COCO, H36M or MPI-INF-3DHP, these are {dataset!r}{listed}')


def _names(meta: Mapping) -> list[str]:
    """Names of the keypoints in their order; none where the file has none."""
    by_id = meta.get('keypoint_id2name')
    if not isinstance(by_id, Mapping):
        return []
    try:
        return [str(by_id[key]) for key in sorted(by_id, key=int)]
    except ValueError:
        return []
