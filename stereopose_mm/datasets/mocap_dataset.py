# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import fnmatch
import os.path as osp
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from mmpose.registry import DATASETS
from torch import Tensor

from ..files import read_npz
from ..geometry import H36M_17, H36M_COCO, Camera
from .detector_noise import DetectorNoise
from .lifting_dataset import LiftingBatch, LiftingDataset
from .pair_synthesis import KEYPOINT_SETS, CameraDistribution, PairBatch, Proportions, make_pairs, split_bones
from .pose_augmentation import PoseAugmentation

_NPZ_KEYS = ('joints', 'clip_index', 'clip_names', 'clip_subjects')
# Pairs of a test set are made this many at a time, whatever the batch size, so that they do not depend on it.
_TEST_CHUNK = 4096


def choose_clips(clips: Mapping[str, np.ndarray], subjects: Sequence[str], exclude: Sequence[str] = ()) -> list[int]:
    """Clips that patterns name, by their positions in the file.

    Args:
        clips: From :func:`~stereopose_mm.datasets.mocap_files.load_mocap`.
        subjects: Patterns of subjects, or of ``subject/file``; any of them chooses a clip.
        exclude: Patterns of those that are left out all the same.
    """

    def matches(clip: int, patterns: Sequence[str]) -> bool:
        subject = str(clips['clip_subjects'][clip])
        texts = (subject, f'{subject}/{osp.basename(clips["clip_names"][clip])}')
        return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns for text in texts)

    count = len(clips['clip_names'])
    return [clip for clip in range(count) if matches(clip, subjects) and not matches(clip, exclude)]


