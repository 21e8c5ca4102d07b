# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import tarfile
from pathlib import PurePosixPath

import numpy as np
import pytest

from stereopose_mm.datasets.mocap_files import (
    ConvertOptions,
    convert_mocap,
    parse_amc,
    parse_asf,
    parse_bvh,
)
from stereopose_mm.datasets.mocap_files.convert import subject_of


@pytest.fixture
def folder(tmp_path, make_bvh, make_asf, make_amc, make_deepmimic, deepmimic_skeleton):
    """One clip of each kind; the BVH and the AMC are of the same subject."""
    files = {
        '01/01_08.bvh': make_bvh(frames=10),
        'acclaim/01_08.amc': make_amc(frames=9),
        'acclaim/01.asf': make_asf(),
        'deepmimic/humanoid3d_roll.txt': make_deepmimic(frames=5),
        'deepmimic/humanoid3d.txt': deepmimic_skeleton,
    }
    for name, text in files.items():
        (tmp_path / 'in' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'in' / name).write_text(text)
    return tmp_path / 'in'


def load(path):
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


def test_npz_has_the_schema(folder, tmp_path, make_bvh):
    summary = convert_mocap([folder], tmp_path / 'out.npz')
    data = load(tmp_path / 'out.npz')
    assert (summary.clips, summary.frames, summary.skipped) == (3, 9, [])
    assert data['joints'].shape == (9, 17, 3) and data['joints'].dtype == np.float32
    assert data['clip_names'].tolist() == [
        'cmu01/01_08.amc',
        'cmu01/01_08.bvh',
        'deepmimic/humanoid3d_roll.txt',
    ]
    assert data['clip_subjects'].tolist() == ['cmu01', 'cmu01', 'deepmimic']
    assert data['clip_sources'].tolist() == ['asfamc', 'bvh', 'deepmimic']
    np.testing.assert_allclose(data['clip_fps'], 30, atol=1e-4)
    assert data['clip_length'].tolist() == [3, 3, 3]
    assert data['clip_start'].tolist() == [0, 3, 6]
    assert data['clip_index'].tolist() == [0] * 3 + [1] * 3 + [2] * 3
    dtypes = {'clip_index': 'int32', 'clip_start': 'int64', 'clip_length': 'int64'}
    assert {name: str(data[name].dtype) for name in dtypes} == dtypes
    assert data['clip_fps'].dtype == np.float32
    assert str(data['skeleton']) == 'h36m' and int(data['schema_version']) == 1
    # The T-pose is dropped, then every fourth frame of 120 fps is kept: frames 1, 5, 9.
    np.testing.assert_allclose(data['joints'][3:6, 0, 0], [0.01, 0.05, 0.09], atol=1e-6)
    expected = parse_bvh(make_bvh(frames=10)).h36m(slice(1, None, 4))
    np.testing.assert_allclose(data['joints'][3:6], expected, atol=1e-6)


@pytest.mark.parametrize('fps, step', [(30, 4), (120, 1), (500, 1), (50, 2), (60, 2), (1, 120)])
def test_downsampling_keeps_every_nth_frame(tmp_path, make_bvh, fps, step):
    (tmp_path / 'a.bvh').write_text(make_bvh(frames=9))
    convert_mocap([tmp_path], tmp_path / 'out.npz', ConvertOptions(fps=fps, bvh_drop_first=0))
    data = load(tmp_path / 'out.npz')
    np.testing.assert_allclose(data['joints'][:, 0, 0] * 100, np.arange(0, 9, step), atol=1e-4)
    assert data['clip_fps'][0] == pytest.approx(120 / step)


def test_bvh_unit(tmp_path, make_bvh):
    (tmp_path / 'a.bvh').write_text(make_bvh())
    convert_mocap([tmp_path], tmp_path / 'out.npz', ConvertOptions(bvh_unit=0.0254))
    assert load(tmp_path / 'out.npz')['joints'][0, 0, 1] == pytest.approx(2.54)


def test_broken_files_are_reported_and_the_rest_converted(folder, tmp_path, make_bvh):
    (folder / '01' / '01_01.bvh').write_text(make_bvh().rsplit(' ', 1)[0])
    (folder / '01' / '01_02.bvh').write_bytes(b'\xff\x00\x80')
    (folder / '01' / '01_03.bvh').write_text(make_bvh(frames=1))
    (folder / 'acclaim' / '77_01.amc').write_text('')
    (folder / 'acclaim' / '02.asf').write_text(':units\n  length x\n')
    (folder / 'acclaim' / '02_01.amc').write_text('')
    (folder / 'broken.zip').write_bytes(b'PK')
    told = []
    summary = convert_mocap([folder], tmp_path / 'out.npz', report=told.append)
    assert summary.clips == 3 and len(summary.skipped) == len(told) == 6
    line = len(make_bvh().splitlines())
    for place in (
        f'01/01_01.bvh:{line}: ',
        '01/01_02.bvh:1: ',
        '01/01_03.bvh: only 1 frame',
        '77_01.amc: its skeleton 77.asf',
        "acclaim/02.asf:2: 'x' is not a number",
        'broken.zip: unreadable',
    ):
        assert sum(place in message for message in told) == 1, place


