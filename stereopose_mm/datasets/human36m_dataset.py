# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import fnmatch
import os.path as osp
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.logging import MMLogger
from mmpose.registry import DATASETS
from numpy.lib.npyio import NpzFile

from ..files import NPZ_ERRORS, open_npz
from ..geometry.skeletons import H36M_17
from .camera_table import read_camera_table
from .recorded_dataset import PoseRecords, RecordedDataset, drop_low_scores, index_of

# The 15 actions in the order of the papers' tables.
H36M_ACTIONS = (
    'Directions', 'Discussion', 'Eating', 'Greeting', 'Phoning', 'Photo', 'Posing', 'Purchases', 'Sitting',
    'SittingDown', 'Smoking', 'Waiting', 'WalkDog', 'Walking', 'WalkTogether',
)  # fmt: skip
# S1's videos have names of their own for these; others' files have more.
_ALIASES = dict(TakingPhoto='Photo', WalkingDog='WalkDog', WalkingTogether='WalkTogether')

# Clips whose motion capture stands some 20 cm beside the person: in official numbers Greeting-2, SittingDown-2 and
# Waiting-1 of subject 9 (Iskakov et al., ICCV 2019, leave them out as damaged).
DAMAGED_CLIPS = ('S9_Greeting', 'S9_SittingDown_1', 'S9_Waiting_1')

_NUM_JOINTS = 17
_CLIP = re.compile(r'(S\d+)_([A-Za-z]+)(?:_(\d+))?\.(\d+)')
# What follows the clip's name in an image's: _000001.jpg.
_TAIL, _DIGITS = 11, 6


@dataclass(frozen=True)
class H36mProtocol:
    """Which records are for training and which for testing.

    Attributes:
        train: Subjects of the training set.
        test: Subjects of the test set.
        test_cameras: Cameras of the test set; none are all.
        test_step: The test takes every so many frames of a video, from its first on.
    """

    train: tuple[str, ...] = ('S1', 'S5', 'S6', 'S7', 'S8')
    test: tuple[str, ...] = ('S9', 'S11')
    test_cameras: tuple[str, ...] = ()
    test_step: int = 1


# Papers number protocols differently: docs/datasets/human36m.md says which paper means which.
H36M_PROTOCOLS = dict(
    # Martinez et al., ICCV 2017; Pavllo et al., CVPR 2019. Protocol 2 is the same split, with P-MPJPE.
    protocol1=H36mProtocol(),
    protocol2=H36mProtocol(),
    # Sun et al., ECCV 2018; Moon et al., ICCV 2019 (their Protocol 2).
    subsampled64=H36mProtocol(test_step=64),
    # Moon et al.'s Protocol 1, with P-MPJPE.
    subject11=H36mProtocol(train=('S1', 'S5', 'S6', 'S7', 'S8', 'S9'), test=('S11',), test_step=64),
    # Kanazawa et al., CVPR 2018, Protocol 2, with P-MPJPE of 14 joints; the step is Kolotouros et al.'s, ICCV 2019.
    frontal=H36mProtocol(test_cameras=('60457274',), test_step=5),
)
# What a keypoint counts as that a detector gives no score for: 1 would say that it is exact.
_UNSCORED = 0.6


