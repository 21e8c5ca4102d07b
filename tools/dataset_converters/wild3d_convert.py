# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Convert a Wild-3D set: COCO-format JSON to Parquet shards, or back, or to another number of shards."""

import argparse
import sys


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='A run that was cut short is continued by the same command. Exit status: 0, or 2 if the set or an '
        'argument cannot be used.',
    )
    parser.add_argument('source', help='JSON file, folder of shards, or pattern of shards in quotes')
    parser.add_argument('out', help='file ending in .json, or folder for the shards')
    parser.add_argument('--split', default='train', help='part of the set in a folder of shards (default: %(default)s)')
    parser.add_argument('--shards', type=int, metavar='N', help='number of shards (default: one for 100,000 people)')
    parser.add_argument('--skeleton', help="keypoint set of a JSON file whose categories don't tell: h36m, coco …")
    return parser.parse_args()


def main():
    args = parse_args()
    from stereopose_mm.datasets.wild3d_files import convert_wild3d

    try:
        done = convert_wild3d(args.source, args.out, args.split, args.shards, args.skeleton)
    except (ValueError, OSError) as error:
        print(f'wild3d_convert: error: {error}', file=sys.stderr)
        return 2
    print(f'{done} -> {args.out}', file=sys.stderr)
    return 0


if __name__ == '__main__':
    sys.exit(main())
