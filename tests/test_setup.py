# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import shutil
import subprocess
import sys
import zipfile

import pytest
from packaging.requirements import Requirement

import stereopose_mm


@pytest.fixture(scope='module')
def wheel(tmp_path_factory, project_root):
    """The project's wheel, built from a copy so that nothing is left in the checkout."""
    source = tmp_path_factory.mktemp('source')
    skipped = shutil.ignore_patterns('__pycache__', '.mim')
    for name in ('stereopose_mm', 'configs', 'tools', 'requirements'):
        if (project_root / name).is_dir():
            shutil.copytree(project_root / name, source / name, ignore=skipped)
    for name in ('setup.py', 'pyproject.toml', 'LICENSE'):
        shutil.copy(project_root / name, source)
    done = subprocess.run(
        [sys.executable, 'setup.py', '-q', 'bdist_wheel'],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    (path,) = (source / 'dist').glob('*.whl')
    return zipfile.ZipFile(path)


def test_wheel_has_everything_that_the_checkout_has(wheel, project_root):
    names = set(wheel.namelist())
    package = project_root / 'stereopose_mm'
    inside = [p for part in ('weights', 'assets') for p in (package / part).rglob('*')]
    inside += package.rglob('*.py')
    outside = [p for part in ('configs', 'tools') for p in (project_root / part).rglob('*')]
    expected = {p.relative_to(project_root).as_posix() for p in inside if p.is_file()}
    expected |= {f'stereopose_mm/.mim/{p.relative_to(project_root).as_posix()}' for p in outside if p.is_file()}
    expected = {name for name in expected if '__pycache__' not in name}
    assert 'stereopose_mm/compat/mmcv_ops.py' in expected
    assert expected <= names
    assert not any('__pycache__' in name or name.startswith('tests') for name in names)


def test_wheel_states_what_it_needs(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith('.dist-info/METADATA'))
    lines = wheel.read(name).decode().splitlines()
    assert f'Version: {stereopose_mm.__version__}' in lines
    assert 'Requires-Python: >=3.10' in lines
    needed = [Requirement(line[15:]) for line in lines if line.startswith('Requires-Dist: ')]
    always = {requirement.name for requirement in needed if requirement.marker is None}
    assert {'mmpose', 'mmengine', 'torch', 'kornia'} <= always
    # Either kind of mmcv would overwrite the other.
    assert not any(name.startswith('mmcv') for name in always)
    lite = [r for r in needed if r.name == 'mmcv-lite']
    assert [str(r.marker) for r in lite] == ['extra == "lite"']


def test_constraints_pin_everything_that_is_asked_for(project_root):
    folder = project_root / 'requirements'
    pinned = {}
    for line in (folder / 'constraints.txt').read_text().splitlines():
        if not line.startswith('#'):
            pin = Requirement(line)
            assert [s.operator for s in pin.specifier] == ['=='], line
            pinned.setdefault(pin.name.lower(), []).append(pin)
    for path in folder.glob('*.txt'):
        if path.name == 'constraints.txt':
            continue
        for line in path.read_text().splitlines():
            if line.partition('#')[0].strip():
                asked = Requirement(line.partition('#')[0].strip())
                for pin in pinned[asked.name.lower()]:
                    version = next(iter(pin.specifier)).version
                    assert asked.specifier.contains(version), f'{asked} against {pin}'
