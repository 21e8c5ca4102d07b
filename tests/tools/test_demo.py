# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Tests of tools/demo.py as a user runs it: results, faults, and going on after being killed."""

import json
import os
import re
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from stereopose_mm.geometry import PoseSequence

from ..apis.clips.conftest import write_keypoints, write_video
from ..apis.random_models import mmpose_config
from ..made_sequence import make_sequence

NUM_FRAMES = 700


@pytest.fixture(scope='module')
def long_walk(tmp_path_factory):
    """A clip of three parts, and its keypoints."""
    folder = tmp_path_factory.mktemp('long')
    clip = make_sequence(num_people=2, num_frames=NUM_FRAMES, frame_rate=250.0)
    write_video(folder / 'walk.mp4', clip)
    write_keypoints(folder / 'walk.npz', clip)
    return folder


def command(source, *options):
    return [sys.executable, 'tools/demo.py', str(source), *map(str, options)]


@pytest.fixture
def demo(project_root):
    """Run the tool to its end; `before` runs in the child first."""

    def run(source, *options, before=None):
        env = {**os.environ, 'PYTHONPATH': str(project_root), 'OMP_NUM_THREADS': '1'}
        return subprocess.run(
            command(source, *options), cwd=project_root, env=env, capture_output=True, text=True, timeout=300,
            preexec_fn=before,
        )  # fmt: skip

    return run


@pytest.fixture
def begin(project_root):
    """Start the tool, and wait until a file is there."""
    running = []

    def start(source, *options, until):
        env = {**os.environ, 'PYTHONPATH': str(project_root), 'OMP_NUM_THREADS': '1'}
        process = subprocess.Popen(
            command(source, *options), cwd=project_root, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        running.append(process)
        deadline = time.monotonic() + 240
        while not until.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def read_clip(out):
    with np.load(out / 'poses3d.npz', allow_pickle=False) as file:
        return PoseSequence.from_arrays(file)


def test_killed_twice_it_goes_on_and_loses_nothing(long_walk, demo, begin, tmp_path):
    options = (
        '--keypoints', long_walk / 'walk.npz', '--skeleton', 'h36m', '--fov', 60, '--ground', '--smooth',
        '--save', 'video,json,npz', '--out',
    )  # fmt: skip
    whole, out = tmp_path / 'whole', tmp_path / 'out'
    uninterrupted = demo(long_walk / 'walk.mp4', *options, whole)
    assert uninterrupted.returncode == 0, uninterrupted.stderr
    assert 'resumed' not in uninterrupted.stdout

    stopped = begin(long_walk / 'walk.mp4', *options, out, until=out / '.parts/lifted_000000.npz')
    stopped.send_signal(signal.SIGINT)
    stdout, stderr = stopped.communicate(timeout=120)
    assert stopped.returncode == 130, stderr
    assert stderr.strip().splitlines()[-1].startswith('interrupted')
    kept = len(list((out / '.parts').glob('lifted_*.npz')))
    assert kept >= 1

    killed = begin(long_walk / 'walk.mp4', *options, out, until=out / '.parts/finished_000000.npz')
    killed.kill()
    killed.wait(timeout=60)
    assert not (out / 'poses3d.json').exists()

    done = demo(long_walk / 'walk.mp4', *options, out)
    assert done.returncode == 0, done.stderr
    assert f'resumed:            after {NUM_FRAMES} frames' in done.stdout
    assert {p.name for p in out.iterdir()} == {p.name for p in whole.iterdir()}
    for name, value in read_clip(whole).to_arrays().items():
        got = read_clip(out).to_arrays()[name]
        # Other batches may round otherwise.
        assert np.allclose(got, value, atol=1e-4, equal_nan=True) if value.dtype.kind == 'f' else (got == value).all()


def test_a_full_disk_is_one_line_and_what_was_done_is_kept(long_walk, demo, tmp_path):
    out = tmp_path / 'out'
    options = ('--keypoints', long_walk / 'walk.npz', '--skeleton', 'h36m', '--fov', 60, '--save', 'json', '--out', out)

    def limit_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    full = demo(long_walk / 'walk.mp4', *options, before=limit_files)
    assert full.returncode == 2
    (line,) = [text for text in full.stderr.splitlines() if text.startswith('error')]
    assert f'{out}: cannot be written' in line
    assert not (out / 'poses3d.json').exists()
    assert not list(out.rglob('*.tmp*'))
    done = demo(long_walk / 'walk.mp4', *options)
    assert done.returncode == 0, done.stderr
    assert f'resumed:            after {NUM_FRAMES} frames' in done.stdout
    assert len(json.loads((out / 'poses3d.json').read_text())['instance_info']) == NUM_FRAMES


@pytest.mark.skipif(sys.platform != 'linux', reason='takes /sys, a folder that nobody can write to')
def test_a_folder_that_cannot_be_written_is_one_line(long_walk, demo):
    done = demo(
        long_walk / 'walk.mp4', '--keypoints', long_walk / 'walk.npz', '--skeleton', 'h36m', '--out', '/sys/out'
    )
    assert done.returncode == 2
    assert re.search(r'error: /sys/out: cannot be written', done.stderr)
    assert 'Traceback' not in done.stderr


def test_photographs_with_real_detections(shared_data, demo, tmp_path):
    photos = shared_data / 'real/coco'
    done = demo(
        photos, '--keypoints', photos / 'movenet_keypoints.json', '--out', tmp_path / 'out', '--save', 'video,json,html'
    )
    assert done.returncode == 0, done.stderr
    assert 'frames:             4' in done.stdout
    assert 'warning: 4 of 4 frames tell no focal length' in done.stderr
    assert len(list((tmp_path / 'out/pictures').iterdir())) == 4
    data = json.loads((tmp_path / 'out/poses3d.json').read_text())
    people = [person for frame in data['instance_info'] for person in frame['instances']]
    assert len(people) >= 8
    assert all(person['reprojection_error'] < 0.01 for person in people if person['valid'])


def test_a_model_that_cannot_be_fetched_is_one_line(long_walk, demo, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))
    for proxy in ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'):
        monkeypatch.setenv(proxy, 'http://127.0.0.1:9')  # refused at once, wherever the test runs
    done = demo(long_walk / 'walk.mp4', '--pose2d', 'rtmpose-m', '--out', tmp_path / 'out')
    assert done.returncode == 2
    (line,) = [text for text in done.stderr.splitlines() if text.startswith('error')]
    assert '.pth' in line and str(tmp_path / 'hub') in line and '--pose2d' in line
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--save', 'gif'), 'takes some of video,json,npz,bvh,gltf,html'),
        (('--det', 'a', 'b', 'c'), 'argument --det: takes a config or alias, and its checkpoint'),
        (('--keypoints', 'none.json'), 'no such file or folder: none.json'),
        (('--every', '0'), 'takes a whole number of at least 1'),
    ],
)
def test_wrong_arguments_are_one_line(options, message, demo, tmp_path):
    done = demo('video.mp4', '--out', tmp_path / 'out', *options)
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.splitlines()) == 1