@DATASETS.register_module()
class MocapDataset(LiftingDataset):
    """2D–3D pairs made on the fly from motion capture: clips' poses, people's proportions, random cameras.

    See :class:`LiftingDataset` for ``codec`` and ``pipeline``. Training pairs differ in every epoch of a sampler that
    shuffles, as a batch's indices seed it; the same seed gives the same pairs in the same order. With ``test_mode`` the
    pairs are a fixed set.

    Args:
        ann_file: NPZ from ``tools/dataset_converters/mocap2npz.py`` (H36M-17), or ``mocap2bodies.py`` (H36M-17 and
            COCO-17 of the same bodies).
        num_pairs: Length of the dataset: pairs in an epoch.
        data_root: Folder that ``ann_file`` is relative to.
        subjects: Subjects or clips (``fnmatch`` patterns over ``subject`` and ``subject/clip``) to take. Default: all.
        exclude: Patterns of subjects or clips to leave out of those.
        proportions: Arguments of :class:`Proportions`.
        cameras: Arguments of :class:`CameraDistribution`.
        noise: Arguments of :class:`DetectorNoise`. Default: exact 2D.
        augmentation: Arguments of :class:`PoseAugmentation`. Default: the clips' poses as they are.
        mirror_prob: Probability of mirroring a pose.
        keypoint_set: ``'h36m'``, ``'coco'`` or ``'coco_as_h36m'``; see :func:`make_pairs`. COCO needs a file of bodies.
        clip_balance: A clip is drawn with probability in proportion to its length to this power: 1 draws all frames
            alike, 0 all clips alike.
        codec: Config of a codec with ``encode_batch``.
        pipeline: MMPose transforms.
        seed: Seed of all randomness.
        test_mode: Make a fixed set.
        device: Where pairs are made and encoded, for example ``'cuda'``: no pair then passes through the processor's
            memory (the data loader takes ``num_workers=0``). Devices draw other numbers from the same seed.
        metainfo: Dataset information instead of MMPose's for Human3.6M.

    Raises:
        ValueError: If the file is no such NPZ (names the file and the key), or no clip is left.
    """

    def __init__(
        self,
        ann_file: str,
        num_pairs: int,
        data_root: str | None = None,
        subjects: Sequence[str] = ('*',),
        exclude: Sequence[str] = (),
        proportions: dict | None = None,
        cameras: dict | None = None,
        noise: dict | None = None,
        augmentation: dict | None = None,
        mirror_prob: float = 0.5,
        keypoint_set: str = 'h36m',
        clip_balance: float = 1.0,
        codec: dict | None = None,
        pipeline: Sequence | None = None,
        seed: int = 0,
        test_mode: bool = False,
        device: str = 'cpu',
        metainfo: dict | None = None,
    ):
        if num_pairs <= 0:
            raise ValueError(f'num_pairs takes a positive number, got {num_pairs}')
        if keypoint_set not in KEYPOINT_SETS:
            raise ValueError(f'keypoint_set takes one of {KEYPOINT_SETS}, got {keypoint_set!r}')
        super().__init__(codec, pipeline, metainfo)
        self.keypoint_set, self.device = keypoint_set, torch.device(device)
        self.num_pairs, self.seed, self.test_mode, self.mirror_prob = num_pairs, seed, test_mode, mirror_prob
        self.proportions = Proportions(**(proportions or {}))
        self.cameras = CameraDistribution(**(cameras or {}))
        self.noise = DetectorNoise(**(noise or {}))
        self.augmentation = PoseAugmentation(**augmentation) if augmentation else None
        self.ann_file = osp.join(data_root, ann_file) if data_root else ann_file
        self._load_clips(subjects, exclude, clip_balance)
        self._fixed = self._make_fixed_set() if test_mode else None

    @property
    def exact_keypoints(self) -> bool:
        """Whether no detector is imitated; see :class:`LiftingDataset`."""
        return self.noise.clean_prob == 1

    def _load_clips(self, subjects: Sequence[str], exclude: Sequence[str], clip_balance: float) -> None:
        clips = load_mocap(self.ann_file)
        kept = choose_clips(clips, subjects, exclude)
        if not kept:
            raise ValueError(f'{self.ann_file}: no clip matches subjects={subjects} and not exclude={exclude}')
        #: Index in the file of each pose.
        self.file_frames = frames = np.flatnonzero(np.isin(clips['clip_index'], kept))
        clip_of_frame = clips['clip_index'][frames]
        length = np.bincount(clip_of_frame)[clip_of_frame]
        joints = torch.from_numpy(clips['joints'][frames])
        if self.keypoint_set == 'h36m':
            joints = joints[:, : H36M_17.num_keypoints]
        elif joints.shape[1] != H36M_COCO.num_keypoints:
            raise ValueError(
                f'{self.ann_file}: keypoint_set={self.keypoint_set!r} takes a file with COCO-17 too, from '
                f'tools/dataset_converters/mocap2bodies.py; it has {joints.shape[1]} joints'
            )
        self.clip_names = [str(clips['clip_names'][c]) for c in kept]
        try:
            directions, lengths = split_bones(joints)
        except ValueError as error:
            raise ValueError(f'{self.ann_file}: of the chosen frames, {error}') from error
        self._frame_clip = [str(n) for n in clips['clip_names'][clip_of_frame]]
        self._frame_subject = [str(s) for s in clips['clip_subjects'][clip_of_frame]]
        weight = torch.from_numpy(length.astype(np.float64) ** (clip_balance - 1))
        self._cumulative = (weight.cumsum(0) / weight.sum()).float().to(self.device)
        self.directions, self.lengths = directions.to(self.device), lengths.to(self.device)

    def __len__(self) -> int:
        return self.num_pairs

    def make_batch(self, num: int, generator: torch.Generator) -> tuple[PairBatch, Tensor]:
        """Make pairs from randomly drawn frames.

        Args:
            num: Number of pairs N.
            generator: Source of randomness, on the dataset's device.

        Returns:
            :class:`PairBatch` of N pairs, and the ``(N,)`` indices of the frames that they were made from.
        """
        drawn = torch.rand(num, generator=generator, device=self.device)
        frames = torch.searchsorted(self._cumulative, drawn).clamp(max=len(self.directions) - 1)
        batch = make_pairs(
            self.directions[frames],
            generator,
            self.proportions,
            self.cameras,
            self.noise,
            self.augmentation,
            self.mirror_prob,
            self.lengths[frames],
            self.keypoint_set,
        )
        return batch, frames

    def fixed_pairs(self) -> tuple[PairBatch, Tensor]:
        """The fixed set of ``test_mode``: :class:`PairBatch` of all pairs, and the frames they were made from.

        Raises:
            ValueError: Without ``test_mode``.
        """
        if self._fixed is None:
            raise ValueError('fixed_pairs takes test_mode=True: training pairs are new each time')
        return self._fixed

    def _make_fixed_set(self) -> tuple[PairBatch, Tensor]:
        generator = torch.Generator(self.device).manual_seed(self.seed)
        chunks = [
            self.make_batch(min(_TEST_CHUNK, self.num_pairs - start), generator)
            for start in range(0, self.num_pairs, _TEST_CHUNK)
        ]
        batches = [batch for batch, _ in chunks]
        pairs = PairBatch(
            *(torch.cat([getattr(b, k) for b in batches]) for k in ('keypoints', 'keypoints_visible', 'pose_cam')),
            Camera.stack([b.camera for b in batches]),
        )
        return pairs, torch.cat([frames for _, frames in chunks])

    def _pairs(self, indices: Sequence[int]) -> tuple[PairBatch, Tensor]:
        """Pairs for these indices; in training their values only seed the draw, which no epoch repeats."""
        if self._fixed is None:
            seed = np.random.SeedSequence([self.seed, len(indices), *indices[:4]]).generate_state(1, np.uint64)[0]
            return self.make_batch(len(indices), torch.Generator(self.device).manual_seed(int(seed) >> 1))
        pairs, frames = self._fixed
        index = torch.as_tensor(indices, device=self.device)
        selected = PairBatch(
            pairs.keypoints[index], pairs.keypoints_visible[index], pairs.pose_cam[index], pairs.camera[index]
        )
        return selected, frames[index]

    def _batch(self, indices: Sequence[int]) -> LiftingBatch:
        pairs, frames = self._pairs(indices)
        known = torch.ones_like(pairs.pose_cam[..., 0])
        if self.codec is not None and not self.test_mode:
            # Nobody asks where a training batch is from, and telling would make it wait for its device.
            return LiftingBatch(pairs.keypoints, pairs.keypoints_visible, pairs.pose_cam, known, pairs.camera)
        frames = frames.tolist()
        clips = [self._frame_clip[frame] for frame in frames]
        meta = dict(
            # A list, as MMPose's datasets of sequences have it.
            target_img_path=[[f'{clip}_{index:06d}'] for clip, index in zip(clips, indices, strict=True)],
            subject=[self._frame_subject[frame] for frame in frames],
            clip=clips,
        )
        return LiftingBatch(pairs.keypoints, pairs.keypoints_visible, pairs.pose_cam, known, pairs.camera, meta)

    def _camera_params(self, indices: Sequence[int], batch: LiftingBatch) -> list[dict]:
        width, height = self.cameras.image_size
        return [
            dict(K=matrix, f=matrix[[0, 1], [0, 1]][:, None], c=matrix[:2, 2:], w=width, h=height)
            for matrix in batch.camera.matrix.cpu().numpy()
        ]


