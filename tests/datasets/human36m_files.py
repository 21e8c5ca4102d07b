# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Small files in the formats of MMPose's processed Human3.6M: every subject, clip and camera, a few frames of each."""

import json
import pickle
from pathlib import Path

import numpy as np
import torch

from stereopose_mm.geometry import Camera

ACTIONS = (
    'Directions', 'Discussion', 'Eating', 'Greeting', 'Phoning', 'Photo', 'Posing', 'Purchases', 'Sitting',
    'SittingDown', 'Smoking', 'Waiting', 'WalkDog', 'Walking', 'WalkTogether',
)  # fmt: skip
TRAIN, TEST = ('S1', 'S5', 'S6', 'S7', 'S8'), ('S9', 'S11')
CAMERAS = ('54138969', '55011271', '58860488', '60457274')
# An action's two clips are 'Action 1' and 'Action', but for these; MMPose's converter writes '_' for the space.
CLIPS = {
    'S1': {
        'Eating': ('Eating 2', 'Eating'),
        'Sitting': ('Sitting 1', 'Sitting 2'),
        'SittingDown': ('SittingDown 2', 'SittingDown'),
        'Photo': ('TakingPhoto 1', 'TakingPhoto'),
        'WalkDog': ('WalkingDog 1', 'WalkingDog'),
    },
    'S5': {
        'Directions': ('Directions 1', 'Directions 2'),
        'Discussion': ('Discussion 2', 'Discussion 3'),
        'Greeting': ('Greeting 1', 'Greeting 2'),
        'Photo': ('Photo', 'Photo 2'),
        'Waiting': ('Waiting 1', 'Waiting 2'),
    },
    'S6': {
        'Eating': ('Eating 1', 'Eating 2'),
        'Posing': ('Posing 2', 'Posing'),
        'Sitting': ('Sitting 1', 'Sitting 2'),
        'Waiting': ('Waiting 3', 'Waiting'),
    },
    'S7': {
        'Phoning': ('Phoning 2', 'Phoning'),
        'Waiting': ('Waiting 1', 'Waiting 2'),
        'Walking': ('Walking 1', 'Walking 2'),
    },
    'S8': {'WalkTogether': ('WalkTogether 1', 'WalkTogether 2')},
    'S9': {'Discussion': ('Discussion 1', 'Discussion 2')},
    'S11': {
        'Discussion': ('Discussion 1', 'Discussion 2'),
        'Greeting': ('Greeting 2', 'Greeting'),
        'Phoning': ('Phoning 3', 'Phoning 2'),
        'Smoking': ('Smoking 2', 'Smoking'),
    },
}
# Every frame counts from 1; the 64-frame test takes 1 and 65 of these.
FRAMES = dict(fps50=(1, 2, 3, 65), fps10=(1, 6, 11))
# A person who stands, metres, y down.
STANDING = np.array(
    [
        [0, 0, 0], [-0.13, 0, 0], [-0.13, 0.44, 0.02], [-0.13, 0.89, 0], [0.13, 0, 0], [0.13, 0.44, 0.02],
        [0.13, 0.89, 0], [0, -0.23, 0], [0, -0.49, 0], [0, -0.6, -0.05], [0, -0.72, 0], [0.15, -0.49, 0],
        [0.18, -0.22, 0], [0.18, 0.03, -0.05], [-0.15, -0.49, 0], [-0.18, -0.22, 0], [-0.18, 0.03, -0.05],
    ]
)  # fmt: skip
# Joints of H36M-17 that stand for COCO's nose, eyes, ears, shoulders, elbows, wrists, hips, knees and ankles.
_COCO = [9, 9, 9, 10, 10, 11, 14, 12, 15, 13, 16, 4, 1, 5, 2, 6, 3]


def clips_of(subject: str) -> list[str]:
    """Names of a subject's 30 clips, as they are in image names."""
    own = CLIPS.get(subject, {})
    names = [name for action in ACTIONS for name in own.get(action, (f'{action} 1', action))]
    return [name.replace(' ', '_') for name in names]


