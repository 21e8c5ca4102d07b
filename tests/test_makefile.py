# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""When `make` installs: what it would do (`make -n`) around an environment that is a stub."""

import os
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(shutil.which('make') is None, reason='make is not installed')

FRESH = '-m venv --clear .venv'
REFRESH = '-m venv  .venv'
STAMP = '.venv/.stereopose-installed'


def executable(path, script):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n{script}\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def checkout(tmp_path, project_root):
    """A copy of what the Makefile reads, with an environment that counts as installed."""
    shutil.copytree(project_root / 'requirements', tmp_path / 'requirements')
    for name in ('Makefile', 'setup.py'):
        shutil.copy(project_root / name, tmp_path / name)
    for path in tmp_path.rglob('*'):
        os.utime(path, (1000, 1000))
    executable(tmp_path / '.venv/bin/python', f'exec {sys.executable} "$@"')
    (tmp_path / STAMP).write_text(f'{tmp_path}\n')
    os.utime(tmp_path / STAMP, (2000, 2000))
    return tmp_path


def make(checkout, *arguments):
    environment = {k: v for k, v in os.environ.items() if k not in ('VENV', 'PYTHON', 'MAKEFLAGS', 'MAKELEVEL')}
    return subprocess.run(['make', *arguments], cwd=checkout, env=environment, capture_output=True, text=True)


def plan(checkout, *targets):
    done = make(checkout, '-n', *targets)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_up_to_date_environment_is_used_as_it_is(checkout):
    assert plan(checkout, 'test') == '.venv/bin/python -m pytest\n'


def test_missing_environment_is_made(checkout):
    shutil.rmtree(checkout / '.venv')
    steps = plan(checkout, 'test')
    order = [FRESH, 'build.txt', 'runtime.txt', '-e .', 'pip check', f'> {STAMP}', '-m pytest']
    assert [steps.index(step) for step in order] == sorted(steps.index(step) for step in order)


@pytest.mark.parametrize(
    'changed', ['requirements/runtime.txt', 'requirements/constraints.txt', 'setup.py', 'Makefile']
)
def test_change_of_the_requirements_refreshes(checkout, changed):
    os.utime(checkout / changed, (3000, 3000))
    steps = plan(checkout, 'test')
    assert REFRESH in steps and FRESH not in steps and '-r requirements/runtime.txt' in steps


def test_cut_short_install_starts_afresh(checkout):
    (checkout / STAMP).unlink()
    assert FRESH in plan(checkout, 'setup')


def test_moved_environment_starts_afresh(checkout):
    (checkout / STAMP).write_text('/somewhere/else\n')
    assert FRESH in plan(checkout, 'setup')


def test_environment_whose_python_is_gone_starts_afresh(checkout):
    (checkout / '.venv/bin/python').unlink()
    (checkout / '.venv/bin/python').symlink_to('/nonexistent/python3')
    assert FRESH in plan(checkout, 'setup')


def test_parallel_targets_install_once(checkout):
    (checkout / STAMP).unlink()
    steps = plan(checkout, '-j4', 'setup', 'demo', 'test', 'lint')
    assert steps.count(FRESH) == 1
    assert 'tools/demo.py' in steps and '-m pytest' in steps and 'ruff check' in steps


def test_other_environment_folder(checkout):
    steps = plan(checkout, 'test', 'VENV=other')
    assert '-m venv --clear other' in steps and '.venv' not in steps


def test_old_python_is_refused_in_one_line(checkout):
    old = executable(checkout / 'old', 'case "$1" in -V) echo Python 3.9.18;; *) exit 1;; esac')
    done = make(checkout, 'setup', f'PYTHON={old}', 'VENV=other')
    assert done.returncode != 0
    first = done.stderr.splitlines()[0]
    assert first.startswith('error: Python >= 3.10 is needed') and 'Python 3.9.18' in first
    assert not (checkout / 'other').exists()


def test_missing_python_is_named(checkout):
    done = make(checkout, 'setup', 'PYTHON=surely-not-a-python', 'VENV=other')
    assert done.returncode != 0
    assert done.stderr.startswith("error: 'surely-not-a-python' not found")


def test_failed_install_leaves_no_stamp(checkout):
    os.utime(checkout / 'setup.py', (3000, 3000))
    broken = executable(checkout / 'broken', 'case "$2" in venv) exit 3;; esac')
    done = make(checkout, 'setup', f'PYTHON={broken}')
    assert done.returncode != 0
    assert not (checkout / STAMP).exists()
