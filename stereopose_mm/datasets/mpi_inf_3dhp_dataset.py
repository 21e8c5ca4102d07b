# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import fnmatch
import os.path as osp
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from mmpose.registry import DATASETS

from ..files import read_npz
from ..geometry.skeletons import H36M_17, get_skeleton, to_h36m_mapping
from .camera_table import read_camera_table
from .converters.mpi_inf_3dhp import ACTIVITIES, SCENES
from .recorded_dataset import PoseRecords, RecordedDataset, drop_low_scores, index_of

_JOINTS = 17
_ROOT = get_skeleton('mpi_inf_3dhp').root
# Joint of MPI-INF-3DHP-17 that each of H36M-17 is: one each.
_H36M_ORDER = [to_h36m_mapping('mpi_inf_3dhp')[joint][0] for joint in range(H36M_17.num_keypoints)]
_NPZ_KEYS = ('imgname', 'part', 'S')
# Keys of the NPZ of mpi_inf_3dhp2npz.py that MMPose's files do not have.
_OWN_KEYS = ('S_univ', 'sequence', 'frame', 'activity', 'valid', 'camera_name', 'camera_matrix', 'camera_size')
_SEQUENCE = re.compile(r'(?P<subject>S\d+)_Seq\d+_Cam\d+|(?P<test>TS\d+)')
# Every camera of the training set; MMPose's converter cuts the last digit of the height off: it says 204.
_TRAIN_SIZE = 2048


