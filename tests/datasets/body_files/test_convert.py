# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from stereopose_mm.datasets.body_files import BodyDistribution, BodyOptions, convert_bodies
from stereopose_mm.datasets.mocap_files import ConvertOptions, convert_mocap
from stereopose_mm.geometry import H36M_17

LIKE_MOCAP = ('clip_names', 'clip_subjects', 'clip_sources', 'clip_fps', 'clip_start', 'clip_length', 'clip_index')


@pytest.fixture
def sources(tmp_path, make_bvh, make_asf, make_amc, deepmimic_skeleton, make_deepmimic):
    folder = tmp_path / 'raw'
    folder.mkdir()
    (folder / '01_02.bvh').write_text(make_bvh(21, {'lThigh': (0, -60, 0)}))
    (folder / '01_03.bvh').write_text('HIERARCHY')
    (folder / '02.asf').write_text(make_asf())
    (folder / '02_01.amc').write_text(make_amc(12, {'lfemur': [-60, 0, 0]}))
    (folder / 'humanoid3d.txt').write_text(deepmimic_skeleton)
    (folder / 'humanoid3d_walk.txt').write_text(make_deepmimic(6))
    return [folder]


def converted(sources, out, **options):
    reports = []
    convert_bodies(sources, out, ConvertOptions(fps=60), BodyOptions(**options), reports.append)
    with np.load(out) as arrays:
        return {name: arrays[name] for name in arrays.files}, reports


def test_clips_are_those_of_mocap2npz(sources, tmp_path):
    convert_mocap(sources, tmp_path / 'mocap.npz', ConvertOptions(fps=60), lambda _: None)
    arrays, reports = converted(sources, tmp_path / 'bodies.npz', frames_per_body=4)
    with np.load(tmp_path / 'mocap.npz') as mocap:
        for name in LIKE_MOCAP:
            np.testing.assert_array_equal(arrays[name], mocap[name], err_msg=name)
    assert len(reports) == 1 and '01_03.bvh' in reports[0]
    assert arrays['joints'].shape == (22, 34, 3) and arrays['joints'].dtype == np.float32
    assert arrays['skeleton'] == 'h36m_coco'
    # 10, 6 and 6 frames: a new body after each 4, and each clip has its own.
    assert arrays['body_index'].tolist() == [0] * 4 + [1] * 4 + [2] * 2 + [3] * 4 + [4] * 2 + [5] * 4 + [6] * 2
    assert arrays['body_phenotypes'].shape == (7, len(arrays['phenotype_names']))
    thigh = np.linalg.norm(arrays['joints'][:, H36M_17.index('left_knee')] - arrays['joints'][:, 4], axis=1)
    changes = np.flatnonzero(np.abs(np.diff(thigh)) > 1e-5) + 1
    assert changes.tolist() == (np.flatnonzero(np.diff(arrays['body_index'])) + 1).tolist()


def test_more_bodies_repeat_the_frames_of_a_clip(sources, tmp_path):
    once, _ = converted(sources, tmp_path / 'a.npz', frames_per_body=100)
    twice, _ = converted(sources, tmp_path / 'b.npz', frames_per_body=100, bodies=2)
    np.testing.assert_array_equal(twice['clip_length'], 2 * once['clip_length'])
    np.testing.assert_array_equal(twice['clip_names'], once['clip_names'])
    assert twice['body_index'].tolist() == np.repeat(np.arange(6), [10, 10, 6, 6, 6, 6]).tolist()


def test_bodies_depend_on_seed_and_clip_alone(sources, tmp_path):
    all_clips, _ = converted(sources, tmp_path / 'a.npz', seed=3)
    one_clip, _ = converted([sources[0] / '02_01.amc'], tmp_path / 'b.npz', seed=3)
    clip = all_clips['clip_names'].tolist().index('cmu02/02_01.amc')
    np.testing.assert_array_equal(all_clips['joints'][all_clips['clip_index'] == clip], one_clip['joints'])
    other, _ = converted([sources[0] / '02_01.amc'], tmp_path / 'c.npz', seed=4)
    assert np.abs(other['joints'] - one_clip['joints']).max() > 0.01


@pytest.mark.parametrize(('name', 'value'), [('bodies', 0), ('frames_per_body', 0), ('seed', -1)])
def test_bad_options_are_named(name, value):
    with pytest.raises(ValueError, match=f'^{name} takes . or more, got {value}$'):
        BodyOptions(**{name: value})


def test_nothing_is_written_without_a_clip(sources, tmp_path):
    with pytest.raises(ValueError, match='out takes a .npz file'):
        convert_bodies(sources, tmp_path / 'bodies.txt')
    summary = convert_bodies([sources[0] / '01_03.bvh'], tmp_path / 'bodies.npz', report=lambda _: None)
    assert summary.clips == 0 and not (tmp_path / 'bodies.npz').exists()


def test_real_motions_keep_their_limbs_directions(shared_data, tmp_path):
    source = [shared_data / 'deepmimic_motions.tar.xz']
    convert_mocap(source, tmp_path / 'mocap.npz', ConvertOptions(fps=5))
    convert_bodies(
        source, tmp_path / 'bodies.npz', ConvertOptions(fps=5), BodyOptions(population=BodyDistribution(0.5))
    )
    limbs = [2, 3, 5, 6, 12, 13, 15, 16]
    parents = [H36M_17.parents[joint] for joint in limbs]
    directions = []
    for name in ('mocap', 'bodies'):
        with np.load(tmp_path / f'{name}.npz') as arrays:
            joints = arrays['joints']
        bones = joints[:, limbs] - joints[:, parents]
        directions.append(bones / np.linalg.norm(bones, axis=-1, keepdims=True))
    np.testing.assert_allclose(*directions, atol=1e-5)
    # The face looks forward: the nose lies ahead of the ears, across from both left and up.
    nose, left_ear, right_ear = joints[:, 17], joints[:, 20], joints[:, 21]
    forward = np.cross(left_ear - right_ear, joints[:, 10] - joints[:, 9])
    assert (((nose - (left_ear + right_ear) / 2) * forward).sum(axis=1) > 0).all()
