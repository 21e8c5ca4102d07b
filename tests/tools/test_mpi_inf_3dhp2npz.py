# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import os
import runpy
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpose.datasets.datasets import BaseMocapDataset

from stereopose_mm.datasets.converters import mpi_inf_3dhp
from stereopose_mm.datasets.converters.mpi_inf_3dhp import convert_test_set, fit_camera

from ..datasets.mpi_inf_3dhp_files import OUTDOOR, ROOT, SEQUENCES, camera_of, make_poses, project, write_mat
from ..datasets.mpi_inf_3dhp_files import write_test_set as write

TOOL = 'tools/dataset_converters/mpi_inf_3dhp2npz.py'
FRAMES = 21
LENS = OUTDOOR | dict(k=[-0.276859611, 0.131125256, -0.049318332], p=[-0.000360494, -0.001149441])


@pytest.fixture
def made(tmp_path):
    """A test set of 21 frames a sequence: its folder and its arrays."""
    folder = tmp_path / 'mpi_inf_3dhp_test_set'
    return folder, write(folder, FRAMES)


def load(folder):
    with np.load(folder / 'mpi_inf_3dhp_test.npz', allow_pickle=False) as archive:
        return dict(archive)


def convert(folder, out, **options):
    lines = []
    summaries = convert_test_set(folder, out, report=lines.append, **options)
    return summaries, lines


