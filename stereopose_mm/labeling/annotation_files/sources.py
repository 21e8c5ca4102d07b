# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What each data set annotates, and what of it stands for the keypoints that the lifters take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...geometry import get_skeleton

#: Scores that stand for an annotator's accuracy, by visibility. 1 would tell the lifter that a keypoint is exact and
#: has to be met whatever it costs; the best detectors that it was trained with score an error of nothing 0.9.
ANNOTATED_SCORES = (0.0, 0.7, 0.9)
#: A detected keypoint that scores less was not found.
MIN_SCORE = 0.1
#: Visibility by flag, as COCO has them: 0 not marked, 1 marked but hidden, 2 visible.
COCO_FLAGS = {0: 0, 1: 1, 2: 2}
#: Where a flag only tells what is marked.
MARKED_FLAGS = {0: 0, 1: 2}


@dataclass(frozen=True)
class Source:
    """A data set's keypoints.

    Attributes:
        name: Of the data set.
        keypoint_set: ``'coco'`` or ``'h36m'``: what they are converted to.
        keypoints: Names of its own, in its order.
        mapping: Names of its keypoints by name of the set's: a tuple of alternatives, of which the first that is
            marked counts; each a tuple of keypoints, the mean of which it is. What the set has beyond is missing.
        flags: Visibility by flag; empty where scores stand in their place.
        counts: How many keypoints a record can have. Those beyond ``keypoints`` are left out.
        origin: Coordinate of the first pixel.
    """

    name: str
    keypoint_set: str
    keypoints: tuple[str, ...]
    mapping: Mapping[str, tuple[tuple[str, ...], ...]]
    flags: Mapping[int, int] = field(default_factory=lambda: COCO_FLAGS)
    counts: tuple[int, ...] = ()
    origin: int = 0

    @property
    def num_values(self) -> tuple[int, ...]:
        """How many numbers a record's keypoints can be: three each."""
        return tuple(3 * count for count in self.counts or (len(self.keypoints),))

    def alternatives(self) -> list[tuple[int, list[int]]]:
        """Indices of a keypoint of the set and of the source's that stand for it, first alternatives first."""
        target = get_skeleton(self.keypoint_set)
        index = {name: k for k, name in enumerate(self.keypoints)}
        return [
            (target.index(name), [index[part] for part in parts])
            for name, choices in self.mapping.items()
            for parts in choices
        ]


_COCO = get_skeleton('coco').joint_names
_SAME = {name: ((name,),) for name in _COCO}
_LIMBS = {
    f'{side}_{ours}': ((f'{side}_{theirs}',),)
    for side in ('left', 'right')
    for ours, theirs in {
        'hip': 'hip', 'knee': 'knee', 'foot': 'ankle', 'shoulder': 'shoulder', 'elbow': 'elbow', 'wrist': 'wrist',
    }.items()
}  # fmt: skip
_MID_HIPS, _MID_SHOULDERS = ('left_hip', 'right_hip'), ('left_shoulder', 'right_shoulder')


def _to_h36m(head: str, *necks: str) -> dict:
    """To H36M-17 from limbs, the top of the head, and what stands for the neck: the first of these that is marked."""
    return {
        'root': (_MID_HIPS,), **_LIMBS, 'thorax': (_MID_SHOULDERS,), 'head': ((head,),),
        'neck_base': tuple((neck,) for neck in necks),
    }  # fmt: skip


# COCO-17 comes first in all of these, and then more.
_COCO_MORE = {'coco': (), 'ochuman': (), 'coco_wholebody': (17, 133), 'humanart': (17, 21), 'halpe': (26, 136)}
_AIC = (
    'right_shoulder', 'right_elbow', 'right_wrist', 'left_shoulder', 'left_elbow', 'left_wrist', 'right_hip',
    'right_knee', 'right_ankle', 'left_hip', 'left_knee', 'left_ankle', 'head_top', 'neck',
)  # fmt: skip
_CROWDPOSE = (*_COCO[5:], 'head', 'neck')
_POSETRACK = ('nose', 'head_bottom', 'head_top', *_COCO[3:])
_MPII = (
    'right_ankle', 'right_knee', 'right_hip', 'left_hip', 'left_knee', 'left_ankle', 'pelvis', 'thorax', 'upper_neck',
    'head_top', 'right_wrist', 'right_elbow', 'right_shoulder', 'left_shoulder', 'left_elbow', 'left_wrist',
)  # fmt: skip
_LSP = (*_MPII[:6], *_MPII[10:], 'neck', 'head_top')

#: By format. Sets with a face go to COCO-17, the others to H36M-17, which has the top of the head. On mocap, limbs and
#: head top lift to a mean error of 101 mm as H36M-17, with a neck half-way to the thorax as its "neck_base" to 93 mm,
#: and the limbs as COCO-17 without a face to 134 mm; a nose alone makes it 107 mm there, 97 mm as "neck_base".
SOURCES = {
    **{name: Source(name, 'coco', _COCO, _SAME, counts=counts) for name, counts in _COCO_MORE.items()},
    'coco_results': Source('coco_results', 'coco', _COCO, _SAME, flags={}, counts=(17, 21, 26, 133, 136)),
    'aic': Source('aic', 'h36m', _AIC, _to_h36m('head_top', 'neck')),
    'crowdpose': Source('crowdpose', 'h36m', _CROWDPOSE, _to_h36m('head', 'neck')),
    'lsp': Source('lsp', 'h36m', _LSP, _to_h36m('head_top', 'neck')),
    'lspet': Source('lspet', 'h36m', _LSP, _to_h36m('head_top', 'neck')),
    # The ears are never annotated.
    'posetrack18': Source(
        'posetrack18', 'h36m', _POSETRACK, _to_h36m('head_top', 'nose', 'head_bottom'), flags=MARKED_FLAGS
    ),
    # The file counts pixels from 1, as MATLAB does. Pelvis and thorax are marked where H36M-17 has them.
    'mpii': Source(
        'mpii', 'h36m', _MPII,
        {
            **_to_h36m('head_top', 'upper_neck'),
            'root': (('pelvis',), _MID_HIPS), 'thorax': (('thorax',), _MID_SHOULDERS),
        },
        origin=1,
    ),
}  # fmt: skip