def camera_params() -> dict:
    """Four lenses of strong distortion, of 11 subjects: the table of ``cameras.pkl``."""
    table = {}
    for subject in range(1, 12):
        for i, serial in enumerate(CAMERAS):
            table[f'S{subject}', serial] = dict(
                R=np.eye(3),
                T=np.full((3, 1), 0.1 * subject),
                f=np.array([[1145.0 + i], [1143.5 + i]]),
                c=np.array([[512.5 - i], [515.5 - i]]),
                k=np.array([[-0.2 - 0.005 * i], [0.24], [-0.003 + 0.002 * i]]),
                p=np.array([[-0.0014], [-0.001 - 0.0005 * i]]),
                w=1000,
                h=1002 if i in (0, 3) else 1000,
                name=f'camera{i + 1}',
                id=serial,
            )
    return table


def write_human36m(folder: Path, seed: int = 0) -> Path:
    """Write a small Human3.6M.

    Args:
        folder: Folder to write, the data root: ``annotation_body3d`` with ``cameras.pkl`` and, in ``fps50`` and
            ``fps10``, ``h36m_train.npz`` and ``h36m_test.npz``; ``joint_2d_det_files`` with detections of the files of
            fps50 as NPY (``cpn_ft_h36m_dbb_train.npy``, ``..._test.npy``), and as COCO results of the test images
            (``detections_test.json``, in another order).
        seed: Seed of the poses.

    Returns:
        ``folder``.
    """
    rng = np.random.default_rng(seed)
    table = camera_params()
    cameras, number = Camera.stack([Camera.from_mmpose(c) for c in table.values()]), {k: i for i, k in enumerate(table)}
    (folder / 'joint_2d_det_files').mkdir(parents=True)
    for rate, frames in FRAMES.items():
        (folder / 'annotation_body3d' / rate).mkdir(parents=True)
        for split, subjects in (('train', TRAIN), ('test', TEST)):
            names, which = [], []
            for subject in subjects:
                for clip in clips_of(subject):
                    for serial in CAMERAS:
                        base = f'{subject}_{clip}.{serial}'
                        names += [f'{subject}/{base}/{base}_{frame:06d}.jpg' for frame in frames]
                        which += [number[subject, serial]] * len(frames)
            num = len(names)
            place = np.stack([rng.uniform(-1, 1, num), rng.uniform(-0.4, 0.4, num), rng.uniform(3.5, 5.5, num)], -1)
            poses = STANDING + rng.normal(size=(num, 17, 3)) * 0.03 + place[:, None]
            pixels = cameras[np.array(which)].project(torch.from_numpy(poses)).numpy()
            ones = np.ones((num, 17, 1))
            low, high = pixels.min(1), pixels.max(1)
            np.savez(
                folder / 'annotation_body3d' / rate / f'h36m_{split}.npz',
                imgname=np.array(names),
                center=(low + high) / 2,
                scale=1.2 * (high - low).max(1) / 200,
                part=np.concatenate([pixels, ones], -1),
                S=np.concatenate([poses, ones], -1),
            )
            if rate == 'fps50':
                _write_detections(folder / 'joint_2d_det_files', split, names, pixels, rng)
    with open(folder / 'annotation_body3d' / 'cameras.pkl', 'wb') as file:
        pickle.dump(table, file)
    return folder


def _write_detections(folder: Path, split: str, names: list, pixels: np.ndarray, rng: np.random.Generator) -> None:
    """Detections some pixels off, a few joints missing."""
    found = pixels + rng.normal(size=pixels.shape) * 3
    scores = rng.uniform(0.5, 1, size=(*pixels.shape[:2], 1)) * (rng.random((*pixels.shape[:2], 1)) > 0.02)
    np.save(folder / f'cpn_ft_h36m_dbb_{split}.npy', np.concatenate([found, scores], -1).astype(np.float32))
    if split == 'test':
        results = [
            dict(
                file_name=names[i],
                category_id=1,
                keypoints=np.concatenate([found[i, _COCO], np.full((17, 1), 0.9)], -1).round(2).ravel().tolist(),
                score=0.9,
            )
            for i in rng.permutation(len(names))
        ]
        (folder / 'detections_test.json').write_text(json.dumps(results), encoding='utf-8')
