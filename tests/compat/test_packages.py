# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import importlib
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


def test_replaces_what_mmengine_and_mmpose_have_imported():
    import mmpose.apis  # noqa: F401

    holders = (
        'mmengine.utils',
        'mmengine.utils.package_utils',
        'mmengine.config.config',
        'mmengine.hub.hub',
        'mmpose.apis.inferencers.utils.default_det_models',
    )
    for name in holders:
        module = importlib.import_module(name)
        assert module.get_installed_path is packages.get_installed_path, name
    assert package_utils.is_installed is packages.is_installed


def test_path_of_this_project_in_an_editable_install(project_root):
    assert package_utils.get_installed_path('stereopose_mm') == str(project_root / 'stereopose_mm')
