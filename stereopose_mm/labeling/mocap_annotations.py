# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Annotated people whose poses are known: motion capture, written as a set of COCO's with its truth."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from torch import Generator, Tensor

from ..apis.lifting import shipped_lifter
from ..datasets.mocap_dataset import MocapDataset
from ..datasets.pair_synthesis import PairBatch
from ..files import whole_file
from ..geometry import COCO_17
from .calibration import HIDDEN, POPULATION, Kind

#: By name, the kinds of 2D in :data:`~.calibration.POPULATION`, and their shares.
NOISES = {
    'none': {'exact': 1.0},
    'annotator': {'annotated': 1.0},
    'detector': {'detected': 1.0},
    'mixed': {name: kind.share for name, kind in POPULATION.items()},
}
#: Subjects: all, those that the shipped lifter for COCO's keypoints was trained with, or those held aside.
SUBJECTS = ('all', 'train', 'test')
# People are made so many at a time, and each chunk has a seed of its own.
_CHUNK = 4096
# What a detector scores less counts as hidden.
_DOUBTED = 0.5
# Boxes are wider than the keypoints by this share on each side.
_MARGIN = 0.1
_PERSON = 1
_IMAGE = '{"id": %d, "file_name": "mocap/%012d.jpg", "width": %d, "height": %d}'
_ANNOTATION = (
    f'{{"id": %d, "image_id": %d, "category_id": {_PERSON}, "iscrowd": 0, "bbox": [%.2f, %.2f, %.2f, %.2f], '
    f'"area": %.2f, "num_keypoints": %d, "keypoints": [{", ".join(["%.2f, %.2f, %d"] * COCO_17.num_keypoints)}]}}'
)


@dataclass(frozen=True)
class MocapAnnotations:
    """What :func:`write_mocap_annotations` wrote.

    Attributes:
        people: As many images, each with one.
        unmarked: Of them, those without a keypoint in the picture.
        poses: How many different recorded poses they are in.
    """

    people: int
    unmarked: int
    poses: int


@dataclass(frozen=True, eq=False)
class _People:
    """A chunk of n people.

    Attributes:
        keypoints: ``(n, 17, 2)`` pixels, 0 where not marked.
        flags: ``(n, 17)`` COCO's.
        bbox: ``(n, 4)`` pixels: x, y, width, height.
        truth: Rows of the arrays of :func:`_truth_arrays`, by name.
    """

    keypoints: np.ndarray
    flags: np.ndarray
    bbox: np.ndarray
    truth: Mapping[str, np.ndarray]


def write_mocap_annotations(
    mocap: str | Path,
    out: str | Path,
    truth: str | Path,
    num: int,
    noise: str = 'annotator',
    seed: int = 0,
    split: str = 'all',
) -> MocapAnnotations:
    """Write a COCO-format file of people whose 3D poses are known, and their poses; both whole or none.

    Recorded poses of bodies are seen by cameras as the shipped lifter for COCO's keypoints was tested with, one person
    to an image of a name that no file needs to have. A keypoint's flag is 2; 1 where an annotator sees it hidden, which
    one in five is taken for, or a detector scores it less than 0.5; 0 where it is missing or outside the image.
    Memory is bounded by a chunk of people. The same arguments give the same bytes.

    Args:
        mocap: NPZ of ``tools/dataset_converters/mocap2bodies.py``.
        out: JSON file.
        truth: NPZ file: ``id`` ``(num,)`` of annotations and images, ``joints`` ``(num, 17, 3)`` float32 metres of
            H36M-17 in the camera frame, ``camera`` ``(num, 6)`` float32 (fx, fy, cx, cy, width, height; pixels),
            ``frame`` ``(num,)`` of the recorded poses that were drawn from, ``kind`` ``(num,)`` index of
            ``kind_names``.
        num: How many people; poses repeat with other cameras where that is more than were recorded.
        noise: Errors of the 2D, one of :data:`NOISES`.
        seed: Of all randomness.
        split: One of :data:`SUBJECTS`.

    Raises:
        ValueError: For wrong arguments, or a file of motion capture that cannot be used; nothing was written then.
    """
    out, truth = Path(out), Path(truth)
    _check_arguments(out, truth, num, noise, seed, split)
    kinds = _datasets(mocap, NOISES[noise], split)
    unmarked = 0
    for path in (out, truth):
        path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(truth) as truth_file, whole_file(out) as json_file, _truth_arrays(truth_file, num) as arrays:
        size = next(iter(kinds.values())).cameras.image_size
        with open(json_file, 'w', encoding='ascii') as file:
            _write_head(file, num, size, dict(noise=noise, seed=seed, split=split))
            for start, people in _chunks(kinds, NOISES[noise], num, seed):
                rows = slice(start, start + len(people.flags))
                arrays['id'][rows] = np.arange(rows.start, rows.stop) + 1
                for name, values in people.truth.items():
                    arrays[name][rows] = values
                file.write((',\n' if start else '') + _annotation_lines(arrays['id'][rows], people))
                unmarked += int((people.flags == 0).all(1).sum())
            file.write('\n]}\n')
        poses = len(np.unique(arrays['frame']))
    return MocapAnnotations(num, unmarked, poses)


