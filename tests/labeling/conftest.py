# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import pytest

from stereopose_mm.labeling import LabelConfig, load_labellers


@pytest.fixture(scope='session')
def labellers():
    """The shipped lifters with their calibrations."""
    return load_labellers(LabelConfig(), ('coco', 'h36m'))
