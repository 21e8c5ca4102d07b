# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Everything that exists only because of the versions of what we build upon.

`import stereopose_mm` calls :func:`apply` before it imports anything of OpenMMLab's. A script that
imports MMPose or MMDet first, such as MMPose's own demos, runs under mmcv-lite with
`python -m stereopose_mm.compat SCRIPT [ARGUMENTS ...]`.
"""

from . import versions


def apply() -> None:
    """Check the installed versions, then fill the gaps between them; safe to call again.

    Raises:
        ImportError: A package is missing or its version is outside the supported range.
    """
    versions.check()
    # Only now: these import the packages that the check may find missing.
    from . import checkpoints, distributed, drawing, inferencers, mmcv_ops, packages

    packages.apply()
    mmcv_ops.apply()
    checkpoints.apply()
    distributed.apply()
    drawing.apply()
    inferencers.apply()


__all__ = ['apply']
