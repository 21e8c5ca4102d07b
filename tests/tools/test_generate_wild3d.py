# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Tests of tools/generate_wild3d.py as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from stereopose_mm.labeling import LabelConfig, generate_labels

from ..labeling.made_sets import checksums, write_walkers


@pytest.fixture
def begin(project_root):
    """Start the tool."""
    running = []

    def start(*options):
        env = {**os.environ, 'PYTHONPATH': str(project_root), 'OMP_NUM_THREADS': '1'}
        command = [sys.executable, 'tools/generate_wild3d.py', *map(str, options)]
        # A shell's background job, and so what it starts, ignores SIGINT.
        process = subprocess.Popen(
            command, cwd=project_root, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def tool(begin):
    """Run the tool to its end: exit status, output, errors."""

    def run(*options):
        process = begin(*options)
        output, errors = process.communicate(timeout=300)
        return process.returncode, output, errors

    return run


@pytest.fixture
def walkers(tmp_path):
    return write_walkers(tmp_path / 'walkers.json', 600)


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_it_goes_on(begin, tool, walkers, tmp_path, how):
    out = tmp_path / 'set'
    options = (walkers, '--out', out, '--workers', 2, '--shard-size', 20, '--camera-prior', 60, '--json', '--no-card')
    process = begin(*options)
    wait_for(lambda: len(list(out.glob('.done/*'))) >= 3, process)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[how]
    assert 'Traceback' not in errors
    # One run in another process, without a break, makes the same.
    config = LabelConfig(shard_size=20).with_options(fov_deg=60.0)
    generate_labels([walkers], tmp_path / 'whole', config, workers=2, write_json=True)
    if how is signal.SIGKILL:
        status, output, _ = tool('--verify', '--out', out)
        assert status == 1
        status, output, errors = tool(*options, '--resume')
        assert status == 0 and 'resumed:' in output and 'labels:' in output, errors
    else:
        generate_labels([walkers], out, config, workers=2, write_json=True)
    assert checksums(out) == checksums(tmp_path / 'whole')


def test_verify_names_the_damaged_file(tool, walkers, tmp_path):
    out = tmp_path / 'set'
    generate_labels([walkers], out, LabelConfig(shard_size=300), workers=1)
    assert tool('--verify', '--out', out)[:2] == (0, f'{out}: whole\n')
    victim = next(out.glob('wild3d-val-00001-*'))
    victim.write_bytes(victim.read_bytes()[:-1])
    status, _, errors = tool('--verify', '--out', out)
    assert status == 1 and str(victim) in errors


def test_the_command_writes_a_data_card(tool, walkers, tmp_path):
    status, output, errors = tool(walkers, '--out', tmp_path / 'set', '--workers', 1)
    assert status == 0, errors
    assert f'data card:    {tmp_path / "set/README.md"}' in output
    assert '600 people' in (tmp_path / 'set/README.md').read_text()
    status, _, errors = tool(walkers, '--out', tmp_path / 'other', '--webdataset', tmp_path / 'tars')
    assert status == 2 and 'argument --webdataset: takes --images' in errors
    assert not (tmp_path / 'other').exists()


def test_dry_run_writes_nothing(tool, walkers, tmp_path):
    before = sorted(tmp_path.iterdir())
    status, output, _ = tool(walkers, '--out', tmp_path / 'set', '--dry-run', '--workers', 2)
    assert status == 0 and sorted(tmp_path.iterdir()) == before
    assert 'walkers.json: coco, 600 people' in output
    assert all(f'{word}:' in output for word in ('would write', 'rate', 'time', 'size'))


def test_malformed_files_are_errors_of_one_line(tool, walkers, tmp_path):
    content = json.loads(walkers.read_text())
    content['annotations'][5] = 7
    walkers.write_text(json.dumps(content))
    status, _, errors = tool(walkers, '--out', tmp_path / 'set')
    assert status == 2 and not (tmp_path / 'set').exists()
    assert 'walkers.json: annotations[5] takes a dict' in errors.splitlines()[-1]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ((), 'takes annotation files, or --verify'),
        (('setup.py', '--verify'), 'takes annotation files, or --verify'),
        (('nowhere.json',), 'no such file or folder: nowhere.json'),
        (('setup.py', '--split', '1.5'), 'takes a number from 0 to 1'),
        (('setup.py', '--camera-prior', '190'), 'takes degrees between 0 and 180'),
        (('setup.py', '--address', 'auto'), '--address: takes --engine ray'),
        (('setup.py', '--resume', '--restart'), 'not allowed with'),
    ],
)
def test_wrong_arguments_are_told_at_once(tool, tmp_path, options, message):
    status, _, errors = tool(*options, '--out', tmp_path / 'set')
    assert status == 2 and message in errors and len(errors.splitlines()) == 1
