# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""StereoPose-MM: metric 3D human poses from 2D keypoints, as an MMPose 1.x plugin.

Importing the package registers its components in ``mmpose.registry``.
"""

from . import compat
from .version import __version__

compat.apply()

from . import codecs, datasets, evaluation, models  # noqa: E402

__all__ = ['__version__', 'codecs', 'compat', 'datasets', 'evaluation', 'models']
