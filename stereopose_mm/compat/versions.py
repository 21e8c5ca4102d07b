# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Checks of the installed versions, as MMPose's own `__init__` does them."""

from __future__ import annotations

import importlib
from types import ModuleType

from packaging.specifiers import SpecifierSet

# In the order in which they import each other: MMPose's own check is a bare AssertionError, so
# ours of MMEngine and MMCV has to come before it. MMDet 3.3 takes no MMCV from 2.2 on.
REQUIRED = {
    'torch': '>=2.0',
    'mmengine': '>=0.10.0,<1.0',
    'mmcv': '>=2.0.0,<2.2.0',
    'mmpose': '>=1.3.0,<2.0',
}


def check() -> None:
    """Import every required package and check its version.

    Raises:
        ImportError: A package is missing, or its version is outside the supported range. The
            message says what is installed, what is needed and the command that installs it.
    """
    for name, needed in REQUIRED.items():
        check_version(name, _import(name, needed).__version__, needed)


def check_version(name: str, installed: str, needed: str) -> None:
    """Check one version against a range.

    Args:
        name: Name of the package.
        installed: Its version, such as `'2.14.1+cpu'`.
        needed: The supported range as a PEP 440 specifier, such as `'>=2.0.0,<2.2.0'`.

    Raises:
        ImportError: The version is outside the range.
    """
    if not SpecifierSet(needed).contains(installed, prereleases=True):
        raise ImportError(
            f'stereopose_mm needs {name}{needed}, but {name}=={installed} is installed. {_how_to_install(name, needed)}'
        )


def _import(name: str, needed: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # the package is there, but something it needs is not
            raise
        raise ModuleNotFoundError(
            f'stereopose_mm needs {name}{needed}, but {name} is not installed. {_how_to_install(name, needed)}',
            name=name,
        ) from None


def _how_to_install(name: str, needed: str) -> str:
    if name == 'mmcv':
        return (
            f'Install full mmcv with: mim install "mmcv{needed}", or without compiled '
            f'operators: pip install "mmcv-lite{needed}"'
        )
    return f'Install it with: pip install "{name}{needed}"'
