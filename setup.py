# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Packaging: a plugin that pip, and MMPose's `mim`, can install beside MMPose."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# What `mim` and a wheel's user look for in `<package>/.mim`, as in MMPose and MMDet.
MIM_FILES = ('configs', 'tools', 'model-index.yml')


def read_version() -> str:
    """Return `__version__` without importing the package, which needs torch."""
    text = (ROOT / 'stereopose_mm' / 'version.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '(.+)'$", text, re.M).group(1)


def read_requirements(name: str) -> list[str]:
    """Return the requirements in `requirements/<name>.txt`, without comments."""
    text = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8')
    lines = (line.split('#')[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


class BuildWithMim(build_py):
    """Put configs and tools into `stereopose_mm/.mim` of the built package."""

    def run(self):
        """Build the package; an editable one gets links, a wheel gets copies."""
        super().run()
        if getattr(self, 'editable_mode', False):
            self._link_mim_files(ROOT / 'stereopose_mm' / '.mim')
        else:
            self._copy_mim_files(Path(self.build_lib) / 'stereopose_mm' / '.mim')

    def _link_mim_files(self, mim: Path) -> None:
        mim.mkdir(exist_ok=True)
        for source in self._mim_sources():
            target = mim / source.name
            if target.is_symlink():
                target.unlink()
            target.symlink_to(Path('..', '..', source.name), source.is_dir())

    def _copy_mim_files(self, mim: Path) -> None:
        shutil.rmtree(mim, ignore_errors=True)  # left by an earlier build
        mim.mkdir(parents=True)
        skipped = shutil.ignore_patterns('__pycache__', '*.pyc')
        for source in self._mim_sources():
            if source.is_dir():
                shutil.copytree(source, mim / source.name, ignore=skipped)
            else:
                shutil.copy(source, mim)

    @staticmethod
    def _mim_sources() -> list[Path]:
        return [ROOT / name for name in MIM_FILES if (ROOT / name).exists()]


extras = {name: read_requirements(name) for name in ('lite', 'optional', 'ray', 'tests', 'lint')}
# `lite` stays out of `all`: mmcv-lite would overwrite a full mmcv.
extras['all'] = extras['optional'] + extras['ray'] + extras['tests'] + extras['lint']
readme = ROOT / 'README.md'

setup(
    name='stereopose_mm',
    version=read_version(),
    description='Metric 3D human poses from 2D keypoints: a plugin for MMPose 1.x',
    long_description=readme.read_text(encoding='utf-8') if readme.exists() else '',
    long_description_content_type='text/markdown',
    author='StereoPose-MM contributors',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['stereopose_mm', 'stereopose_mm.*']),
    package_data={'stereopose_mm': ['weights/*', 'assets/*', 'assets/**/*']},
    install_requires=read_requirements('runtime'),
    extras_require=extras,
    cmdclass={'build_py': BuildWithMim},
    zip_safe=False,
)
