# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Bundle the HTML viewer's JavaScript with three.js into stereopose_mm/assets/viewer/viewer.js (takes npm)."""

import argparse

from stereopose_mm.visualization.build_viewer import build_viewer


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    path = build_viewer()
    print(f'{path}: {path.stat().st_size / 1e3:.0f} kB')


if __name__ == '__main__':
    main()
