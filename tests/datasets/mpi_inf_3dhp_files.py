# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Writes MPI-INF-3DHP's files small but in their full formats: all sequences, subjects, cameras and keys."""

import itertools
import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from stereopose_mm.datasets.converters import convert_mpi_inf_3dhp_test_set
from stereopose_mm.geometry import Camera
from stereopose_mm.geometry.skeletons import to_h36m_mapping

from .conftest import STANDING

ROOT = 14
SEQUENCES = ('TS1', 'TS2', 'TS3', 'TS4', 'TS5', 'TS6')
# The calibration that comes with the test set, but for the lens of the outdoor camera.
STUDIO = dict(f=[1500.172, 1500.832], c=[1017.387, 1043.032], w=2048, h=2048)
OUTDOOR = dict(f=[1683.983, 1672.594], c=[939.858, 560.141], w=1920, h=1080)
TRAIN_CAMERAS = (0, 1, 2, 4, 5, 6, 7, 8)


def camera_of(sequence: str) -> dict:
    """True camera of a test sequence."""
    return OUTDOOR if sequence in ('TS5', 'TS6') else STUDIO


def make_poses(rng: np.random.Generator, num: int) -> np.ndarray:
    """A person before a camera, ``(num, 17, 3)`` metres: turns slowly, leans, stands here and there."""
    mapping = to_h36m_mapping('mpi_inf_3dhp')
    standing = np.empty((17, 3))
    for h36m, (own,) in mapping.items():
        standing[own] = STANDING[h36m] * [1, -1, -1]  # y up to y down
    turn = Rotation.from_euler('y', rng.uniform(0, 2 * np.pi) + 0.02 * np.arange(num)[:, None])
    lean = Rotation.from_euler('xz', rng.uniform(-0.5, 0.5, (num, 2)))
    poses = np.einsum('nij,kj->nki', (lean * turn).as_matrix(), standing)
    return poses + rng.uniform([-0.5, -0.1, 3.5], [0.5, 0.2, 5.5], (num, 3))[:, None]


def project(poses: np.ndarray, camera: dict) -> np.ndarray:
    """Pixels ``(num, 17, 2)`` of poses."""
    return Camera.from_mmpose(camera).project(torch.from_numpy(poses)).numpy()


def make_sequence(name: str, num: int, camera: dict) -> dict[str, np.ndarray]:
    """The arrays of a test sequence, as h5py shows them: MATLAB's axes in reverse, one person."""
    rng = np.random.default_rng(int(name[2]))
    poses = make_poses(rng, num)
    return dict(
        valid_frame=(np.arange(num) % 3 > 0).astype(np.float64)[:, None],
        activity_annotation=(np.arange(num) % 7 + 1).astype(np.float64)[:, None],
        annot2=project(poses, camera)[:, None],
        annot3=poses[:, None] * 1000,
        # The size of the universal skeleton, and a root that is scaled along: that poses are compared about the root
        # must not depend on it.
        univ_annot3=poses[:, None] * (900 + 20 * int(name[2])),
        bb_crop=np.tile(np.arange(34.0), (num, 1)),
    )


def write_mat(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An HDF5 file as MATLAB 7.3 writes it: its header before, classes as attributes, compressed chunks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, 'w', userblock_size=512) as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array, chunks=array.shape, compression='gzip')
            file[key].attrs['MATLAB_class'] = np.bytes_('double')
    with open(path, 'r+b') as file:
        file.write(b'MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .'.ljust(116) + bytes(8) + b'\x00\x02IM')


def write_test_set(folder: Path, num: int = 21, cameras: dict[str, dict] | None = None) -> dict[str, dict]:
    """The official test set, ``TS1`` to ``TS6``, num frames each, two of three valid.

    Returns:
        The arrays of each sequence.
    """
    arrays = {name: make_sequence(name, num, (cameras or {}).get(name, camera_of(name))) for name in SEQUENCES}
    for name, sequence in arrays.items():
        write_mat(Path(folder) / name / 'annot_data.mat', sequence)
    return arrays


