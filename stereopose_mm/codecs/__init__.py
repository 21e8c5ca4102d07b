# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from .stereo_pose_lifting import StereoPoseLifting

__all__ = ['StereoPoseLifting']