def load_mocap(path: str) -> dict[str, np.ndarray]:
    """Read the NPZ that ``tools/dataset_converters/mocap2npz.py`` writes.

    Args:
        path: The file.

    Returns:
        Its arrays: ``joints`` ``(F, J, 3)`` metres in a y-up world (J = 17, or 34 with COCO-17), ``clip_index``
        ``(F,)``, ``clip_names`` and ``clip_subjects`` ``(C,)``, and the rest of the file's.

    Raises:
        ValueError: If it is missing, unreadable or not such a file; names the file and the key.
    """
    clips = read_npz(path, 'make it with tools/dataset_converters/mocap2npz.py')
    missing = [key for key in _NPZ_KEYS if key not in clips]
    if missing:
        raise ValueError(f'{path}: no key {missing[0]!r}; it has {sorted(clips)}')
    joints, clip_index = clips['joints'], clips['clip_index']
    fits = joints.shape[1:] in ((17, 3), (34, 3)) and clip_index.shape == joints.shape[:1]
    if not fits or not len(joints):
        raise ValueError(
            f'{path}: joints takes (F, 17, 3) or (F, 34, 3) with clip_index (F,), '
            f'got {joints.shape} and {clip_index.shape}'
        )
    bad = ~np.isfinite(joints).all((1, 2))
    if bad.any():
        frame = int(bad.argmax())
        raise ValueError(f'{path}: joints of frame {frame} (clip {clip_index[frame]}) are not finite')
    if clip_index.min() < 0 or clip_index.max() >= len(clips['clip_names']):
        raise ValueError(f'{path}: clip_index names clip {clip_index.max()}, but there are {len(clips["clip_names"])}')
    return clips
