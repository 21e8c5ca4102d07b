# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Convert wild.npy, the labels of the original release, to a Wild-3D set."""

import argparse
import sys


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='docs/datasets/wild3d.md says what is known of the file. Exit status: 0, or 2 if the file or an '
        'argument cannot be used.',
    )
    parser.add_argument('source', metavar='wild.npy')
    parser.add_argument('out', help='file ending in .json, or folder for the shards')
    parser.add_argument('--images', metavar='DIR', help="folder of the images, for their sizes (default: Human3.6M's)")
    parser.add_argument(
        '--joint-order',
        nargs='+',
        metavar='NAME',
        help="names of Human3.6M's keypoints in the file's order (default: MMPose's order)",
    )
    parser.add_argument(
        '--layout',
        choices=('auto', 'interleaved', 'planar'),
        default='auto',
        help='order of the coordinates: x y x y, or x x y y (default: found by comparing 2D with 3D)',
    )
    parser.add_argument('--split', default='train', help='name of the part of the set (default: %(default)s)')
    parser.add_argument('--shards', type=int, metavar='N', help='number of shards (default: one for 100,000 people)')
    return parser.parse_args()


def main():
    args = parse_args()
    from stereopose_mm.datasets.wild3d_files import convert_wild_npy

    try:
        done = convert_wild_npy(
            args.source, args.out, args.images, args.joint_order, args.layout, args.split, args.shards
        )
    except (ValueError, OSError) as error:
        print(f'wild_npy2wild3d: error: {error}', file=sys.stderr)
        return 2
    print(f'{done} -> {args.out}', file=sys.stderr)
    return 0


if __name__ == '__main__':
    sys.exit(main())
