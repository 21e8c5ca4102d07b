# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Clips as JSON in MMPose's prediction schema, and as NPZ; written part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import orjson
import torch

from ...files import whole_file
from ...geometry import CAMERA_FIELDS, H36M_17, PoseSequence, get_skeleton, map_scores
from .store import Stage

_UNITS = {
    'time': 'seconds from the start',
    'keypoints': 'metres, relative to the root; axes of the camera frame: x right, y down, z forward',
    'keypoint_scores': 'of the 2D keypoints that a joint is seen by; 0 where none was',
    'keypoints_cam': 'metres, camera frame',
    'keypoints_world': 'metres, z up; world = rotation · camera + translation',
    'input_keypoints': 'pixels',
    'input_keypoints_cam': 'metres, camera frame, in the order of input_joint_names',
    'used': 'whether an input keypoint was put on its ray',
    'uncertainty': "metres, standard deviation of a joint's depth relative to the root's",
    'root_depth': 'metres, z of the root',
    'reprojection_error': 'pixels, mean over the keypoints used',
    'search_residual': 'metres',
    'bbox': 'pixels: left, top, right, bottom',
    'camera': "pixels; distortion in OpenCV's order",
}


def write_json(path: Path, stage: Stage, info: dict) -> None:
    """Write a clip in the schema of MMPose's demos (``meta_info``, ``instance_info``) with more fields a person.

    Args:
        path: The file; whole or not at all.
        stage: The clip's parts, at least one.
        info: What to say about the job besides units, names and the world.
    """
    first = stage.read(0)
    header = {
        **info,
        'units': _UNITS,
        'world': {
            'rotation': first.world_rotation.tolist(),
            'translation': first.world_translation.tolist(),
            'grounded': first.grounded,
        },
    }
    meta = {
        'dataset_name': 'h36m',
        'keypoint_id2name': {str(index): name for index, name in enumerate(H36M_17.joint_names)},
        'skeleton_links': [list(bone) for bone in H36M_17.bones],
        'input_joint_names': list(get_skeleton(first.skeleton).joint_names),
    }
    with whole_file(path) as temporary, open(temporary, 'wb') as file:
        file.write(b'{"info": ' + orjson.dumps(header) + b',\n"meta_info": ' + orjson.dumps(meta))
        file.write(b',\n"instance_info": [')
        separator = b'\n'
        for part in stage:
            for text in _frames_as_json(part):
                file.write(separator + text)
                separator = b',\n'
        file.write(b'\n]}\n')


def _frames_as_json(part: PoseSequence) -> Iterator[bytes]:
    people = list(_instances(part))
    lens = part.cameras.distortion
    columns = {name: getattr(part.cameras, name).tolist() for name in CAMERA_FIELDS}
    for index in range(part.num_frames):
        camera = {name: values[index] for name, values in columns.items()}
        camera['distortion'] = None if lens is None or not lens[index].any() else lens[index].tolist()
        number = int(part.frame_numbers[index])
        frame = {
            'frame_id': number + 1,  # MMPose's demos count from 1
            'frame_number': number,
            'time': round(float(part.frame_times[index]), 6),
            'file_name': str(part.frame_names[index]) or None,
            'camera': camera,
            'instances': people[part.rows_of_frame(index)],
        }
        yield orjson.dumps(frame, option=orjson.OPT_SERIALIZE_NUMPY)


def _instances(part: PoseSequence) -> Iterator[dict]:
    """A dict of arrays and numbers a person; None for what could not be lifted."""
    root = part.keypoints_cam[:, :1]
    columns = {
        'keypoints': part.keypoints_cam - root,
        'keypoint_scores': map_scores(part.skeleton, torch.from_numpy(part.scores_2d)).numpy(),
        'keypoints_cam': part.keypoints_cam,
        'keypoints_world': part.keypoints_world,
        'input_keypoints': part.keypoints_2d,
        'input_keypoint_scores': part.scores_2d,
        'input_keypoints_cam': part.input_keypoints_cam,
        'used': part.used,
        'uncertainty': part.uncertainty,
        'root_depth': root[:, 0, 2],
        'reprojection_error': part.reprojection_error,
        'search_residual': part.search_residual,
        'bbox': part.bboxes,
        'bbox_score': part.bbox_scores,
        'track_id': part.track,
        'valid': part.valid,
    }
    seen = {'keypoint_scores', 'input_keypoints', 'input_keypoint_scores', 'bbox', 'bbox_score', 'track_id', 'valid'}
    unknown = part.valid & np.isnan(part.uncertainty).any(1)  # of a lifter that tells none
    values = {name: _rounded(column) for name, column in columns.items()}
    for row, valid in enumerate(part.valid.tolist()):
        person = {name: column[row] if valid or name in seen else None for name, column in values.items()}
        if unknown[row]:
            person['uncertainty'] = None
        yield person


def _rounded(values: np.ndarray) -> np.ndarray | list:
    """Arrays of a row each; plain numbers where that is one."""
    rounded = np.ascontiguousarray(values.round(5) if values.dtype.kind == 'f' else values)
    return rounded if rounded.ndim > 1 else rounded.tolist()


def write_npz(path: Path, stage: Stage) -> None:
    """Write a clip as one NPZ: the arrays of :meth:`PoseSequence.to_arrays`, ``keypoints_world`` and the joints' names.

    One part of one array is in memory at a time.

    Args:
        path: The file; whole or not at all.
        stage: The clip's parts, at least one.
    """
    first = stage.read(0)
    starts = np.cumsum([0] + [stage.read_array(i, 'frame_numbers').size for i in range(len(stage))])
    arrays = first.to_arrays()
    once = ('skeleton', 'camera_fields', 'world_rotation', 'world_translation', 'grounded')
    with whole_file(path) as temporary, ZipFile(temporary, 'w', ZIP_DEFLATED, allowZip64=True) as archive:
        for name in arrays:
            if name in once:
                _write_array(archive, name, [arrays[name]])
            elif name == 'frame':
                _write_array(archive, name, _Parts(stage, name, lambda values, i: values + starts[i]))
            else:
                _write_array(archive, name, _Parts(stage, name))
        rotation, translation = first.world_rotation, first.world_translation
        world = _Parts(stage, 'keypoints_cam', lambda p, i: (p @ rotation.T + translation).astype(np.float32))
        _write_array(archive, 'keypoints_world', world)
        _write_array(archive, 'joint_names', [np.array(H36M_17.joint_names)])
        _write_array(archive, 'input_joint_names', [np.array(get_skeleton(first.skeleton).joint_names)])


class _Parts:
    """The arrays of one name, one a part; can be gone through more than once."""

    def __init__(self, stage: Stage, name: str, change: Callable = lambda values, index: values):
        self._stage, self._name, self._change = stage, name, change

    def __iter__(self) -> Iterator[np.ndarray]:
        for index in range(len(self._stage)):
            yield self._change(self._stage.read_array(index, self._name), index)


def _write_array(archive: ZipFile, name: str, parts) -> None:
    """One member of an NPZ, of arrays that are joined along their first axis."""
    shapes, dtypes = zip(*((part.shape, part.dtype) for part in parts), strict=True)
    dtype = np.result_type(*dtypes)
    shape = shapes[0] if not shapes[0] else (sum(shape[0] for shape in shapes), *shapes[0][1:])
    with archive.open(f'{name}.npy', 'w', force_zip64=True) as file:
        header = {'descr': np.lib.format.dtype_to_descr(dtype), 'fortran_order': False, 'shape': shape}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype).tobytes())