def test_nothing_converted_writes_nothing(tmp_path):
    (tmp_path / 'a.bvh').write_text('HIERARCHY')
    assert convert_mocap([tmp_path], tmp_path / 'out.npz').clips == 0
    assert [p.name for p in tmp_path.iterdir()] == ['a.bvh']


def test_failed_write_leaves_the_old_file(folder, tmp_path, monkeypatch):
    out = tmp_path / 'out.npz'
    out.write_bytes(b'old')

    def full(file, **arrays):
        file.write(b'half')
        raise OSError('No space left on device')

    monkeypatch.setattr(np, 'savez_compressed', full)
    with pytest.raises(OSError, match='No space'):
        convert_mocap([folder], out)
    assert out.read_bytes() == b'old'
    assert sorted(p.name for p in tmp_path.iterdir()) == ['in', 'out.npz']


def test_same_clip_twice_gets_two_names(folder, tmp_path):
    convert_mocap([folder / '01', folder / '01' / '01_08.bvh'], tmp_path / 'out.npz')
    names = load(tmp_path / 'out.npz')['clip_names'].tolist()
    assert names == ['cmu01/01_08.bvh', 'cmu01/01_08.bvh~2']


@pytest.mark.parametrize(
    'kind, path, subject',
    [
        ('bvh', '01/01_08.bvh', 'cmu01'),
        ('asfamc', 'asfamc/01_08.amc', 'cmu01'),
        ('bvh', 'cmu/12/12_01.bvh', 'cmu12'),
        ('bvh', 'studio/05/walk.bvh', 'cmu05'),
        ('bvh', 'studio/anna/walk_1.bvh', 'anna'),
        ('bvh', 'anna_walk.bvh', 'anna'),
        ('bvh', '../anna_walk.bvh', 'anna'),
        ('deepmimic', 'x/humanoid3d_roll.txt', 'deepmimic'),
    ],
)
def test_subjects(kind, path, subject):
    assert subject_of(kind, path, 'cmu') == subject


@pytest.mark.parametrize('options', [{'fps': 0}, {'fps': float('nan')}, {'bvh_unit': -1}, {'bvh_drop_first': -1}])
def test_unusable_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ConvertOptions(**options)


@pytest.mark.parametrize('out', ['out.txt', 'nowhere/out.npz'])
def test_unusable_out_is_named(folder, tmp_path, out):
    with pytest.raises(ValueError, match='out takes'):
        convert_mocap([folder], tmp_path / out)


def test_shared_deepmimic_motions(shared_data, tmp_path):
    summary = convert_mocap([shared_data / 'deepmimic_motions.tar.xz'], tmp_path / 'out.npz')
    joints = load(tmp_path / 'out.npz')['joints']
    assert summary.clips == 20 and not summary.skipped
    thigh = np.linalg.norm(joints[:, 2] - joints[:, 1], axis=-1)
    np.testing.assert_allclose(thigh, 0.421546, atol=1e-5)
    assert -0.1 < joints[..., 1].min() and joints[..., 1].max() < 2.5


def members(path, *wanted):
    """Read members of a tar by file name, and no further than the last of them."""
    found = {}
    with tarfile.open(path, 'r|*') as tar:
        for info in tar:
            name = PurePosixPath(info.name).name
            if name in wanted:
                found[name] = tar.extractfile(info).read().decode()
                if len(found) == len(wanted):
                    break
    return [found[name] for name in wanted]


def test_bvh_and_asfamc_of_one_performance_agree(shared_data):
    (bvh,) = members(shared_data / 'cmu_mocap_bvh.tar.xz', '02_01.bvh')
    asf, amc = members(shared_data / 'cmu_asfamc.tar.xz', '02.asf', '02_01.amc')
    left = parse_bvh(bvh).h36m(slice(1, None))
    acclaim = parse_amc(amc, parse_asf(asf))
    right = acclaim.h36m()
    assert len(left) == len(right) == 343

    def angle(start, end):
        a, b = left[:, end] - left[:, start], right[:, end] - right[:, start]
        cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
        return np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean()

    assert angle(4, 1) < 0.1  # the pelvis is the same bone in both: the rotations are exact
    limits = {(0, 8): 4, (1, 2): 10, (2, 3): 6, (4, 5): 10, (5, 6): 6, (11, 12): 8, (14, 15): 8}
    limits |= {(11, 14): 5, (8, 11): 20, (8, 14): 20, (12, 13): 25, (15, 16): 25}
    assert {bone: angle(*bone) for bone in limits if angle(*bone) > limits[bone]} == {}

    # Toes point forward, and forward is up x (left to right).
    index = {bone.name: i for i, bone in enumerate(acclaim.skeleton.bones)}
    ends = acclaim.ends()
    forward = np.cross(right[:, 8] - right[:, 0], right[:, 1] - right[:, 4])
    for side in 'lr':
        foot = ends[:, index[f'{side}toes']] - ends[:, index[f'{side}tibia']]
        assert np.mean((foot * forward).sum(-1) > 0) > 0.95
