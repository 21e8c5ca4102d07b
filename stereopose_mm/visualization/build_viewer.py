# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The HTML viewer's JavaScript in one file: its sources and what they use of three.js, bundled by esbuild."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..files import whole_file

VIEWER_ASSETS = Path(__file__).resolve().parents[1] / 'assets' / 'viewer'
_RECORDED = re.compile(r'^ \* sources: sha256 ([0-9a-f]{64})$', re.M)
_HEADER = """\
/*!
 * StereoPose-MM viewer. Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
 * Written by tools/misc/build_viewer.py: edit src/*.js and run it, not this file.
 * sources: sha256 {digest}
 *
 * Holds parts of three.js {version}, https://threejs.org, under this licence:
 *
{licence}
 */
"""


def hash_viewer_sources(assets: Path = VIEWER_ASSETS) -> str:
    """SHA-256 of all that the bundle is made of: ``package.json``, ``package-lock.json`` and ``src/*.js``."""
    digest = hashlib.sha256()
    for path in (assets / 'package.json', assets / 'package-lock.json', *sorted((assets / 'src').glob('*.js'))):
        # Line ends may differ between checkouts.
        content = path.read_bytes().replace(b'\r\n', b'\n')
        digest.update(f'{path.name} {len(content)}\n'.encode() + content)
    return digest.hexdigest()


def read_recorded_hash(assets: Path = VIEWER_ASSETS) -> str | None:
    """The hash of the sources from which ``viewer.js`` was built, as it says itself."""
    match = _RECORDED.search((assets / 'viewer.js').read_text(encoding='utf-8')[:2000])
    return match and match.group(1)


def build_viewer(assets: Path = VIEWER_ASSETS) -> Path:
    """Bundle the viewer's sources into ``viewer.js``; takes Node.js, npm and the npm registry.

    Args:
        assets: Folder with ``package.json``, ``package-lock.json`` and ``src/main.js``.

    Returns:
        The file written.

    Raises:
        ValueError: If npm is not installed.
        subprocess.CalledProcessError: If npm or esbuild fails; both say why on stderr.
    """
    if shutil.which('npm') is None:
        raise ValueError('npm: not found; building the viewer takes Node.js with npm')
    with tempfile.TemporaryDirectory() as folder:
        # Not in the package's folder, or its wheel would hold node_modules.
        work = Path(folder)
        for name in ('package.json', 'package-lock.json'):
            shutil.copy(assets / name, work)
        shutil.copytree(assets / 'src', work / 'src')
        subprocess.run(['npm', 'ci', '--no-audit', '--no-fund', '--loglevel=error'], cwd=work, check=True)
        options = [
            '--bundle',
            '--minify',
            '--format=iife',
            '--target=es2021',
            '--charset=utf8',
            '--legal-comments=none',
        ]
        subprocess.run(
            [work / 'node_modules/.bin/esbuild', 'src/main.js', *options, '--outfile=bundle.js'], cwd=work, check=True
        )
        three = work / 'node_modules' / 'three'
        licence = (three / 'LICENSE').read_text(encoding='utf-8').strip()
        header = _HEADER.format(
            digest=hash_viewer_sources(assets),
            version=json.loads((three / 'package.json').read_text(encoding='utf-8'))['version'],
            licence='\n'.join(f' * {line}'.rstrip() for line in licence.splitlines()),
        )
        with whole_file(assets / 'viewer.js') as path:
            path.write_text(header + (work / 'bundle.js').read_text(encoding='utf-8'), encoding='utf-8')
    return assets / 'viewer.js'
