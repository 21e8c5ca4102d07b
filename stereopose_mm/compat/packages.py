# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""MMEngine's look-ups of installed packages, without `pkg_resources`.

MMEngine 0.10 finds `_base_ = 'mmpose::...'` configs, and MMPose its default detectors, through
`pkg_resources`: new setuptools has dropped it, older ones warn at its import, and it names a folder
that does not exist for an editable install. The standard library answers the same questions.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib import metadata
from pathlib import Path

from mmengine.utils import package_utils


def apply() -> None:
    """Replace MMEngine's `is_installed` and `get_installed_path` by those below."""
    for replacement in (is_installed, get_installed_path):
        _replace(getattr(package_utils, replacement.__name__), replacement)


def is_installed(package: str) -> bool:
    """Tell whether a distribution, or else an importable package, has this name."""
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        spec = importlib.util.find_spec(package)
        return spec is not None and spec.origin is not None
    return True


def get_installed_path(package: str) -> str:
    """Return the folder of a package's module.

    Args:
        package: Name of the module, or of a distribution whose module is called otherwise, such as
            `mmcv-lite`.

    Raises:
        importlib.metadata.PackageNotFoundError: Nothing of this name is installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None:
        top_level = metadata.distribution(package).read_text('top_level.txt') or package
        spec = importlib.util.find_spec(top_level.split()[0])
    if spec is None or spec.origin is None:
        raise metadata.PackageNotFoundError(package)
    return str(Path(spec.origin).parent)


def _replace(old, new) -> None:
    # MMEngine imports these functions by name, so each module that has done so holds its own.
    for name, module in list(sys.modules.items()):
        if name.partition('.')[0] in ('mmengine', 'mmpose', 'mmdet'):
            if vars(module).get(new.__name__) is old:
                setattr(module, new.__name__, new)