def test_no_webcam(demo, tmp_path, long_walk):
    done = demo('webcam:97', '--keypoints', long_walk / 'walk.npz', '--skeleton', 'h36m', '--out', tmp_path / 'out')
    assert done.returncode == 2
    assert 'error: webcam:97: no such webcam' in done.stderr
    assert not (tmp_path / 'out').exists()


def test_a_disk_that_is_really_full(long_walk, demo, tmp_path):
    disk = tmp_path / 'disk'
    disk.mkdir()
    if (
        not shutil.which('mount')
        or subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', str(disk)], capture_output=True).returncode
    ):
        pytest.skip('no small disk can be made here')
    try:
        done = demo(
            long_walk / 'walk.mp4', '--keypoints', long_walk / 'walk.npz', '--skeleton', 'h36m', '--out', disk / 'out'
        )
        assert done.returncode == 2
        assert 'No space left on device' in done.stderr and 'Traceback' not in done.stderr
        assert {p.name for p in (disk / 'out').iterdir()} == {'.parts'}
    finally:
        subprocess.run(['umount', str(disk)], check=True)


def test_a_street_through_models_of_mmdet_and_mmpose(shared_data, demo, tmp_path):
    """Random weights: what is found means nothing, but all of it runs, from the video to the page."""
    detector = mmpose_config('rtmdet_nano_320-8xb32_coco-person.py')
    estimator = mmpose_config('rtmpose-t_8xb256-420e_coco-256x192.py')
    done = demo(
        shared_data / 'real/street.mp4', '--det', detector, 'none', '--pose2d', estimator, 'none', '--max-frames', 2,
        '--out', tmp_path / 'out', '--save', 'video,json,html',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'random weights' in done.stderr
    assert 'frames:             2' in done.stdout
    assert {p.name for p in (tmp_path / 'out').iterdir()} == {
        'video.mp4', 'poses3d.json', 'viewer.html', 'summary.json',
    }  # fmt: skip


def test_the_kinds_of_results_are_those_of_the_package(project_root, monkeypatch):
    """The command names them itself, so that it need not load the package to read its arguments."""
    from stereopose_mm.apis.clips.outputs import SAVE

    monkeypatch.syspath_prepend(project_root / 'tools')
    assert runpy.run_path(str(project_root / 'tools/demo.py'))['SAVE'] == SAVE


def test_a_terminal_without_the_letters_of_a_name(long_walk, demo, tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONIOENCODING', 'ascii:strict')
    done = demo(
        long_walk / 'walk.mp4', '--keypoints', long_walk / 'walk.npz', '--skeleton', 'h36m', '--fov', 60,
        '--max-frames', 2, '--save', 'json', '--out', tmp_path / 'gehört ☃',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'geh\\xf6rt' in done.stdout
