# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Means and deviations that ``StereoPoseLifting(view='pixel')`` standardises with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpose.registry import DATASETS
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset

from ..files import whole_file
from ..geometry import H36M_17, Camera
from .mocap_dataset import MocapDataset
from .pair_synthesis import PairBatch

# The second camera of the pixel view stands this far right, metres, where a config does not say.
DEFAULT_BASELINE = 0.1
_BATCH = 4096


class _Moments:
    """Running mean and standard deviation of ``(N, K, D)`` values, in float64."""

    def __init__(self) -> None:
        self.count = self.total = self.square = 0.0

    def add(self, values: Tensor, known: Tensor) -> None:
        """Take in ``(N, K, D)`` values where ``known`` ``(N, K)``."""
        values = torch.where(known[..., None], values.double(), 0.0)
        self.count = self.count + known.sum(0)[:, None]
        self.total = self.total + values.sum(0)
        self.square = self.square + values.square().sum(0)

    def mean_std(self, name: str) -> tuple[list, list]:
        """Mean and standard deviation ``(K, D)``; ValueError if a keypoint was never known."""
        if not bool((self.count > 0).all()):
            joint = int((self.count[:, 0] == 0).nonzero()[0])
            raise ValueError(f'{name}: no record has keypoint {joint} ({H36M_17.joint_names[joint]})')
        mean = self.total / self.count
        std = (self.square / self.count - mean.square()).clamp(min=0).sqrt()
        return mean.tolist(), std.tolist()


def compute_statistics(dataset: Dataset, baseline: float, num_pairs: int = 200_000, seed: int = 0) -> dict:
    """Statistics of a data set's 2D, right views and 3D.

    Args:
        dataset: A :class:`MocapDataset`, or one of MMPose's 3D data sets with cameras (``Human36mDataset``), built
            with an empty pipeline.
        baseline: How far right the second camera stands, metres.
        num_pairs: Pairs to draw, or the most records to take, at random.
        seed: Seed of the draw.

    Returns:
        ``keypoints_mean``, ``keypoints_std``, ``right_mean``, ``right_std`` (``(K, 2)`` pixels relative to the view's
        root) and ``target_mean``, ``target_std`` (``(K, 3)`` metres relative to the root) as nested lists; and
        ``baseline`` and ``num_pairs``.

    Raises:
        ValueError: If an argument is not positive, a record has no camera, or a keypoint is in no record.
    """
    if num_pairs <= 0:
        raise ValueError(f'num_pairs takes a positive number, got {num_pairs}')
    if not np.isfinite(baseline) or baseline == 0:
        raise ValueError(f'baseline takes metres other than 0, got {baseline}')
    moments = {name: _Moments() for name in ('keypoints', 'right', 'target')}
    count, root = 0, H36M_17.root
    for pairs, labelled in _pair_batches(dataset, num_pairs, seed):
        pose, keypoints = pairs.pose_cam, pairs.keypoints
        # As the codec has it: no right view of a pose that is not before the camera, no lens in it.
        before_camera = (pose[..., 2] > 0).all(1, keepdim=True)
        shifted = torch.where(before_camera[..., None], pose - pose.new_tensor([baseline, 0.0, 0.0]), 1.0)
        right = replace(pairs.camera, distortion=None).project(shifted)
        for name, values, known in (
            ('keypoints', keypoints, pairs.keypoints_visible > 0),
            ('right', right, labelled & before_camera),
            ('target', pose, labelled),
        ):
            moments[name].add(values - values[:, root : root + 1], known)
        count += len(pose)
    if not count:
        raise ValueError('the data set has no records')
    statistics: dict = dict(baseline=baseline, num_pairs=count)
    for name, moment in moments.items():
        statistics[f'{name}_mean'], statistics[f'{name}_std'] = moment.mean_std(name)
    return statistics


def _pair_batches(dataset: Dataset, num_pairs: int, seed: int) -> Iterator[tuple[PairBatch, Tensor]]:
    """Batches of pairs, and ``(N, K)`` where their 3D is labelled."""
    if not isinstance(dataset, MocapDataset):
        order = np.random.default_rng(seed).permutation(len(dataset))[:num_pairs]
        for start in _progress(range(0, len(order), _BATCH)):
            yield _read_records(dataset, order[start : start + _BATCH])
        return
    generator = torch.Generator().manual_seed(seed)
    for start in _progress(range(0, num_pairs, _BATCH)):
        pairs, _ = dataset.make_batch(min(_BATCH, num_pairs - start), generator)
        yield pairs, torch.ones_like(pairs.keypoints_visible, dtype=torch.bool)


def _progress(batches: range) -> Iterator[int]:
    console = Console(stderr=True)
    return iter(track(batches, 'statistics', console=console, transient=True, disable=not console.is_terminal))


def _read_records(dataset: Dataset, indices: np.ndarray) -> tuple[PairBatch, Tensor]:
    records = [dataset.get_data_info(int(i)) for i in indices]
    for i, record in zip(indices, records, strict=True):
        if not record.get('camera_param'):
            raise ValueError(f'record {i} has no camera_param: set camera_param_file of the data set')

    def stacked(key: str, *shape: int) -> Tensor:
        # Of a sequence the last frame is the target.
        return torch.from_numpy(np.stack([np.asarray(r[key], np.float32)[-1] for r in records])).reshape(-1, *shape)

    num = H36M_17.num_keypoints
    pairs = PairBatch(
        stacked('keypoints', num, 2),
        stacked('keypoints_visible', num),
        stacked('lifting_target', num, 3),
        Camera.stack([Camera.from_mmpose(r['camera_param']) for r in records]),
    )
    return pairs, stacked('lifting_target_visible', num) > 0.5


def write_statistics(config: str, out: str, num_pairs: int = 200_000, baseline: float | None = None) -> dict:
    """Write the statistics of a config's training set, as ``StereoPoseLifting(statistics=...)`` reads them.

    Args:
        config: Config file. Its training set is built without its codec, which may need what is computed here.
        out: JSON file to write.
        num_pairs: See :func:`compute_statistics`.
        baseline: Metres. Default: that of the config's codec if its view is ``'pixel'``, else 0.1.

    Returns:
        What was written.

    Raises:
        ValueError: As :func:`compute_statistics`, and if the config cannot be read or has no training set.
    """
    if not Path(config).is_file():
        raise ValueError(f'no such file: {config}')
    cfg = Config.fromfile(config)
    dataset_cfg = cfg.get('train_dataloader', {}).get('dataset')
    if dataset_cfg is None:
        raise ValueError(f'{config}: has no train_dataloader.dataset')
    if baseline is None:
        codec = cfg.get('codec') or {}
        is_pixel = codec.get('view') == 'pixel' and 'baseline' in codec
        baseline = codec['baseline'] if is_pixel else DEFAULT_BASELINE
    dataset_cfg = {key: value for key, value in dataset_cfg.items() if key != 'codec'} | dict(pipeline=[])
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpose')):
        dataset = DATASETS.build(dataset_cfg)
    statistics = compute_statistics(dataset, baseline, num_pairs, seed=0)
    target = Path(out)
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as file:
        file.write_text(json.dumps(statistics) + '\n', encoding='utf-8')
    return statistics