def run_tool(project_root, *arguments):
    return subprocess.run(
        [sys.executable, str(project_root / TOOL), *map(str, arguments)],
        env={**os.environ, 'PYTHONPATH': str(project_root)},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_command_converts_the_official_files(made, project_root, tmp_path):
    folder, truth = made
    out = tmp_path / 'new' / 'annotations'
    done = run_tool(project_root, folder, '--out', out)
    assert done.returncode == 0, done.stderr
    assert f'6 sequences, 84 frames -> {out}/mpi_inf_3dhp_test.npz' in done.stderr.replace('\n', ' ')
    assert 'TS5: 14 of 21 frames valid (the official test set has 276), camera pinhole' in done.stderr
    assert [path.name for path in out.iterdir()] == ['mpi_inf_3dhp_test.npz']

    data = load(out)
    valid = np.flatnonzero(truth['TS1']['valid_frame'])
    assert len(valid) == 14 and data['valid'].all()
    assert data['sequence'].tolist() == [name for name in SEQUENCES for _ in valid]
    assert data['frame'].tolist() == (valid + 1).tolist() * 6
    assert data['imgname'][15] == 'TS2/imageSequence/img_000003.jpg'
    assert data['activity'].tolist() == (valid % 7 + 1).tolist() * 6

    def true(key):
        return np.concatenate([truth[name][key][valid, 0] for name in SEQUENCES])

    np.testing.assert_array_equal(data['part'][..., :2], true('annot2'))
    np.testing.assert_allclose(data['S'][..., :3], true('annot3') / 1000, rtol=1e-12)
    np.testing.assert_allclose(data['S_univ'][..., :3], true('univ_annot3') / 1000, rtol=1e-12)
    assert (data['S'][..., 3] == 1).all() and (data['S_univ'][..., 3] == 1).all()
    low, high = true('annot2').min(1), true('annot2').max(1)
    np.testing.assert_allclose(data['center'], (low + high) / 2)
    np.testing.assert_allclose(data['scale'], (high - low).max(1) * 1.2 / 200)
    for i, name in enumerate(SEQUENCES):
        camera = camera_of(name)
        matrix = [[camera['f'][0], 0, camera['c'][0]], [0, camera['f'][1], camera['c'][1]], [0, 0, 1]]
        assert data['camera_name'][i] == name
        np.testing.assert_allclose(data['camera_matrix'][i], matrix, rtol=1e-6)
        assert data['camera_size'][i].tolist() == [camera['w'], camera['h']]
    assert not data['camera_distortion'].any() and data['camera_residual'].max() < 1e-6
    # MMPose's own reader of such files takes it.
    metainfo = dict(from_file='configs/_base_/datasets/mpi_inf_3dhp.py')
    infos = BaseMocapDataset(str(out / 'mpi_inf_3dhp_test.npz'), data_root=str(out), metainfo=metainfo)
    assert len(infos) == 84
    np.testing.assert_allclose(infos[20]['lifting_target'][0], data['S'][20, :, :3], rtol=1e-6)


def test_all_frames_are_kept_and_marked(made, tmp_path):
    folder, truth = made
    # What is not valid need not be finite.
    broken = {key: array.copy() for key, array in truth['TS3'].items()}
    broken['annot3'][0, 0, 4] = np.nan
    broken['activity_annotation'][3] = 0
    write_mat(folder / 'TS3/annot_data.mat', broken)
    summaries, _ = convert(folder, tmp_path, all_frames=True)
    assert [(s.frames, s.valid) for s in summaries] == [(21, 14)] * 6
    data = load(tmp_path)
    assert data['valid'].tolist() == truth['TS1']['valid_frame'][:, 0].astype(bool).tolist() * 6
    third = data['sequence'] == 'TS3'
    assert data['S'][third][0, :, 3].tolist() == [1.0] * 4 + [0.0] + [1.0] * 12
    assert data['activity'][third].tolist()[:5] == [1, 2, 3, 0, 5]
    assert np.isfinite(data['S']).all()


def test_joints_outside_the_image_are_marked(made, tmp_path):
    folder, truth = made
    truth['TS5']['annot3'][1] += [0, 1000, 0]
    truth['TS5']['annot2'][1, 0] = project(truth['TS5']['annot3'][1] / 1000, OUTDOOR)[0]
    below = truth['TS5']['annot2'][1, 0, :, 1] >= 1080
    assert 0 < below.sum() < 17
    write_mat(folder / 'TS5/annot_data.mat', truth['TS5'])
    convert(folder, tmp_path)
    data = load(tmp_path)
    first = np.flatnonzero(data['sequence'] == 'TS5')[0]
    np.testing.assert_array_equal(data['part'][first, :, 2], ~below)
    assert (data['S'][first, :, 3] == 1).all()


def test_stopped_conversion_goes_on(made, tmp_path, monkeypatch):
    folder, _ = made
    convert(folder, tmp_path / 'whole')
    done = []
    convert_sequence = mpi_inf_3dhp._convert_sequence

    def stop_at(last):
        def counted(name, *arguments):
            if name == last:
                raise KeyboardInterrupt
            done.append(name)
            return convert_sequence(name, *arguments)

        return counted

    out = tmp_path / 'resumed'
    monkeypatch.setattr(mpi_inf_3dhp, '_convert_sequence', stop_at('TS4'))
    with pytest.raises(KeyboardInterrupt):
        convert(folder, out)
    assert done == ['TS1', 'TS2', 'TS3']
    assert not (out / 'mpi_inf_3dhp_test.npz').exists()
    # One of the finished ones is spoilt, another has a new source: both are done again.
    parts = out / '.mpi_inf_3dhp_test.npz.parts'
    (parts / 'TS1.npz').write_bytes((parts / 'TS1.npz').read_bytes()[:500])
    os.utime(folder / 'TS2/annot_data.mat', ns=(1, 1))
    done.clear()
    monkeypatch.setattr(mpi_inf_3dhp, '_convert_sequence', stop_at(None))
    _, lines = convert(folder, out)
    assert done == ['TS1', 'TS2', 'TS4', 'TS5', 'TS6'] and len(lines) == 6
    assert [path.name for path in out.iterdir()] == ['mpi_inf_3dhp_test.npz']
    whole, resumed = (tmp_path / name / 'mpi_inf_3dhp_test.npz' for name in ('whole', 'resumed'))
    assert whole.read_bytes() == resumed.read_bytes()


def test_lens_is_found_where_there_is_one(tmp_path):
    write(tmp_path / 'raw', 120, dict.fromkeys(('TS5', 'TS6'), LENS))
    summaries, lines = convert(tmp_path / 'raw', tmp_path)
    assert [s.distorted for s in summaries] == [False] * 4 + [True] * 2
    assert 'camera with lens distortion' in lines[4]
    assert max(s.worst for s in summaries) < 0.1
    data = load(tmp_path)
    np.testing.assert_allclose(data['camera_matrix'][4][[0, 1], [0, 1]], OUTDOOR['f'], rtol=1e-3)
    np.testing.assert_allclose(data['camera_distortion'][4, :2], LENS['k'][:2], atol=0.02)


def test_hips_that_are_apart_in_2d_do_not_shape_the_camera(made, tmp_path):
    folder, truth = made
    for name in SEQUENCES:
        truth[name]['annot2'][..., [8, 11, 15], :] += [2.0, -1.5]
        write_mat(folder / name / 'annot_data.mat', truth[name])
    summaries, _ = convert(folder, tmp_path)
    for i, summary in enumerate(summaries):
        assert not summary.distorted
        assert summary.residual == pytest.approx(2.5 * 3 / 17) and summary.worst == pytest.approx(2.5)
        np.testing.assert_allclose(load(tmp_path)['camera_matrix'][i, 0, 0], camera_of(summary.name)['f'][0], rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    focal=st.tuples(st.floats(300, 5000), st.floats(300, 5000)),
    centre=st.tuples(st.floats(-500, 3000), st.floats(-500, 3000)),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_pinhole_camera_is_recovered(focal, centre, seed):
    poses = make_poses(np.random.default_rng(seed), 8)
    pixels = poses[..., :2] / poses[..., 2:] * focal + centre
    matrix, lens = fit_camera(poses, pixels, 'file')
    np.testing.assert_allclose(matrix, [[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]], atol=1e-5)
    assert not lens.any()


def spoil_pixels(arrays):
    arrays['annot2'] += np.random.default_rng(0).normal(size=arrays['annot2'].shape) * 20


def spoil_mirrored(arrays):
    arrays['annot2'][..., 0] *= -1


def put(key, index, value):
    def change(arrays):
        arrays[key][index] = value

    return change


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda arrays: arrays.pop('univ_annot3'), r"no key 'univ_annot3'; it has \['activity_annotation', 'annot2'"),
        (lambda arrays: arrays.update(annot3=arrays['annot3'][:-1]), 'same number of frames.*annot3.: 20'),
        (lambda arrays: arrays.update(annot2=arrays['annot3']), r'annot2 is \(21, 1, 17, 3\); takes \(N, 1, 17, 2\)'),
        (lambda arrays: arrays.update(annot2=np.array([b'text'])), 'annot2 takes an array of numbers'),
        (put('annot2', (4, 0, 3), np.nan), 'annot2 of frame 5, which is valid, is not finite'),
        (put('univ_annot3', (7, 0, 16, 2), np.inf), 'univ_annot3 of frame 8, which is valid, is not finite'),
        (put('activity_annotation', 10, 8), 'activity_annotation of frame 11, which is valid, is not one of 1 to 7'),
        (put('annot3', (2, 0, 5, 2), -1.0), 'annot3 of frame 3, which is valid, has a joint that is not before'),
        (put('valid_frame', slice(None), 0), 'valid_frame marks none of 21 frames'),
        (spoil_mirrored, 'annot2 and annot3 of the valid frames fit no camera'),
        (
            spoil_pixels,
            r'annot2 is 2\d\.\d+ px from the projection of annot3 on average, .* in frame \d+; takes at most 3 px',
        ),
    ],
)
def test_bad_files_are_named(made, tmp_path, change, message):
    folder, truth = made
    change(truth['TS4'])
    write_mat(folder / 'TS4/annot_data.mat', truth['TS4'])
    (tmp_path / 'mpi_inf_3dhp_test.npz').write_bytes(b'before')
    with pytest.raises(ValueError, match=f'TS4.annot_data.mat: .*{message}'):
        convert(folder, tmp_path)
    assert (tmp_path / 'mpi_inf_3dhp_test.npz').read_bytes() == b'before'


