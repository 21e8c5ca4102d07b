# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Save a picture of an HTML viewer's page, as the README shows it (takes playwright and an installed Chromium)."""

import argparse
from pathlib import Path

from stereopose_mm.visualization.viewer_browser import picture_viewer


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('html', type=Path, help='the page')
    parser.add_argument('picture', type=Path, help='PNG file to write')
    parser.add_argument('--frame', type=int, default=0, help='which frame, from 0')
    parser.add_argument('--view', default='overview', choices=['overview', 'front', 'side', 'top', 'camera'])
    parser.add_argument('--size', type=int, nargs=2, default=(1600, 1000), metavar=('WIDTH', 'HEIGHT'))
    parser.add_argument('--keys', default='', help="keys pressed before, such as 'u' for the uncertainty of depth")
    return parser.parse_args()


def main():
    args = parse_args()
    picture_viewer(args.html, args.picture, args.frame, args.view, tuple(args.size), args.keys)
    print(args.picture)


if __name__ == '__main__':
    main()
