# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Make the shipped example: three pictures, their detections and their true 3D poses.

The README's picture is then ``outputs/demo/pictures/000000000002.png`` of ``make demo``; it is kept as
``docs/images/lift_example.png``.
"""

import argparse
from pathlib import Path

from stereopose_mm.visualization.make_example import write_example

ASSETS = Path(__file__).resolve().parents[2] / 'stereopose_mm' / 'assets' / 'example'


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=ASSETS, metavar='DIR', help='folder to write (default: the assets)')
    parser.add_argument('--no-pictures', action='store_true', help='only detections and truth; pictures take minutes')
    return parser.parse_args()


def main():
    args = parse_args()
    for path in write_example(args.out, pictures=not args.no_pictures):
        print(path)


if __name__ == '__main__':
    main()