def write_mmpose_test(folder: Path, arrays: dict[str, dict]) -> None:
    """``mpi_inf_3dhp_test_valid.npz`` and ``cameras_test.pkl`` of MMPose's converter."""
    names, poses, pixels, cameras = [], [], [], {}
    for name, sequence in arrays.items():
        valid = np.flatnonzero(sequence['valid_frame'])
        names += [f'{name}_{frame + 1:06d}.jpg' for frame in valid]
        poses.append(sequence['annot3'][valid, 0] / 1000)
        pixels.append(sequence['annot2'][valid, 0])
        camera = camera_of(name)
        cameras[name] = camera | {key: np.array(camera[key])[:, None] for key in 'fc'} | dict(name=f'test_cam_{name}')
    _write_mmpose(Path(folder), 'test_valid', names, np.concatenate(poses), np.concatenate(pixels))
    with open(Path(folder) / 'cameras_test.pkl', 'wb') as file:
        pickle.dump(cameras, file)


def write_mmpose_train(folder: Path, num: int = 2) -> None:
    """``mpi_inf_3dhp_train.npz`` and ``cameras_train.pkl`` of MMPose's converter; num frames a camera."""
    names, poses, pixels, cameras = [], [], [], {}
    rng = np.random.default_rng(0)
    for subject, sequence, camera in itertools.product(range(1, 9), (1, 2), TRAIN_CAMERAS):
        key = f'S{subject}_Seq{sequence}_Cam{camera}'
        # As MMPose's converter has it: the height lacks its last digit.
        cameras[key] = dict(
            R=np.eye(3),
            T=np.zeros((3, 1)),
            c=np.array([[1024.0 + camera], [1050.0 - subject]]),
            f=np.array([[1497.7 + camera], [1497.1 + sequence]]),
            w=2048.0,
            h=204.0,
            name=f'train_cam_{camera}',
        )
        names += [f'{key}_{frame + 1:06d}.jpg' for frame in range(num)]
        poses.append(make_poses(rng, num))
        pixels.append(project(poses[-1], cameras[key] | dict(h=2048)))
    _write_mmpose(Path(folder), 'train', names, np.concatenate(poses), np.concatenate(pixels))
    with open(Path(folder) / 'cameras_train.pkl', 'wb') as file:
        pickle.dump(cameras, file)


def _write_mmpose(folder: Path, split: str, names: list[str], poses: np.ndarray, pixels: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # For every image, whatever its size.
    inside = ((pixels >= 0) & (pixels < 2048)).all(-1).astype(np.float32)[..., None]
    low, high = pixels.min(1), pixels.max(1)
    np.savez(
        folder / f'mpi_inf_3dhp_{split}.npz',
        imgname=np.array(names),
        center=(low + high) / 2,
        scale=1.2 * (high - low).max(-1) / 200,
        part=np.concatenate([pixels, inside], -1),
        S=np.concatenate([poses, inside], -1),
    )


def write_mpi_inf_3dhp(folder: Path, num: int = 21) -> None:
    """What a user has before the configs are used: the raw test set, our file of it, MMPose's of the training set.

    And detections of the test set, COCO-17 as COCO results and H36M-17 as the data set takes them.
    """
    folder = Path(folder)
    raw = folder / 'raw/mpi_inf_3dhp_test_set'
    write_test_set(raw, num)
    write_mmpose_train(folder / 'annotations')
    convert_mpi_inf_3dhp_test_set(raw, folder / 'annotations', report=lambda line: None)
    with np.load(folder / 'annotations/mpi_inf_3dhp_test.npz') as archive:
        names, keypoints = archive['imgname'].tolist(), archive['part'].copy()
    keypoints[..., :2] += np.random.default_rng(0).normal(size=keypoints[..., :2].shape) * 3
    keypoints[..., 2] = 0.9
    h36m = keypoints[:, [to_h36m_mapping('mpi_inf_3dhp')[joint][0] for joint in range(17)]]
    np.save(folder / 'detections_test.npy', h36m)
    coco = np.zeros_like(h36m)
    for joint, sources in to_h36m_mapping('coco').items():
        if len(sources) == 1:
            coco[:, sources[0]] = h36m[:, joint]
    results = [
        dict(file_name=name, category_id=1, keypoints=pose.ravel().tolist(), score=0.9)
        for name, pose in zip(names, coco, strict=True)
    ]
    (folder / 'detections_test.json').write_text(json.dumps(results), encoding='utf-8')