def test_residual_that_is_allowed(made, tmp_path):
    folder, truth = made
    spoil_pixels(truth['TS4'])
    write_mat(folder / 'TS4/annot_data.mat', truth['TS4'])
    with pytest.raises(ValueError, match='takes at most 3 px'):
        convert(folder, tmp_path)
    # Nor does a sequence that was refused count as done.
    with pytest.raises(ValueError, match='takes at most 10 px'):
        convert(folder, tmp_path, max_residual=10)
    summaries, _ = convert(folder, tmp_path, max_residual=40)
    assert 20 < summaries[3].residual < 30


@pytest.mark.parametrize('kind', ['truncated', 'text', 'MATLAB 5', 'group'])
def test_files_of_other_kinds(made, tmp_path, project_root, monkeypatch, capsys, kind):
    folder, _ = made
    path = folder / 'TS2/annot_data.mat'
    if kind == 'truncated':
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    elif kind == 'text':
        path.write_text('valid_frame')
    elif kind == 'MATLAB 5':
        from scipy.io import savemat

        savemat(path, dict(valid_frame=np.ones((3, 1))))
    else:
        with h5py.File(path, 'a') as file:
            del file['annot2']
            file.create_group('annot2')
    monkeypatch.setattr(sys, 'argv', ['mpi_inf_3dhp2npz.py', str(folder), '--out', str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(project_root / TOOL), run_name='__main__')
    assert stopped.value.code == 2
    message = 'annot2 takes an array of numbers' if kind == 'group' else 'not a readable HDF5 file'
    errors = capsys.readouterr().err
    errors = errors[errors.index('mpi_inf_3dhp2npz: error: ') :]
    assert f'{path}: {message}' in errors and errors.count('\n') == 1
    assert not (tmp_path / 'mpi_inf_3dhp_test.npz').exists()


def test_missing_sequences_are_listed(made, tmp_path):
    folder, _ = made
    shutil.rmtree(folder / 'TS2')
    (folder / 'TS6/annot_data.mat').unlink()
    with pytest.raises(ValueError, match='missing .*TS2.annot_data.mat, .*TS6.annot_data.mat$'):
        convert(folder, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
    with pytest.raises(ValueError, match='max_residual takes pixels above 0, got 0'):
        write(folder, FRAMES)
        convert(folder, tmp_path / 'out', max_residual=0)


def test_root_of_the_universal_scale_is_kept_as_it_is(made, tmp_path):
    folder, truth = made
    convert(folder, tmp_path)
    data = load(tmp_path)
    last = np.flatnonzero(truth['TS6']['valid_frame'])[-1]
    np.testing.assert_allclose(data['S_univ'][-1, ROOT, :3], truth['TS6']['univ_annot3'][last, 0, ROOT] / 1000)
