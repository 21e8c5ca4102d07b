# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import mmcv
import pytest

from stereopose_mm.compat import versions


def test_this_environment_passes():
    versions.check()


@pytest.mark.parametrize(
    'name, installed',
    [
        ('mmcv', '2.0.0'),
        ('mmcv', '2.1.0'),
        ('mmengine', '0.10.7'),
        ('mmpose', '1.3.2'),
        ('mmpose', '1.4.0rc1'),
        ('torch', '2.14.1+cpu'),
        ('torch', '2.1.0a0+32f93b1'),
    ],
)
def test_supported_version(name, installed):
    versions.check_version(name, installed, versions.REQUIRED[name])


@pytest.mark.parametrize(
    'name, installed',
    [
        ('mmcv', '1.7.2'),
        ('mmcv', '2.2.0'),
        ('mmengine', '0.8.4'),
        ('mmpose', '0.29.0'),
        ('mmpose', '1.2.0'),
        ('torch', '1.13.1+cu117'),
    ],
)
def test_unsupported_version(name, installed):
    needed = versions.REQUIRED[name]
    with pytest.raises(ImportError) as error:
        versions.check_version(name, installed, needed)
    assert f'needs {name}{needed}, but {name}=={installed} is installed' in str(error.value)
    assert f'install "{name}{needed}"' in str(error.value)


def test_wrong_version_stops_the_check(monkeypatch):
    monkeypatch.setattr(mmcv, '__version__', '2.2.0')
    with pytest.raises(ImportError, match='pip install "mmcv-lite>=2.0.0,<2.2.0"'):
        versions.check()


def test_missing_package(monkeypatch):
    monkeypatch.setitem(versions.REQUIRED, 'surely_not_installed', '>=1.0')
    with pytest.raises(ModuleNotFoundError, match='surely_not_installed is not installed'):
        versions.check()


def test_broken_package_keeps_its_own_error(monkeypatch, tmp_path):
    (tmp_path / 'broken_package.py').write_text('import surely_not_installed\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(versions.REQUIRED, 'broken_package', '>=1.0')
    with pytest.raises(ModuleNotFoundError, match="No module named 'surely_not_installed'"):
        versions.check()