@DATASETS.register_module()
class StereoHuman36mDataset(RecordedDataset):
    """Human3.6M as MMPose's ``preprocess_h36m.py`` writes it, with each record's full camera, lens included.

    Source: Ionescu et al., "Human3.6M: Large Scale Datasets and Predictive Methods for 3D Human Sensing in Natural
    Environments", TPAMI 2014.

    See :class:`LiftingDataset` for ``codec`` and ``pipeline``; right-view targets are the codec's. Data samples have
    the meta information ``subject`` (``'S9'``), ``action`` (of ``H36M_ACTIONS``, whatever the file calls it),
    ``subaction`` (the number in the clip's name, 0 where it has none), ``camera`` (serial number), ``sequence``
    (``'S9_WalkDog_1.54138969'``), ``frame`` (from 1, at 50 frames/s) and ``img_path``.

    Args:
        ann_file: ``h36m_train.npz`` or ``h36m_test.npz`` with ``imgname`` ``(N,)``, ``part`` ``(N, 17, 3)`` (pixels and
            visibility) and ``S`` ``(N, 17, 4)`` (metres in the camera frame and visibility).
        camera_param_file: ``cameras.pkl``.
        data_root: Folder that the files and ``data_prefix`` are relative to.
        data_prefix: ``dict(img=...)``, folder of the images.
        keypoint_2d_src: ``'gt'``, or ``'detection'`` for a detector's.
        keypoint_2d_det_file: The detector's: NPY ``(N, 17, 3)`` (x, y, score) or ``(N, 17, 2)``, its rows those of
            ``ann_file``. Score 0 is missing.
        min_score: Detections scored below it count as missing, except the root, as in :func:`.apis.lift_keypoints`.
        protocol: Name of a protocol of ``H36M_PROTOCOLS``; ``test_mode`` says which part of it. None takes all records.
        subjects: Subjects to take, of those of the protocol, or one. Default: all.
        actions: Actions to take, or one. Default: all.
        cameras: Serial numbers of the cameras to take, of those of the protocol. Default: all.
        exclude: Clips to leave out, ``fnmatch`` patterns over ``'S9_Greeting'`` and ``'S9_Greeting.54138969'``. The
            default leaves none out, as Martinez's, Pavllo's and most papers; ``DAMAGED_CLIPS`` has those that some do.
        frame_step: Take every so many frames of a video, from its first on. Default: the protocol's.
        codec: Config of a codec with ``encode_batch``.
        pipeline: MMPose transforms, instead of ``codec``.
        metainfo: Dataset information instead of MMPose's for Human3.6M.
        indices: See :class:`RecordedDataset`.
        test_mode: Take the protocol's test set instead of its training set.

    Raises:
        ValueError: If an argument is wrong or leaves no record; if a file is missing, truncated or lacks a key, arrays
            do not fit together, an image's name, its action or its camera is not known, or what is marked as visible
            is not finite: names the file, the key and the record.
    """

    def __init__(
        self,
        ann_file: str,
        camera_param_file: str,
        data_root: str | None = None,
        data_prefix: dict | None = None,
        keypoint_2d_src: str = 'gt',
        keypoint_2d_det_file: str | None = None,
        min_score: float = 0.1,
        protocol: str | None = 'protocol1',
        subjects: str | Sequence[str] | None = None,
        actions: str | Sequence[str] | None = None,
        cameras: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] = (),
        frame_step: int | None = None,
        codec: dict | None = None,
        pipeline: Sequence | None = None,
        metainfo: dict | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
    ):
        if keypoint_2d_src not in ('gt', 'detection'):
            raise ValueError(f"keypoint_2d_src takes 'gt' or 'detection', got {keypoint_2d_src!r}")
        if keypoint_2d_src == 'detection' and not keypoint_2d_det_file:
            raise ValueError("keypoint_2d_src='detection' takes a keypoint_2d_det_file")
        if protocol is not None and protocol not in H36M_PROTOCOLS:
            raise ValueError(f'protocol takes one of {list(H36M_PROTOCOLS)} or None, got {protocol!r}')
        subjects, actions, cameras = _listed(subjects), _listed(actions), _listed(cameras)
        unknown = [action for action in actions or () if _ALIASES.get(action, action) not in H36M_ACTIONS]
        if unknown:
            raise ValueError(f'actions takes names of {list(H36M_ACTIONS)}, got {unknown[0]!r}')
        if frame_step is not None and (not isinstance(frame_step, int) or frame_step < 1):
            raise ValueError(f'frame_step takes a whole number above 0, got {frame_step!r}')
        rule = H36M_PROTOCOLS[protocol] if protocol else None
        self.protocol, self.exclude, self.min_score = protocol, _listed(exclude) or [], min_score
        self.keypoint_2d_src = keypoint_2d_src
        self.frame_step = frame_step or (rule.test_step if rule and test_mode else 1)
        # Each a list of what to take; serial numbers typed on a command line come as numbers.
        self._takes = dict(
            subject=[subjects, (rule.test if test_mode else rule.train) if rule else None],
            action=[actions and [_ALIASES.get(action, action) for action in actions]],
            camera=[cameras and [str(camera) for camera in cameras], rule.test_cameras if rule and test_mode else None],
        )

        def join(path: str) -> str:
            return osp.join(data_root, path) if data_root else path

        self.ann_file, self.camera_param_file = join(ann_file), join(camera_param_file)
        self.det_file = join(keypoint_2d_det_file) if keypoint_2d_src == 'detection' else None
        self.img_prefix = osp.join(join((data_prefix or {}).get('img', '')), '')
        super().__init__(codec, pipeline, metainfo, indices, test_mode)

    def _load(self) -> PoseRecords:
        path = self.ann_file
        with open_npz(path, 'docs/datasets/human36m.md says how to make it') as archive:
            names = _read_names(archive, path)
            clip_of, frames, clips = _parse_names(names, path)
            cameras = read_camera_table(self.camera_param_file)
            keys = [(subject, camera) for subject, camera in zip(clips['subject'], clips['camera'], strict=True)]
            camera_of_clip = index_of(
                keys, cameras, lambda clip: _describe(path, 'imgname', int((clip_of == clip).argmax()), names)
            )
            kept = np.flatnonzero(self._chosen(clips)[clip_of] & self._on_step(frames, clip_of))
            if not len(kept):
                raise ValueError(f'{path}: no record is left by frame_step={self.frame_step}')
            # Most often all are: a slice copies nothing.
            rows = slice(None) if len(kept) == len(names) else kept

            def read(key: str, joint_values: int) -> tuple[np.ndarray, np.ndarray]:
                array = _read_array(archive, path, key, (len(names), _NUM_JOINTS, joint_values)).astype(np.float32)
                values, visible = array[rows, :, :-1], array[rows, :, -1] > 0
                _check_finite(path, key, values, visible, kept, names)
                return values, visible

            pose_cam, pose_visible = read('S', 4)
            if self.det_file is None:
                keypoints, keypoints_visible = read('part', 3)
        if self.det_file is not None:
            keypoints, keypoints_visible = self._read_detections(names, kept)
        clip = clip_of[rows]
        return PoseRecords(
            keypoints=np.ascontiguousarray(keypoints),
            keypoints_visible=keypoints_visible,
            pose_cam=np.ascontiguousarray(pose_cam),
            pose_visible=pose_visible,
            # The serial number says that the lens is to be read as Human3.6M's.
            camera_params=[
                camera | dict(id=key[1]) if isinstance(key, tuple) else camera for key, camera in cameras.items()
            ],
            camera_index=camera_of_clip[clip],
            img_path=_prepend(self.img_prefix, names[rows]),
            meta={key: values[clip] for key, values in clips.items()} | dict(frame=frames[rows]),
        )

    def _chosen(self, clips: dict[str, np.ndarray]) -> np.ndarray:
        """``(C,)``, whether a clip's subject, action and camera are to be taken and its name is not excluded."""
        chosen = np.ones(len(clips['sequence']), dtype=bool)
        for key, lists in self._takes.items():
            for wanted in filter(None, lists):
                chosen &= np.isin(clips[key], list(wanted))
        excluded = [
            any(fnmatch.fnmatchcase(name, pattern) for pattern in self.exclude for name in (clip, clip.split('.')[0]))
            for clip in clips['sequence'].tolist()
        ]
        chosen &= ~np.array(excluded, dtype=bool)
        part = 'test' if self.test_mode else 'training'
        if not chosen.any():
            has = {key: sorted(set(clips[key].tolist())) for key in self._takes}
            takes = {key: [list(wanted) for wanted in lists if wanted] for key, lists in self._takes.items()}
            raise ValueError(
                f'{self.ann_file}: no record is left by protocol={self.protocol!r} ({part} set) and the filters '
                f'{ {key: lists for key, lists in takes.items() if lists} }, exclude={self.exclude}; it has {has}'
            )
        asked, of_protocol = self._takes['subject']
        missing = sorted(set(of_protocol or ()) - set(clips['subject'][chosen].tolist()))
        if missing and not asked:
            MMLogger.get_current_instance().warning(
                f'{self.ann_file} has no record of {", ".join(missing)}: it is only part of the {part} set of '
                f'{self.protocol}'
            )
        return chosen

    def _on_step(self, frames: np.ndarray, clip_of: np.ndarray) -> np.ndarray:
        """``(N,)``, whether a frame is one of every ``frame_step``; the file has to have these."""
        if self.frame_step == 1:
            return np.ones(len(frames), dtype=bool)
        gaps = np.diff(frames)[clip_of[1:] == clip_of[:-1]]
        stored = int(gaps[gaps > 0].min(initial=self.frame_step))
        if self.frame_step % stored:
            raise ValueError(
                f'{self.ann_file}: has every {stored}th frame; a test of every {self.frame_step}th takes the file of '
                'all frames (fps50)'
            )
        return (frames - 1) % self.frame_step == 0

    def _read_detections(self, names: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``(M, 17, 2)`` pixels and ``(M, 17)`` scores of the records kept."""
        path = self.det_file
        try:
            found = np.load(path, allow_pickle=False)
        except NPZ_ERRORS as error:
            raise ValueError(f'{path}: not a readable NPY of a plain array: {error}') from error
        if not isinstance(found, np.ndarray) or found.ndim != 3 or found.shape[1:] not in ((17, 2), (17, 3)):
            got = found.shape if isinstance(found, np.ndarray) else 'an NPZ'
            raise ValueError(f'{path}: takes (N, 17, 3) or (N, 17, 2), has {got}')
        if len(found) != len(names):
            raise ValueError(f'{path}: has {len(found)} detections; {self.ann_file} has {len(names)} records')
        found = found[kept].astype(np.float32)
        keypoints, scores = found[..., :2], np.full(found.shape[:2], _UNSCORED, np.float32)
        if found.shape[-1] == 3:
            scores = found[..., 2]
            _check_finite(path, 'score', scores[..., None], np.ones_like(scores), kept, names)
            scores = drop_low_scores(scores, self.min_score, H36M_17.root)
        _check_finite(path, 'keypoints', keypoints, scores, kept, names)
        return keypoints, scores


def _listed(values: object) -> list | None:
    """A list of one or more values; a command line gives one without brackets."""
    return [values] if isinstance(values, str | int) else values and list(values)


def _describe(path: str, key: str, record: int, names: np.ndarray) -> str:
    return f'{path}: {key} of record {record} ({names[record]})'


def _read_array(archive: NpzFile, path: str, key: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    if key not in archive.files:
        raise ValueError(f'{path}: no key {key!r}; it has {sorted(archive.files)}')
    try:
        array = archive[key]
    except NPZ_ERRORS as error:
        raise ValueError(f'{path}: {key} cannot be read: {error}') from error
    if shape is not None and array.shape != shape:
        raise ValueError(f'{path}: {key} is {array.shape}; takes {shape}, for {shape[0]} names in imgname')
    if shape is not None and array.dtype.kind not in 'fiu':
        raise ValueError(f'{path}: {key} is of {array.dtype}; takes numbers')
    return array


def _read_names(archive: NpzFile, path: str) -> np.ndarray:
    names = _read_array(archive, path, 'imgname')
    if names.ndim != 1 or names.dtype.kind not in 'US' or not len(names):
        raise ValueError(f'{path}: imgname is {names.shape} of {names.dtype}; takes text (N,)')
    # At least as wide as a tail, so that every name can be looked at from its end.
    width = max(names.dtype.itemsize // (4 if names.dtype.kind == 'U' else 1), _TAIL + 1)
    return np.ascontiguousarray(names, dtype=f'U{width}')


def _letters(names: np.ndarray) -> np.ndarray:
    """Code points of text ``(N,)``, one row a name: ``(N, L)``, 0 after the end. Shares the memory."""
    return names.view(np.uint32).reshape(len(names), -1)


def _parse_names(names: np.ndarray, path: str) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Take image names apart, such as ``S9/S9_WalkDog_1.54138969/S9_WalkDog_1.54138969_000001.jpg``.

    Millions of names are of a few hundred clips, one after the other: only the first name of each run is parsed as
    text.

    Args:
        names: ``(N,)`` text.
        path: The file, for messages.

    Returns:
        ``(N,)`` run of names that each is in, ``(N,)`` frame numbers, and arrays ``(C,)`` of what the name of each
        run's clip says: ``subject``, ``action``, ``subaction``, ``camera``, ``sequence``.

    Raises:
        ValueError: If a name cannot be taken apart or its action is not known.
    """
    letters = _letters(names)
    lengths = (letters != 0).sum(1)
    ends = np.maximum(lengths, _TAIL)[:, None]
    tails = np.take_along_axis(letters, ends - _TAIL + np.arange(_TAIL), 1)
    # Unsigned: what comes before '0' wraps around to more than 9.
    digits = tails[:, 1 : 1 + _DIGITS] - np.uint32(ord('0'))
    bad = (tails[:, 0] != ord('_')) | (digits > 9).any(1) | (tails[:, 1 + _DIGITS] != ord('.'))
    if bad.any():
        raise ValueError(_unparsable(path, int(bad.argmax()), names))
    frames = digits.astype(np.int32) @ 10 ** np.arange(_DIGITS - 1, -1, -1, dtype=np.int32)

    in_tail = np.arange(letters.shape[1]) >= lengths[1:, None] - _TAIL
    changes = ((letters[1:] != letters[:-1]) & ~in_tail).any(1) | (lengths[1:] != lengths[:-1])
    starts = np.flatnonzero(np.concatenate([[True], changes]))
    clip_of = np.zeros(len(names), dtype=np.int32)
    clip_of[starts[1:]] = 1
    clip_of = clip_of.cumsum(dtype=np.int32)

    parts = []
    for start in starts.tolist():
        sequence = osp.basename(str(names[start])[:-_TAIL])
        match = _CLIP.fullmatch(sequence)
        if match is None:
            raise ValueError(_unparsable(path, start, names))
        subject, action, number, camera = match.groups()
        action = _ALIASES.get(action, action)
        if action not in H36M_ACTIONS:
            known = list(H36M_ACTIONS) + list(_ALIASES)
            raise ValueError(f'{_describe(path, "imgname", start, names)}: unknown action {action!r}; takes {known}')
        parts.append((subject, action, int(number or 0), camera, sequence))
    keys = ('subject', 'action', 'subaction', 'camera', 'sequence')
    return clip_of, frames, {key: np.array(values) for key, values in zip(keys, zip(*parts, strict=True), strict=True)}


def _unparsable(path: str, record: int, names: np.ndarray) -> str:
    return (
        f'{_describe(path, "imgname", record, names)}: takes SUBJECT_ACTION[_NUMBER].CAMERA_FRAME.jpg with a frame of '
        f'{_DIGITS} digits, for example S9_WalkDog_1.54138969_000001.jpg'
    )


def _prepend(prefix: str, names: np.ndarray) -> np.ndarray:
    """Put a folder before each name ``(N,)``."""
    if not prefix:
        return names
    letters = _letters(np.ascontiguousarray(names))
    joined = np.empty((len(names), len(prefix) + letters.shape[1]), dtype=np.uint32)
    joined[:, : len(prefix)] = [ord(letter) for letter in prefix]
    joined[:, len(prefix) :] = letters
    return joined.view(f'U{joined.shape[1]}')[:, 0]


def _check_finite(
    path: str, key: str, values: np.ndarray, visible: np.ndarray, kept: np.ndarray, names: np.ndarray
) -> None:
    bad = ~np.isfinite(values).all(-1) & (visible > 0)
    if bad.any():
        record, joint = np.argwhere(bad)[0]
        raise ValueError(f'{_describe(path, key, int(kept[record]), names)}: joint {joint} is not finite')
