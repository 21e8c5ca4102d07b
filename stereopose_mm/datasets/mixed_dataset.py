# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from mmpose.registry import DATASETS

from ..geometry import Camera
from .lifting_dataset import LiftingBatch, LiftingDataset


@DATASETS.register_module()
class MixedLiftingDataset(LiftingDataset):
    """Several data sets of 2D-3D pairs as one, drawn from in given ratios; every batch can hold pairs of each.

    What MMPose's ``CombinedDataset`` does for single samples, for whole batches: each data set makes its share of a
    batch at once, and one codec encodes all. An epoch is ``num_pairs`` pairs, whatever the sizes of the data sets;
    the indices of a batch seed what it draws, so a sampler that shuffles makes other pairs in every epoch.

    Args:
        datasets: Configs of data sets derived from :class:`LiftingDataset`, with neither codec nor pipeline.
        ratios: Share of each data set in the pairs; they are scaled to add up to one. Default: their lengths.
        num_pairs: Length of the dataset: pairs in an epoch. Default: the lengths together.
        codec: See :class:`LiftingDataset`.
        pipeline: See :class:`LiftingDataset`.
        metainfo: See :class:`LiftingDataset`.
        seed: Seed of the draws.

    Raises:
        ValueError: If there is no data set, one has a codec or a pipeline of its own or is of another kind, or the
            ratios do not fit.
    """

    def __init__(
        self,
        datasets: Sequence[dict],
        ratios: Sequence[float] | None = None,
        num_pairs: int | None = None,
        codec: dict | None = None,
        pipeline: Sequence | None = None,
        metainfo: dict | None = None,
        seed: int = 0,
    ):
        super().__init__(codec, pipeline, metainfo)
        self.datasets = [DATASETS.build(config) for config in datasets]
        if not self.datasets:
            raise ValueError('datasets takes at least one config, got none')
        for i, dataset in enumerate(self.datasets):
            if not isinstance(dataset, LiftingDataset):
                raise ValueError(f'datasets[{i}] is a {type(dataset).__name__}; takes kinds of LiftingDataset')
            if dataset.codec is not None or dataset.pipeline.transforms:
                raise ValueError(f'datasets[{i}] has a codec or a pipeline; set it on MixedLiftingDataset')
        lengths = [len(dataset) for dataset in self.datasets]
        share = np.asarray(lengths if ratios is None else ratios, dtype=np.float64)
        if share.shape != (len(lengths),) or not np.isfinite(share).all() or (share < 0).any() or not share.sum():
            raise ValueError(f'ratios takes {len(lengths)} numbers of 0 or more, not all 0, got {ratios}')
        num_pairs = sum(lengths) if num_pairs is None else num_pairs
        if num_pairs <= 0:
            raise ValueError(f'num_pairs takes a positive number, got {num_pairs}')
        # The first so many pairs are of the first data set, and so on; the sampler shuffles them.
        self._ends = np.round(np.cumsum(share / share.sum()) * num_pairs).astype(np.int64)
        self.seed = seed

    @property
    def exact_keypoints(self) -> bool:
        """Whether the 2D keypoints of all of the data sets are exact; see :class:`LiftingDataset`."""
        return all(dataset.exact_keypoints for dataset in self.datasets)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def _parts(self, indices: Sequence[int]) -> Iterator[tuple[np.ndarray, LiftingDataset, list[int]]]:
        """Places in a batch that a data set fills, the data set, and the indices of what it fills them with."""
        indices = np.asarray(indices)
        which = np.searchsorted(self._ends, indices, side='right')
        for number, dataset in enumerate(self.datasets):
            places = np.flatnonzero(which == number)
            if not len(places):
                continue
            start = self._ends[number - 1] if number else 0
            # Each pair stands for an equal part of the data set and draws from it: a small data set is gone through
            # evenly, and no pair of a large one is left out for good.
            drawn = np.random.default_rng([self.seed, number, len(places), *indices[places[:4]]]).random(len(places))
            part = len(dataset) / (self._ends[number] - start)
            own = np.floor((indices[places] - start + drawn) * part).astype(np.int64)
            yield places, dataset, own.tolist()

    def _batch(self, indices: Sequence[int]) -> LiftingBatch:
        batches, places, sources = [], [], []
        for part, dataset, own in self._parts(indices):
            batches.append(dataset._batch(own))
            places.append(part)
            sources += [type(dataset).__name__] * len(part)
        order = torch.from_numpy(np.argsort(np.concatenate(places)))
        tensors = (
            torch.cat([getattr(batch, key) for batch in batches])[order]
            for key in ('keypoints', 'keypoints_visible', 'pose_cam', 'pose_visible')
        )
        shared = sorted(set.intersection(*(set(batch.meta) for batch in batches)))
        meta = {key: [value for batch in batches for value in batch.meta[key]] for key in shared}
        return LiftingBatch(
            *tensors,
            camera=Camera.stack([batch.camera for batch in batches])[order],
            meta={key: [values[i] for i in order] for key, values in (meta | dict(source_dataset=sources)).items()},
        )

    def _data_infos(self, indices: Sequence[int]) -> list[dict]:
        infos = {}
        for places, dataset, own in self._parts(indices):
            for place, info in zip(places, dataset._data_infos(own), strict=True):
                infos[place] = info | dict(id=indices[place], source_dataset=type(dataset).__name__)
        return [infos[place] for place in range(len(indices))]
