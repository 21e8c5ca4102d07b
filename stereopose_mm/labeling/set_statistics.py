# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Numbers that describe a set of labels, gathered in one pass over its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from ..datasets.wild3d_files import column_array, find_shards
from ..datasets.wild3d_files.parquet_shards import ROW_GROUP, open_shard
from ..geometry import H36M_17
from .histogram import Histogram
from .joint_limits import joint_angles
from .splits import SPLITS

#: Half the side of the pictures of where joints are, metres, and how many cells a side has.
DENSITY_REACH, DENSITY_CELLS = 1.1, 110
#: A trunk whose front is more upwards or downwards than this, as a sine, faces nowhere.
_FACES_NOWHERE = 0.87
_MILLIMETRES = 1000.0
_BINS = {
    'quality': np.linspace(0, 1, 101),
    'expected_error_mm': np.linspace(0, 200, 101),
    'search_residual_mm': np.linspace(0, 200, 101),
    'refine_moved_mm': np.linspace(0, 200, 101),
    'reprojection_error_px': np.logspace(-7, 2, 91),
    'field_of_view_deg': np.linspace(0, 150, 76),
    'root_depth_m': np.logspace(np.log10(0.25), np.log10(160), 81),
    'person_height_px': np.logspace(1, 4, 76),
    'hand_height': np.linspace(-2.5, 3, 111),
    'elbow_flexion_deg': np.linspace(0, 180, 61),
    'knee_flexion_deg': np.linspace(0, 180, 61),
    'lean_deg': np.linspace(0, 180, 61),
    'facing_deg': np.linspace(-180, 180, 25),
}
_COLUMNS = (
    'source', 'image_id', 'width', 'bbox', 'keypoints_3d', 'camera', 'label_quality', 'reprojection_error',
    'search_residual', 'generator', 'config_hash', 'seed',
)  # fmt: skip
# Of the label generator; other sets need not have them.
_FURTHER = ('camera_source', 'keypoint_set', 'expected_error', 'refine_moved')
_NONE = 'not told'


@dataclass(eq=False)
class SourceStatistics:
    """Of the people of one source.

    Attributes:
        labels: By split.
        rejects: By reason.
        quality: Of labels.
        expected_error: Of labels, mm.
    """

    labels: Counter = field(default_factory=Counter)
    rejects: Counter = field(default_factory=Counter)
    quality: Histogram = field(default_factory=lambda: Histogram(_BINS['quality']))
    expected_error: Histogram = field(default_factory=lambda: Histogram(_BINS['expected_error_mm']))


@dataclass(eq=False)
class SetStatistics:
    """Numbers of a set, in the memory of one batch and of eight bytes for each label.

    Attributes:
        sources: By name.
        images: Distinct ones, by split.
        told: By column, how many labels tell what: generator, configuration, seed, origin of the camera, keypoint set.
        measures: Histograms by name: of quality, errors in mm and pixels, camera, and poses. ``hand_height`` is along
            the trunk, 0 at the pelvis and 1 at the thorax; ``lean_deg`` is the trunk's angle to the picture's
            vertical; ``facing_deg`` is where its front faces, 0 to the camera, positive to the picture's right.
        rejected_quality: Of rejected people, where it came to that.
        density: ``(2, 110, 110)``, how many joints are where, metres from the root: from the front with columns of x
            and rows of y, from the side with columns of z and rows of y.
        facing_nowhere: Labels whose front is up or down.
    """

    sources: dict[str, SourceStatistics] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    told: dict[str, Counter] = field(default_factory=dict)
    measures: dict[str, Histogram] = field(default_factory=lambda: {k: Histogram(v) for k, v in _BINS.items()})
    rejected_quality: Histogram = field(default_factory=lambda: Histogram(_BINS['quality']))
    density: np.ndarray = field(default_factory=lambda: np.zeros((2, DENSITY_CELLS, DENSITY_CELLS), np.int64))
    facing_nowhere: int = 0

    def source(self, name: str) -> SourceStatistics:
        """Numbers of a source."""
        return self.sources.setdefault(name, SourceStatistics())

    @property
    def labels(self) -> Counter:
        """How many, by split."""
        return sum((source.labels for source in self.sources.values()), Counter())

    @property
    def rejects(self) -> Counter:
        """How many, by reason."""
        return sum((source.rejects for source in self.sources.values()), Counter())