def _check_arguments(out: Path, truth: Path, num: int, noise: str, seed: int, split: str) -> None:
    if isinstance(num, bool) or not isinstance(num, int) or num < 1:
        raise ValueError(f'num takes a whole number of at least 1, got {num!r}')
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f'seed takes a whole number of at least 0, got {seed!r}')
    for name, value, known in (('noise', noise, tuple(NOISES)), ('split', split, SUBJECTS)):
        if value not in known:
            raise ValueError(f'{name} takes one of {known}, got {value!r}')
    for name, path, suffix in (('out', out, '.json'), ('truth', truth, '.npz')):
        if path.suffix != suffix:
            raise ValueError(f'{name} takes a file name that ends in {suffix}, got {path}')


def _datasets(mocap: str | Path, kinds: Sequence[str], split: str) -> dict[str, MocapDataset]:
    """What makes people of each kind, as the shipped lifter is tested."""
    config = Config.fromfile(str(shipped_lifter('coco')[0]))
    test, train = config.test_dataloader.dataset, config.train_dataloader.dataset
    dataset = MocapDataset(
        str(mocap),
        1,
        subjects=test['subjects'] if split == 'test' else ('*',),
        exclude=train['exclude'] if split == 'train' else test['exclude'],
        proportions=test['proportions'],
        cameras=test['cameras'],
        keypoint_set='coco',
    )
    # They differ in their noise, and share the poses.
    datasets = {kind: copy(dataset) for kind in kinds}
    for kind in kinds:
        datasets[kind].noise = POPULATION[kind].noise
    return datasets


def _chunks(
    datasets: Mapping[str, MocapDataset], shares: Mapping[str, float], num: int, seed: int
) -> Iterator[tuple[int, _People]]:
    """People in chunks, and where in the file each starts."""
    bounds = np.cumsum([0.0, *shares.values()])
    for start in range(0, num, _CHUNK):
        state = np.random.SeedSequence([seed, start]).generate_state(1, np.uint64)[0]
        generator = Generator().manual_seed(int(state) >> 1)
        counts = np.diff(np.round(bounds * min(_CHUNK, num - start)).astype(int))
        parts = [
            _make_people(dataset, POPULATION[kind], list(POPULATION).index(kind), int(count), generator)
            for (kind, dataset), count in zip(datasets.items(), counts, strict=True)
            if count
        ]
        order = torch.randperm(sum(len(part.flags) for part in parts), generator=generator).numpy()
        yield (
            start,
            _People(
                *(
                    np.concatenate([getattr(part, name) for part in parts])[order]
                    for name in ('keypoints', 'flags', 'bbox')
                ),
                {name: np.concatenate([part.truth[name] for part in parts])[order] for name in parts[0].truth},
            ),
        )


def _make_people(dataset: MocapDataset, kind: Kind, index: int, num: int, generator: Generator) -> _People:
    pairs, frames = dataset.make_batch(num, generator)
    flags = _flags(pairs, kind, generator)
    marked = flags[..., None] > 0
    camera = pairs.camera
    values = (camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height)
    return _People(
        torch.where(marked, pairs.keypoints, 0.0).numpy(),
        flags.numpy(),
        _boxes(pairs, marked).numpy(),
        dict(
            joints=pairs.pose_cam[:, :17].numpy(),
            camera=torch.stack(values, -1).numpy(),
            frame=frames.numpy(),
            kind=np.full(num, index),
        ),
    )


