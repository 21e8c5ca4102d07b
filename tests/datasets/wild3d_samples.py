# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Small Wild-3D sets, and the original release's file, as the tests write them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stereopose_mm.datasets.wild3d_files import column_array, make_table, write_coco, write_parquet
from stereopose_mm.datasets.wild3d_files.wild_npy import RELEASE_CAMERA
from stereopose_mm.geometry import H36M_17, Camera

K = H36M_17.num_keypoints
# A person who stands before the camera, x right, y down, metres: H36M-17.
STANDING = np.array(
    [
        [0, 0, 0], [-0.13, 0, 0], [-0.13, 0.44, 0.02], [-0.13, 0.89, 0], [0.13, 0, 0], [0.13, 0.44, 0.02],
        [0.13, 0.89, 0], [0, -0.23, 0], [0, -0.49, 0], [0, -0.6, -0.05], [0, -0.72, 0], [0.15, -0.49, 0],
        [0.18, -0.22, 0], [0.18, 0.03, -0.05], [-0.15, -0.49, 0], [-0.18, -0.22, 0], [-0.18, 0.03, -0.05],
    ]
)  # fmt: skip
# An order with the root at 10, where the release's code has it.
RELEASE_ORDER = tuple(
    'head neck_base thorax right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist spine root '
    'right_hip right_knee right_foot left_hip left_knee left_foot'.split()
)


def make_people(num: int, camera: Camera, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Poses ``(num, 17, 3)`` in metres, camera frame, and their pixels ``(num, 17, 2)``."""
    rng = np.random.default_rng(seed)
    centre = np.stack([rng.uniform(-0.5, 0.5, num), rng.uniform(-0.3, 0.3, num), rng.uniform(3.5, 6, num)], -1)
    poses = STANDING + rng.normal(size=(num, K, 3)) * 0.05 + centre[:, None]
    return poses, camera.project(torch.from_numpy(poses)).numpy()


def sample_table(num: int = 12, seed: int = 0, **changes):
    """Rows of two sources; every third is 2D only and without a camera, every fourth lacks its head."""
    poses, pixels = make_people(num, RELEASE_CAMERA, seed)
    rows = np.arange(num)
    labelled = rows % 3 != 2
    scores = np.random.default_rng(seed).uniform(0.3, 1, (num, K)).astype(np.float32)
    scores[rows % 4 == 3, 10] = 0
    pose = np.concatenate([poses, np.ones((num, K, 1))], -1) * labelled[:, None, None]
    pose[rows % 4 == 3, 10] = 0
    camera = np.array([RELEASE_CAMERA.fx, RELEASE_CAMERA.fy, RELEASE_CAMERA.cx, RELEASE_CAMERA.cy])
    columns = dict(
        file_name=[f'{i // 2:06d}.jpg' for i in rows],  # two people in each picture
        width=np.full(num, 1000),
        height=np.full(num, 1002),
        keypoints=pixels,
        keypoint_scores=scores,
        keypoints_3d=pose,
        camera=camera * labelled[:, None],
        label_quality=np.where(labelled, 0.2 + 0.8 * rows / num, 1),
        reprojection_error=np.where(labelled, 0.5, np.nan),
        provenance=[dict(source='mpii' if i % 2 else 'lsp', source_record=f'im{i}', seed=int(i)) for i in rows],
    )
    return make_table('h36m', **columns | changes)


def write_wild3d(folder: Path, num: int = 12, pictures: bool = False) -> Path:
    """A set as the configs read it: ``annotations`` of train (2 shards) and of val (with 3D), and ``images``."""
    folder = Path(folder)
    train, val = sample_table(num), sample_table(num, seed=1)
    # What is tested on has 3D.
    val = val.take(np.flatnonzero(column_array(val, 'camera').any(1)))
    write_parquet(train, folder / 'annotations', 'train', 2)
    write_parquet(val, folder / 'annotations', 'val')
    write_coco(train, folder / 'annotations/train.json')
    if pictures:
        (folder / 'images').mkdir(exist_ok=True)
        for name in set(train.column('file_name').to_pylist()):
            Image.new('RGB', (1000, 1002), (90, 120, 150)).save(folder / 'images' / name)
    return folder


def release_numbers(num: int = 6, seed: int = 0) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """What ``wild.npy`` holds, in the order of :data:`RELEASE_ORDER`.

    Returns:
        File names, 2D ``(num, 17, 2)`` in pixels, 3D ``(num, 17, 3)`` in millimetres relative to the root, and
        where the roots are, ``(num, 3)`` in metres.
    """
    poses, pixels = make_people(num, RELEASE_CAMERA, seed)
    order = [H36M_17.index(name) for name in RELEASE_ORDER]
    root = poses[:, :1]
    return [f'{i:06d}.jpg' for i in range(num)], pixels[:, order], (poses - root)[:, order] * 1000, root[:, 0]


def write_wild_npy(path: Path, num: int = 6, planar: bool = False, as_objects: bool = False) -> Path:
    """The release's file: ``(num, 86)`` of text, or of Python objects."""
    names, pixels, pose, _ = release_numbers(num)
    if planar:
        pixels, pose = pixels.swapaxes(1, 2), pose.swapaxes(1, 2)
    numbers = np.concatenate([pixels.reshape(num, -1), pose.reshape(num, -1)], 1)
    rows = np.concatenate([np.array(names, object)[:, None], numbers.astype(object)], 1)
    # As text with all digits.
    np.save(path, rows if as_objects else np.array([[str(v) for v in row] for row in rows]), allow_pickle=True)
    return Path(path)


def write_release(folder: Path, num: int = 6) -> Path:
    """The release as it is unpacked: ``wild.npy`` and ``images``."""
    folder = Path(folder)
    (folder / 'images').mkdir(parents=True)
    for i in range(num):
        Image.new('RGB', (1000, 1002), (150, 120, 90)).save(folder / f'images/{i:06d}.jpg')
    write_wild_npy(folder / 'wild.npy', num)
    return folder