def gather_statistics(folder: str | Path) -> SetStatistics:
    """Read a set once.

    Args:
        folder: Of its shards ``wild3d-{split}-….parquet`` and ``rejects-….parquet``, the latter if there are any.

    Raises:
        ValueError: If there are no shards, one of several is missing, or one cannot be read or has no H36M-17 poses;
            names the file.
    """
    folder, statistics = Path(folder), SetStatistics()
    for split, paths in label_files(folder).items():
        images = []
        for path in paths:
            seen = []
            for _, batch in read_batches(path, _COLUMNS, _FURTHER):
                _add_labels(statistics, batch, split)
                seen.append(column_array(batch, 'image_id'))
            images.append(np.unique(np.concatenate([np.zeros(0, np.int64), *seen])))
        statistics.images[split] = len(np.unique(np.concatenate(images)))
    for path in sorted(folder.glob('rejects-*.parquet')):
        _add_rejects(statistics, path)
    return statistics


def label_files(folder: Path) -> dict[str, list[Path]]:
    """Shards of a set, by split.

    Raises:
        ValueError: If there is none, or one of several is missing.
    """
    splits = [split for split in SPLITS if any(folder.glob(f'wild3d-{split}-*.parquet'))]
    if not splits:
        raise ValueError(f'{folder}: has no wild3d-{{split}}-….parquet of the splits {list(SPLITS)}')
    return {split: find_shards(folder, split) for split in splits}