def _flags(pairs: PairBatch, kind: Kind, generator: Generator) -> Tensor:
    """``(n, 17)`` COCO's visibility."""
    scores, size = pairs.keypoints_visible, torch.stack([pairs.camera.width, pairs.camera.height], -1)[:, None]
    inside = ((pairs.keypoints >= 0) & (pairs.keypoints < size)).all(-1)
    hidden = torch.rand(scores.shape, generator=generator) < HIDDEN if kind.annotated else scores < _DOUBTED
    return torch.where(inside & (scores > 0), torch.where(hidden, 1, 2), 0)


def _boxes(pairs: PairBatch, marked: Tensor) -> Tensor:
    """``(n, 4)`` boxes about the marked keypoints, within the image; zeros where none is marked."""
    low = torch.where(marked, pairs.keypoints, torch.inf).amin(1)
    high = torch.where(marked, pairs.keypoints, -torch.inf).amax(1)
    margin = _MARGIN * (high - low)
    size = torch.stack([pairs.camera.width, pairs.camera.height], -1)
    low, high = (low - margin).clamp(min=0), torch.minimum(high + margin, size)
    return torch.where(marked.any(1), torch.cat([low, high - low], -1), 0.0)


def _write_head(file, num: int, size: Sequence[int], told: Mapping) -> None:
    """All that comes before the first annotation."""
    info = dict(description='People posed by motion capture, without images', **told)
    links = [[parent + 1, child + 1] for parent, child in COCO_17.bones]
    category = dict(
        id=_PERSON, name='person', supercategory='person', keypoints=list(COCO_17.joint_names), skeleton=links
    )
    file.write(f'{{"info": {json.dumps(info)},\n"categories": [{json.dumps(category)}],\n"images": [\n')
    for start in range(1, num + 1, _CHUNK):
        ids = range(start, min(start + _CHUNK, num + 1))
        file.write((',\n' if start > 1 else '') + ',\n'.join([_IMAGE % (i, i, *size) for i in ids]))
    file.write('\n],\n"annotations": [\n')


def _annotation_lines(ids: np.ndarray, people: _People) -> str:
    triples = np.concatenate([people.keypoints, people.flags[..., None]], -1, dtype=np.float64)
    area = people.bbox[:, 2:].prod(1, keepdims=True)
    marked = (people.flags > 0).sum(1, keepdims=True)
    columns = [ids[:, None], ids[:, None], people.bbox, area, marked, triples.reshape(len(ids), -1)]
    return ',\n'.join([_ANNOTATION % tuple(row) for row in np.concatenate(columns, 1, dtype=np.float64).tolist()])


@contextmanager
def _truth_arrays(path: Path, num: int) -> Iterator[dict[str, np.ndarray]]:
    """Arrays on disk, which become the NPZ when all went well: they need not fit into memory."""
    shapes = dict(
        id=(np.int64, ()), joints=(np.float32, (17, 3)), camera=(np.float32, (6,)), frame=(np.int32, ()),
        kind=(np.uint8, ()),
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix=f'{path.stem}.', dir=path.parent) as folder:
        files = {name: Path(folder, f'{name}.npy') for name in (*shapes, 'kind_names')}
        arrays = {
            name: np.lib.format.open_memmap(files[name], 'w+', kind, (num, *shape))
            for name, (kind, shape) in shapes.items()
        }
        yield arrays
        for array in arrays.values():
            array.flush()
        np.save(files['kind_names'], np.array(list(POPULATION)))
        with zipfile.ZipFile(path, 'w') as archive:
            for file in files.values():
                # An entry with no date but zip's first: the same truth is the same bytes.
                with (
                    open(file, 'rb') as source,
                    archive.open(zipfile.ZipInfo(file.name), 'w', force_zip64=True) as entry,
                ):
                    shutil.copyfileobj(source, entry, 1 << 20)
