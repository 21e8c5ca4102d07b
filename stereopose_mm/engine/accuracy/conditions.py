# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What lifters are tested under: sets of pairs, each the configs' test set with something changed."""

from __future__ import annotations

import os.path as osp
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field

import numpy as np
from mmengine.registry import DefaultScope
from mmpose.registry import DATASETS
from torch import Tensor

from ...datasets.detector_noise import MEASURED
from ...datasets.mocap_dataset import choose_clips, load_mocap
from ...datasets.pair_synthesis import MEAN_BONE_LENGTHS, PairBatch
from ...geometry import DEFAULT_FOV_DEG

_LIMBS = ('thigh', 'shin', 'upper_arm', 'forearm')
# Every body keeps the lengths it was recorded, or made, with.
_OWN_LENGTHS = dict(own_share=1.0, bone_spread=0.0, body_spread=0.0)
# Nothing but what a condition adds: detections are exact and scored 1.
_NO_ERRORS = dict(
    clean_prob=0.0, jitter=0.0, swap_prob=0.0, missing_prob=0.0, gross_prob=0.0, inversion_prob=0.0, scores=False
)


@dataclass(frozen=True)
class Condition:
    """A test set.

    Attributes:
        name: Key in :data:`CONDITIONS`.
        group: Which table it stands in.
        title: Its row in that table.
        explanation: What it is, a sentence for the page.
        overrides: Arguments of :class:`MocapDataset` in place of the test set's. ``cameras``, ``noise`` and
            ``proportions`` are completed by the test set's.
        bodies: Whether it takes the file of parametric bodies instead of the motion capture's.
        coco: Whether COCO-17 is detected, which lifters of H36M-17 get converted.
        share: Pairs, as a share of the benchmark's.
    """

    name: str
    group: str
    title: str
    explanation: str
    overrides: Mapping = field(default_factory=dict)
    bodies: bool = False
    coco: bool = False
    share: float = 1.0


def _scaled(names: Sequence[str], factor: float) -> dict:
    return dict(mean_lengths={name: factor * MEAN_BONE_LENGTHS[name] for name in names})


def _table() -> list[Condition]:
    camera, detector, people = '2D and cameras', 'Detector errors', 'People'
    clips, coco = 'Kinds of clips', 'COCO-17 detections'
    told = dict(wrong_focal_prob=1.0)
    rows = [
        Condition('exact', camera, 'exact 2D, wild cameras', 'The reference: what others differ from in one thing.'),
        Condition(
            'lab', camera, 'lab camera', "Human3.6M's: 1145 px at 1000×1002, pitch 5°…15°, 3–7 m away.",
            # A body of 1.7 m takes these shares of the height at 7 and 3 m.
            dict(cameras=dict(
                image_size=(1000, 1002), focal=(1145.0, 1145.0), pitch_deg=(5.0, 15.0), distance=(3.0, 7.0),
                body_fraction=(0.2775, 0.6475),
            )),
        ),
        Condition(
            'focal_half', camera, 'focal length told ×0.5', 'The 2D is true, the camera that is told is wrong.',
            dict(cameras=dict(told, wrong_focal=(0.5, 0.5))),
        ),
        Condition(
            'focal_double', camera, 'focal length told ×2', 'The same, the other way.',
            dict(cameras=dict(told, wrong_focal=(2.0, 2.0))),
        ),
        Condition(
            'focal_default', camera, f'focal length told for {DEFAULT_FOV_DEG:g}°',
            f'Every camera is told to see {DEFAULT_FOV_DEG:g}° across, the default where nothing is known.',
            dict(cameras=dict(told, told_fov_deg=float(DEFAULT_FOV_DEG))),
        ),
        Condition(
            'detector', detector, 'detector-like noise',
            'Errors as measured on real detections (docs/results/detector_noise.md): jitter, gross errors, inversions, '
            'swaps, missing joints, scores.',
            dict(noise=asdict(MEASURED)),
        ),
    ]  # fmt: skip
    rows += [
        Condition(
            f'missing_{count}', detector, f'{count} missing {"joint" if count == 1 else "joints"}',
            'Drawn at random, never the root; the others are exact.' if count == 1 else 'The same.',
            dict(noise=dict(_NO_ERRORS, missing_count=(count, count))),
        )
        for count in range(1, 6)
    ]  # fmt: skip
    rows += [
        Condition(
            'truncated', detector, 'truncated body',
            "The picture's edge cuts each body, mostly from below; what is left is exact.",
            dict(noise=dict(_NO_ERRORS, truncate_prob=1.0)),
        ),
        Condition(
            'normal', people, 'Human3.6M means, normal spread',
            'The reference with ± 4 % and ± 5 % as standard deviations instead of limits.',
            dict(proportions=dict(distribution='normal')),
        ),
        Condition(
            'long_limbs', people, 'long limbs', 'Arms and legs 10 % longer, the trunk as it is.',
            dict(proportions=_scaled(_LIMBS, 1.1)),
        ),
        Condition(
            'short_limbs', people, 'short limbs', 'Arms and legs 10 % shorter, the trunk as it is.',
            dict(proportions=_scaled(_LIMBS, 0.9)),
        ),
        Condition(
            'small', people, 'small body', 'Every mean length times 0.7, proportions as they are: what '
            'size alone costs.',
            dict(proportions=_scaled(list(MEAN_BONE_LENGTHS), 0.7)),
        ),
        Condition(
            'daz', people, "DAZ's skeleton", "The BVH conversion's own lengths, which are nobody's: thighs of 37 cm, "
            'hips 18 cm apart.',
            dict(proportions=_OWN_LENGTHS, subjects=['cmu02/*.bvh', 'cmu09/*.bvh', 'cmu12/*.bvh']),
        ),
        Condition(
            'asf', people, "a CMU subject's skeleton", "Subject 02's own lengths as CMU measured them (ASF).",
            dict(proportions=_OWN_LENGTHS, subjects=['cmu02/*.amc']),
        ),
        Condition(
            'anny', people, "Anny's bodies", 'Held-aside clips on parametric bodies of all ages, sexes and shapes, '
            'at their own lengths.',
            dict(proportions=_OWN_LENGTHS), bodies=True,
        ),
    ]  # fmt: skip
    seen = 'In training, under other cameras and with other bodies.'
    for name, title, explanation, patterns in (
        ('walking', 'walking', 'Held aside.', ['cmu02/02_0[12].*', 'cmu09/09_12.*', 'cmu12/12_01.*']),
        (
            'running', 'running, jumping', 'Held aside.',
            ['cmu02/02_0[34].*', 'cmu09/09_0?.*', 'cmu09/09_1[01].*'],
        ),
        (
            'upright', 'punching, bending, swordplay, washing', 'Held aside.',
            ['cmu02/02_0[5-9].*', 'cmu02/02_10.*'],
        ),
        ('tai_chi', 'tai chi', 'Held aside.', ['cmu12/12_0[23].*']),
        ('seen_sitting', 'sitting down, sitting, getting up *', seen, ['cmu14/14_2[789].*', 'cmu14/14_3[0126].*']),
        ('seen_playground', 'climbing, hanging, swinging *', seen, ['cmu01/*.amc']),
        ('seen_floor', 'on the floor *', seen, ['deepmimic/*_crawl.*', 'deepmimic/*_getup_*', 'deepmimic/*_roll.*']),
        (
            'seen_acrobatics', 'acrobatics *', seen,
            ['deepmimic/*flip.*', 'deepmimic/*_cartwheel.*', 'deepmimic/*kick.*', 'deepmimic/*_spin.*'],
        ),
    ):  # fmt: skip
        rows.append(Condition(name, clips, title, explanation, dict(subjects=patterns), share=0.25))
    own = dict(proportions=_OWN_LENGTHS)
    for name, title, explanation, overrides in (
        ('coco_exact', 'exact', "Anny's bodies at their own lengths, COCO-17 of the same bodies.", own),
        (
            'coco_means', 'exact, Human3.6M mean lengths',
            "The reference's lengths; face and offsets between the sets are the bodies'.", {},
        ),
        ('coco_detector', 'detector-like noise', 'As above.', dict(own, noise=asdict(MEASURED))),
        (
            'coco_missing_3', '3 missing keypoints', 'The others are exact.',
            dict(own, noise=dict(_NO_ERRORS, missing_count=(3, 3))),
        ),
        ('coco_truncated', 'truncated body', 'As above.', dict(own, noise=dict(_NO_ERRORS, truncate_prob=1.0))),
    ):  # fmt: skip
        rows.append(Condition(name, coco, title, explanation, overrides, bodies=True, coco=True))
    return rows


