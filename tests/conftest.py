# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from mmengine.registry import DefaultScope

PROJECT_ROOT = Path(__file__).resolve().parents[1]

# Small tensors are slower on many threads, and other processes may share the cores.
torch.set_num_threads(1)

# How long an example takes says more about the machine than about the code.
settings.register_profile('untimed', deadline=None)
settings.load_profile('untimed')


@pytest.fixture(scope='session')
def project_root() -> Path:
    """The root of the checkout."""
    return PROJECT_ROOT


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """The folder of real test data beside the checkout; skips where it does not exist."""
    path = PROJECT_ROOT.parent / 'shared' / 'data'
    if not path.is_dir():
        pytest.skip('no ../shared/data beside the checkout')
    return path


@pytest.fixture(scope='module', autouse=True)
def own_default_scope():
    """MMDet's and MMPose's inferencers leave their default scope behind; no module depends on those before it."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)