def read_batches(
    path: Path, columns: Sequence[str], further: Sequence[str] = ()
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Read some columns of a shard, a batch at a time.

    Args:
        path: The shard, with H36M-17 poses.
        columns: Of Wild-3D.
        further: Columns that are read where they are there.

    Yields:
        The number of the first row, and the batch.

    Raises:
        ValueError: If it cannot be read, or has other keypoints; names the file.
    """
    with open_shard(path) as file:
        if (skeleton := file.schema_arrow.metadata[b'wild3d.skeleton']) != b'h36m':
            raise ValueError(f'{path}: has {skeleton.decode()!r} keypoints; takes labels, which have h36m')
        names = [*columns, *(name for name in further if name in file.schema_arrow.names)]
        yield from _numbered(file, path, names)


def _numbered(file: pq.ParquetFile, path: Path, names: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    start = 0
    try:
        for batch in file.iter_batches(ROW_GROUP, columns=list(names), use_threads=False):
            yield start, batch
            start += len(batch)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f'{path}: no readable Parquet: {error}') from error


def _add_labels(statistics: SetStatistics, batch: pa.RecordBatch, split: str) -> None:
    for name in ('generator', 'config_hash', 'seed', 'camera_source', 'keypoint_set'):
        if name in batch.schema.names:
            statistics.told.setdefault(name, Counter()).update(_counts(batch, name))
    quality = column_array(batch, 'label_quality')
    expected = _numbers(batch, 'expected_error')
    encoded = pc.fill_null(batch.column('source'), _NONE).dictionary_encode()
    which = encoded.indices.to_numpy()
    for index, name in enumerate(encoded.dictionary.to_pylist()):
        source = statistics.source(name)
        source.labels[split] += int((which == index).sum())
        source.quality.add(quality[which == index])
        source.expected_error.add(expected[which == index])
    pose = column_array(batch, 'keypoints_3d')
    pose = np.where(pose[..., 3:] > 0, pose[..., :3], np.nan)
    measures = dict(
        quality=quality,
        expected_error_mm=expected,
        search_residual_mm=_numbers(batch, 'search_residual') * _MILLIMETRES,
        refine_moved_mm=_numbers(batch, 'refine_moved') * _MILLIMETRES,
        reprojection_error_px=_numbers(batch, 'reprojection_error'),
        person_height_px=column_array(batch, 'bbox')[:, 3],
        field_of_view_deg=_field_of_view(column_array(batch, 'camera')[:, 0], column_array(batch, 'width')),
        root_depth_m=pose[:, H36M_17.root, 2],
        **pose_measures(pose),
    )
    for name, values in measures.items():
        statistics.measures[name].add(values)
    posed = np.isfinite(measures['lean_deg']).sum()
    statistics.facing_nowhere += int(posed - np.isfinite(measures['facing_deg']).sum())
    _add_density(statistics.density, pose - pose[:, [H36M_17.root]])


def _add_rejects(statistics: SetStatistics, path: Path) -> None:
    try:
        with pq.ParquetFile(path) as file:
            for _, batch in _numbered(file, path, ('source', 'reason', 'label_quality')):
                table = pa.Table.from_batches([batch]).group_by(['source', 'reason']).aggregate([([], 'count_all')])
                for row in table.to_pylist():
                    statistics.source(row['source']).rejects[row['reason']] += row['count_all']
                statistics.rejected_quality.add(_numbers(batch, 'label_quality'))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ValueError(f'{path}: no readable table of rejected people: {error}') from error


def pose_measures(pose: np.ndarray) -> dict[str, np.ndarray]:
    """What describes poses, whatever their size.

    Args:
        pose: ``(N, 17, 3)`` H36M-17 in a camera's frame (x right, y down, z forward); NaN where not known.

    Returns:
        ``(N,)`` or ``(N, 2)`` each, see :class:`SetStatistics`; NaN where not known.
    """
    joint = {name: pose[:, index] for index, name in enumerate(H36M_17.joint_names)}
    trunk = joint['thorax'] - joint['root']
    length = np.linalg.norm(trunk, axis=-1)
    with np.errstate(invalid='ignore', divide='ignore'):
        hands = np.stack([joint['right_wrist'], joint['left_wrist']], 1) - joint['root'][:, None]
        height = (hands * trunk[:, None]).sum(-1) / np.square(length)[:, None]
        lean = np.degrees(np.arccos(np.clip(-trunk[:, 1] / length, -1, 1)))
        left = joint['left_hip'] - joint['right_hip'] + joint['left_shoulder'] - joint['right_shoulder']
        front = np.cross(left, trunk)
        front /= np.linalg.norm(front, axis=-1, keepdims=True)
        facing = np.degrees(np.arctan2(front[:, 0], -front[:, 2]))
        facing[~(np.abs(front[:, 1]) < _FACES_NOWHERE)] = np.nan
    angles = joint_angles(torch.from_numpy(np.ascontiguousarray(pose, np.float32)))
    return dict(
        hand_height=height,
        elbow_flexion_deg=angles['elbow_flexion'].numpy(),
        knee_flexion_deg=angles['knee_flexion'].numpy(),
        lean_deg=lean,
        facing_deg=facing,
    )


def _field_of_view(focal: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Horizontal, degrees; NaN where the camera is not known."""
    with np.errstate(divide='ignore'):
        return np.where(focal > 0, 2 * np.degrees(np.arctan(width / 2 / focal)), np.nan)


def _add_density(density: np.ndarray, relative: np.ndarray) -> None:
    joints = np.delete(relative, H36M_17.root, axis=1).reshape(-1, 3)
    joints = joints[np.isfinite(joints).all(-1)]
    cell = np.floor((joints + DENSITY_REACH) * (DENSITY_CELLS / 2 / DENSITY_REACH)).astype(np.int64)
    for view, across in enumerate((0, 2)):
        column, row = cell[:, across], cell[:, 1]
        inside = (np.minimum(column, row) >= 0) & (np.maximum(column, row) < DENSITY_CELLS)
        flat = row[inside] * DENSITY_CELLS + column[inside]
        density[view] += np.bincount(flat, minlength=DENSITY_CELLS**2).reshape(DENSITY_CELLS, DENSITY_CELLS)


def _counts(batch: pa.RecordBatch, name: str) -> dict:
    return {
        _NONE if entry['values'] is None else entry['values']: entry['counts']
        for entry in pc.value_counts(batch.column(name)).to_pylist()
    }


def _numbers(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """``(N,)`` float64, NaN where not told."""
    if name not in batch.schema.names:
        return np.full(len(batch), np.nan)
    return pc.cast(batch.column(name), pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
