# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Make the shipped example: three pictures and a clip, their detections and their true 3D poses.

The README's picture is then ``outputs/demo/pictures/000000000002.png`` of ``make demo``; it is kept as
``docs/images/lift_example.png``.
"""

import argparse
from itertools import chain
from pathlib import Path

from stereopose_mm.visualization.make_example import write_clip, write_example

ASSETS = Path(__file__).resolve().parents[2] / 'stereopose_mm' / 'assets' / 'example'


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=ASSETS, metavar='DIR', help='folder to write (default: the assets)')
    parser.add_argument('--only', choices=('pictures', 'clip'), help='make one of both (default: both)')
    parser.add_argument(
        '--no-pictures', action='store_true', help='only detections and truth; pictures and video take minutes'
    )
    parser.add_argument(
        '--processes', type=int, default=2, metavar='N', help="that draw the clip's frames (default: 2)"
    )
    return parser.parse_args()


def main():
    args = parse_args()
    draw = not args.no_pictures
    parts = {
        'pictures': write_example(args.out, pictures=draw),
        'clip': write_clip(args.out, video=draw, processes=args.processes),
    }
    for path in chain.from_iterable(parts.values() if args.only is None else [parts[args.only]]):
        print(path)


if __name__ == '__main__':
    main()