@DATASETS.register_module()
class MpiInf3dhpDataset(RecordedDataset):
    """MPI-INF-3DHP (Mehta et al., 3DV 2017), as ``mpi_inf_3dhp2npz.py`` or MMPose's converter writes it.

    See :class:`LiftingDataset` for ``codec`` and ``pipeline``. Data samples have the meta information ``subject``
    (``'S1'``, ``'TS1'``), ``sequence`` (``'S1_Seq1_Cam0'``, ``'TS1'``), ``frame`` (from 1), ``scene`` (``'green
    screen'``, ``'studio'`` or ``'outdoor'``) and, of files of ``mpi_inf_3dhp2npz.py``, ``activity``.

    The test set gives every pose at two scales. At the *original* one it is where and as large as it was: it projects
    onto the 2D annotations. The *universal* one, which the leaderboard compares at, is the pose scaled to the height of
    the skeleton that Human3.6M's people share: it is relative to the root. With ``scale='universal'`` the target
    has the universal pose about the original root: errors of root-relative poses are the leaderboard's, those of the
    root alone (MRPE) are true, but it does not project onto the keypoints, and errors of joints in the camera frame
    (3DPCK-abs) mean nothing.

    All joints of a pose are known in 3D, inside the image or not, and the official evaluation counts all. (MMPose's
    files mark the ones outside as unknown in 3D too.) Keypoints outside the image are missing.

    Args:
        ann_file: NPZ of ``mpi_inf_3dhp2npz.py``, or of MMPose's ``preprocess_mpi_inf_3dhp.py``.
        camera_param_file: MMPose's ``cameras_train.pkl`` or ``cameras_test.pkl``; the NPZ of ``mpi_inf_3dhp2npz.py``
            has the cameras itself.
        data_root: Folder that the files are relative to.
        data_prefix: Folder of the images, ``dict(img='images/')``.
        subjects: Subjects to take, ``['S1', 'S2']``. Default: all.
        sequences: Sequences to take, ``fnmatch`` patterns: ``['TS[56]']``, ``['S*_Seq1_Cam0']``. Default: all.
        scale: ``'original'`` or ``'universal'``, which only the NPZ of ``mpi_inf_3dhp2npz.py`` has.
        joints: ``'h36m'``, what the lifter takes (the 17 joints are the same, in another order), or
            ``'mpi_inf_3dhp'``.
        keypoint_2d_src: ``'gt'`` or ``'detection'``.
        keypoint_2d_det_file: NPY ``(N, 17, 3)`` of the detections of all N records of ``ann_file``: pixels and score.
        keypoint_2d_det_skeleton: What they are: ``'mpi_inf_3dhp'``, ``'h36m'`` or ``'coco'``.
        min_score: Detections scored below it count as missing, except the root, as in :func:`.apis.lift_keypoints`.
        valid_only: Leave frames out that the official evaluation does not count.
        codec: Config of a codec with ``encode_batch``.
        pipeline: MMPose transforms.
        metainfo: Dataset information instead of MMPose's for the joints.
        indices: Take the first ``indices`` records, or those of a sequence of numbers. Default: all.
        test_mode: Kept for MMPose's configs; nothing here is random.

    Raises:
        ValueError: If an argument is wrong, a file is missing, no such file or lacks a key, its arrays do not fit, a
            record names a camera that is not there or has an annotation that is not finite; names the file, the key
            and the record.
    """

    def __init__(
        self,
        ann_file: str,
        camera_param_file: str | None = None,
        data_root: str | None = None,
        data_prefix: dict | None = None,
        subjects: Sequence[str] | None = None,
        sequences: Sequence[str] | None = None,
        scale: str = 'original',
        joints: str = 'h36m',
        keypoint_2d_src: str = 'gt',
        keypoint_2d_det_file: str | None = None,
        keypoint_2d_det_skeleton: str = 'mpi_inf_3dhp',
        min_score: float = 0.1,
        valid_only: bool = True,
        codec: dict | None = None,
        pipeline: Sequence | None = None,
        metainfo: dict | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
    ):
        _check_choice('scale', scale, ('original', 'universal'))
        _check_choice('joints', joints, ('h36m', 'mpi_inf_3dhp'))
        _check_choice('keypoint_2d_src', keypoint_2d_src, ('gt', 'detection'))
        get_skeleton(keypoint_2d_det_skeleton)
        if (keypoint_2d_src == 'detection') != (keypoint_2d_det_file is not None):
            raise ValueError(
                f'keypoint_2d_src is {keypoint_2d_src!r}, keypoint_2d_det_file {keypoint_2d_det_file!r}; '
                f"'detection' takes a file, 'gt' takes none"
            )
        if joints == 'mpi_inf_3dhp' and keypoint_2d_src == 'detection' and keypoint_2d_det_skeleton != joints:
            raise ValueError(f'joints {joints!r} takes detections of the same, got {keypoint_2d_det_skeleton!r}')
        self.ann_file = _join(data_root, ann_file)
        self.camera_param_file = camera_param_file and _join(data_root, camera_param_file)
        folder = _join(data_root, (data_prefix or {}).get('img', ''))
        self.img_prefix = osp.join(folder, '') if folder else ''
        self.subjects, self.sequences = subjects, sequences
        self.scale, self.joints, self.keypoint_2d_src = scale, joints, keypoint_2d_src
        self.keypoint_2d_det_file = keypoint_2d_det_file and _join(data_root, keypoint_2d_det_file)
        self.keypoint_2d_det_skeleton = keypoint_2d_det_skeleton
        self.min_score, self.valid_only = min_score, valid_only
        if metainfo is None:
            metainfo = dict(from_file=f'configs/_base_/datasets/{joints}.py')
        super().__init__(codec, pipeline, metainfo, indices, test_mode)

    @property
    def exact_keypoints(self) -> bool:
        """Whether the 2D keypoints are the projections of the 3D joints; see :class:`LiftingDataset`."""
        return super().exact_keypoints and self.scale == 'original'

    def _load(self) -> PoseRecords:
        arrays = self._read_npz()
        is_own = 'sequence' in arrays
        sequence, frame = (arrays['sequence'], arrays['frame']) if is_own else self._parse_names(arrays['imgname'])
        cameras = self._own_cameras(arrays) if is_own else self._mmpose_cameras()
        camera_index = index_of(
            sequence, cameras, lambda record: f'{self.ann_file}: record {record} ({arrays["imgname"][record]})'
        )
        camera_params = list(cameras.values())
        records = PoseRecords(
            keypoints=arrays['part'][..., :2].astype(np.float32),
            keypoints_visible=_inside(arrays['part'], camera_params, camera_index),
            pose_cam=self._poses(arrays),
            # MMPose's converter copies the 2D flag to 3D, where it does not belong.
            pose_visible=arrays['S'][..., 3].astype(np.float32)
            if is_own
            else np.ones(arrays['S'].shape[:2], np.float32),
            camera_params=camera_params,
            camera_index=camera_index,
            img_path=np.char.add(self.img_prefix, arrays['imgname']),
            meta=self._meta(arrays, sequence, frame),
        )
        records.check(self.ann_file)
        return self._with_detections(records)[self._chosen(arrays, records.meta)]

    def _read_npz(self) -> dict[str, np.ndarray]:
        path = self.ann_file
        arrays = read_npz(
            path, "make it with tools/dataset_converters/mpi_inf_3dhp2npz.py or MMPose's preprocess_mpi_inf_3dhp.py"
        )
        wanted = [*_NPZ_KEYS, *(_OWN_KEYS if 'sequence' in arrays or 'camera_name' in arrays else ())]
        missing = [key for key in wanted if key not in arrays]
        if missing:
            raise ValueError(f'{path}: no key {missing[0]!r}; it has {sorted(arrays)}')
        num = len(arrays['imgname'])
        for key, dims in (('part', 3), ('S', 4), ('S_univ', 4)):
            if key in arrays and arrays[key].shape != (num, _JOINTS, dims):
                raise ValueError(f'{path}: {key} is {arrays[key].shape}; takes {(num, _JOINTS, dims)}, as imgname')
        for key in ('sequence', 'frame', 'activity', 'valid'):
            if key in arrays and len(arrays[key]) != num:
                raise ValueError(f'{path}: {key} has {len(arrays[key])} entries, imgname {num}')
        return arrays

    def _parse_names(self, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sequence and frame of MMPose's names, ``S1_Seq1_Cam0_000001.jpg`` or ``TS1_000001.jpg``."""
        parts = [osp.splitext(osp.basename(name))[0].rpartition('_') for name in names.tolist()]
        sequences, frames = np.array([p[0] for p in parts]), [p[2] for p in parts]
        known = {name for name in set(sequences.tolist()) if _SEQUENCE.fullmatch(name)}
        for record, (name, frame) in enumerate(zip(sequences.tolist(), frames, strict=True)):
            if name not in known or not frame.isdecimal():
                raise ValueError(
                    f'{self.ann_file}: imgname of record {record} is {names[record]!r}; takes names like '
                    'S1_Seq1_Cam0_000001.jpg and TS1_000001.jpg'
                )
        return sequences, np.array(frames, np.int64)

    def _own_cameras(self, arrays: dict[str, np.ndarray]) -> dict[str, dict]:
        cameras = {}
        lenses = arrays.get('camera_distortion', np.zeros((len(arrays['camera_name']), 5)))
        rows = zip(arrays['camera_name'], arrays['camera_matrix'], arrays['camera_size'], lenses, strict=True)
        for name, matrix, (width, height), lens in rows:
            cameras[str(name)] = dict(f=matrix[[0, 1], [0, 1]][:, None], c=matrix[:2, 2:], w=int(width), h=int(height))
            if lens.any():
                # OpenCV's order is k1, k2, p1, p2, k3.
                cameras[str(name)] |= dict(k=lens[[0, 1, 4]], p=lens[[2, 3]])
        return cameras

    def _mmpose_cameras(self) -> dict[str, dict]:
        if self.camera_param_file is None:
            raise ValueError(f'{self.ann_file}: has no cameras: camera_param_file takes cameras_train.pkl or _test.pkl')
        cameras = read_camera_table(self.camera_param_file)
        return {
            name: camera if str(name).startswith('TS') else camera | dict(w=_TRAIN_SIZE, h=_TRAIN_SIZE)
            for name, camera in cameras.items()
        }

    def _poses(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        pose = arrays['S'][..., :3].astype(np.float32)
        if self.scale == 'original':
            return pose
        if 'S_univ' not in arrays:
            raise ValueError(
                f"{self.ann_file}: no key 'S_univ', which scale='universal' takes; it has {sorted(arrays)}; "
                'make the file with tools/dataset_converters/mpi_inf_3dhp2npz.py'
            )
        universal = arrays['S_univ'][..., :3].astype(np.float32)
        return universal - universal[:, _ROOT, None] + pose[:, _ROOT, None]

    def _meta(self, arrays: dict[str, np.ndarray], sequence: np.ndarray, frame: np.ndarray) -> dict[str, np.ndarray]:
        names, index = np.unique(sequence, return_inverse=True)
        meta = dict(
            subject=np.array([name.split('_')[0] for name in names.tolist()])[index],
            sequence=sequence,
            frame=frame.astype(np.int64),
            # All of the training set was recorded before the green screen.
            scene=np.array([SCENES.get(name, 'green screen') for name in names.tolist()])[index],
        )
        if 'activity' in arrays:
            activity = arrays['activity']
            wrong = (activity < 0) | (activity > len(ACTIVITIES))
            if wrong.any():
                record = wrong.argmax()
                raise ValueError(
                    f'{self.ann_file}: activity of record {record} is {activity[record]}; takes 0 to {len(ACTIVITIES)}'
                )
            meta['activity'] = np.array(['none', *ACTIVITIES])[activity]
        return meta

    def _with_detections(self, records: PoseRecords) -> PoseRecords:
        """Records with the joints asked for, and with the detections instead of the annotations."""
        if self.joints == 'h36m':
            keys = ('keypoints', 'keypoints_visible', 'pose_cam', 'pose_visible')
            records = replace(records, **{key: getattr(records, key)[:, _H36M_ORDER] for key in keys})
        path = self.keypoint_2d_det_file
        if path is None:
            return records
        try:
            detections = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f'{path}: not a readable NPY of numbers: {error}') from error
        if not isinstance(detections, np.ndarray) or detections.shape != (len(records), _JOINTS, 3):
            raise ValueError(
                f'{path}: has the shape {getattr(detections, "shape", None)}; takes {(len(records), _JOINTS, 3)}, one '
                f'for each record of {self.ann_file}'
            )
        bad = ~np.isfinite(detections).all((1, 2))
        if bad.any():
            raise ValueError(f'{path}: the detections of record {bad.argmax()} are not finite')
        detected = replace(
            records, keypoints=detections[..., :2], keypoints_visible=detections[..., 2].clip(0, 1).astype(np.float32)
        )
        mapped = detected.to_h36m(self.keypoint_2d_det_skeleton) if self.joints == 'h36m' else detected
        root = get_skeleton(self.joints).root
        scores = drop_low_scores(mapped.keypoints_visible, self.min_score, root)
        return replace(records, keypoints=mapped.keypoints, keypoints_visible=scores)

    def _chosen(self, arrays: dict[str, np.ndarray], meta: dict[str, np.ndarray]) -> np.ndarray:
        """Which records to take, bool ``(N,)``."""
        chosen = np.ones(len(meta['sequence']), dtype=bool)
        if self.valid_only and 'valid' in arrays:
            chosen &= arrays['valid'] > 0
        for argument, wanted, key in (
            ('subjects', self.subjects, 'subject'),
            ('sequences', self.sequences, 'sequence'),
        ):
            if wanted is None:
                continue
            if isinstance(wanted, str):
                raise ValueError(f'{argument} takes a list of names, got {wanted!r}')
            names = np.unique(meta[key]).tolist()
            lost = [pattern for pattern in wanted if not fnmatch.filter(names, pattern)]
            if lost:
                raise ValueError(f'{self.ann_file}: {argument} names {lost[0]!r}; the file has {names}')
            chosen &= np.isin(meta[key], [name for pattern in wanted for name in fnmatch.filter(names, pattern)])
        return chosen


def _inside(part: np.ndarray, camera_params: list[dict], camera_index: np.ndarray) -> np.ndarray:
    """Which keypoints are marked and inside the image, ``(N, 17)``; MMPose's files take all images to be square."""
    size = np.array([[camera['w'], camera['h']] for camera in camera_params])[camera_index, None]
    pixels = part[..., :2]
    # One that is not finite stays marked: it is an error, not a missing one.
    outside = ((pixels < 0) | (pixels >= size)).any(-1)
    return np.where(outside, 0, part[..., 2]).astype(np.float32)


def _join(folder: str | None, path: str) -> str:
    return osp.join(folder, path) if folder else path


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f'{name} is {value!r}; takes one of {list(choices)}')
