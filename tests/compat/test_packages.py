# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import importlib.util
from importlib import metadata
from pathlib import Path

import mmcv
import mmpose
import pytest
from mmengine.config import Config
from mmengine.utils import package_utils

import stereopose_mm  # noqa: F401
from stereopose_mm.compat import packages


def test_path_of_a_module():
    assert packages.get_installed_path('mmpose') == str(Path(mmpose.__file__).parent)


@pytest.mark.skipif(not packages.is_installed('mmcv-lite'), reason='full mmcv is installed')
def test_path_of_a_distribution_with_another_name():
    assert packages.get_installed_path('mmcv-lite') == str(Path(mmcv.__file__).parent)


def test_not_installed():
    assert packages.is_installed('mmengine')
    assert not packages.is_installed('surely_not_installed')
    with pytest.raises(metadata.PackageNotFoundError):
        packages.get_installed_path('surely_not_installed')


def test_config_inherits_from_mmpose(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text("_base_ = ['mmpose::_base_/default_runtime.py']\n")
    assert Config.fromfile(path).default_scope == 'mmpose'


def test_replaces_by_whether_pkg_resources_is_there(monkeypatch):
    from mmengine.config import config

    for module in (package_utils, config):  # restored at the end
        monkeypatch.setattr(module, 'get_installed_path', lambda package: 'upstream')
    found = importlib.util.find_spec('packaging')
    same = package_utils.get_installed_path
    monkeypatch.setattr(config, 'get_installed_path', same)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: found)
    packages.apply()
    assert package_utils.get_installed_path is same
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    packages.apply()
    assert package_utils.get_installed_path is packages.get_installed_path
    assert config.get_installed_path is packages.get_installed_path