#: All conditions by name, in the order of the tables.
CONDITIONS = {condition.name: condition for condition in _table()}


@dataclass(frozen=True)
class TestSet:
    """Pairs of one condition, and where their poses are from.

    Attributes:
        condition: The condition.
        pairs: N pairs; 3D has the joints of H36M-17 first.
        directions: ``(N, 16)`` unit bone directions of the recorded poses, y-up world, ``(N, 16, 3)``.
        file_frames: ``(N,)`` index of each pose in the file.
    """

    __test__ = False  # no test case, whatever its name

    condition: Condition
    pairs: PairBatch
    directions: Tensor
    file_frames: np.ndarray

    def __len__(self) -> int:
        return len(self.pairs.keypoints)


def has_clips(condition: Condition, base: Mapping) -> bool:
    """Whether the file of the condition has any of its clips; see :func:`make_test_set`."""
    subjects = {**base, **condition.overrides}.get('subjects', ['*'])
    return bool(choose_clips(load_mocap(_path(base)), subjects, base.get('exclude', ())))


def make_test_set(condition: Condition, base: Mapping, num_pairs: int, converted: bool = True) -> TestSet:
    """Make the pairs of a condition. They depend on nothing else, so that all lifters see the same.

    Args:
        condition: The condition.
        base: Config of the reference test set, a :class:`MocapDataset`; its file is that of the condition.
        num_pairs: N for a condition of share 1.
        converted: Whether COCO-17 is converted to H36M-17, for lifters of H36M-17. Other conditions have no COCO-17.

    Returns:
        The set.

    Raises:
        ValueError: As :class:`MocapDataset`.
    """
    config = {key: deepcopy(value) for key, value in base.items() if key not in ('codec', 'pipeline')}
    for key, value in condition.overrides.items():
        # Spreads that are not overridden are the test set's; a camera or detector is one as a whole but for its rest.
        config[key] = {**(config.get(key) or {}), **value} if isinstance(value, Mapping) else value
    config['num_pairs'] = max(1, round(condition.share * num_pairs))
    if condition.coco:
        config['keypoint_set'] = 'coco_as_h36m' if converted else 'coco'
    with DefaultScope.overwrite_default_scope('mmpose'):
        dataset = DATASETS.build(config)
    pairs, frames = dataset.fixed_pairs()
    return TestSet(condition, pairs, dataset.directions[frames][:, :16], dataset.file_frames[frames.numpy()])


def _path(base: Mapping) -> str:
    root = base.get('data_root')
    return osp.join(root, base['ann_file']) if root else base['ann_file']
