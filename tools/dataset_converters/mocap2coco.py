# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Make COCO-format annotations of people whose 3D poses are known, by bodies that motion capture has posed."""

import argparse
import sys

import torch

from stereopose_mm.labeling.mocap_annotations import NOISES, SUBJECTS, write_mocap_annotations


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Exit status: 0, or 2 if an argument or the file cannot be used.',
    )
    parser.add_argument('bodies', metavar='BODIES.npz', help='from mocap2bodies.py')
    parser.add_argument('--out', required=True, metavar='FILE.json', help='annotations; the images need not exist')
    parser.add_argument('--truth', required=True, metavar='FILE.npz', help='3D poses (H36M-17) and cameras')
    parser.add_argument('--num', type=int, required=True, metavar='N', help='people, one an image')
    parser.add_argument(
        '--noise', choices=tuple(NOISES), default='annotator',
        help='errors of the 2D; mixed: all kinds that an unsorted set has (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument('--seed', type=int, default=0, help='same seed, same people (default: %(default)s)')
    parser.add_argument(
        '--split', choices=SUBJECTS, default='all',
        help="subjects: all, those of the shipped lifter's training, or those held aside (default: %(default)s)",
    )  # fmt: skip
    return parser.parse_args()


def main():
    args = parse_args()
    # More threads would change the last bits of the truth.
    torch.set_num_threads(1)
    try:
        done = write_mocap_annotations(
            args.bodies, args.out, args.truth, args.num, args.noise, args.seed, args.split
        )  # fmt: skip
    except (ValueError, OSError) as error:
        print(f'mocap2coco: error: {error}', file=sys.stderr)
        return 2
    print(
        f'{done.people} people ({done.unmarked} without a keypoint) in {done.poses} different poses '
        f'-> {args.out}, {args.truth}',
        file=sys.stderr,
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
