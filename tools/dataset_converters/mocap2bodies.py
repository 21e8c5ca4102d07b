# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Pose bodies of many shapes by motion-capture files: one NPZ of H36M-17 and COCO-17 on the same bodies."""

import sys

from _mocap import convert_options, mocap_parser, run

from stereopose_mm.datasets.body_files import BodyDistribution, BodyOptions, convert_bodies


def parse_args():
    bodies, population = BodyOptions(), BodyDistribution()
    parser = mocap_parser(__doc__)
    parser.add_argument(
        '--bodies',
        type=int,
        default=bodies.bodies,
        metavar='N',
        help='pose every frame as so many bodies (default: %(default)s)',
    )
    parser.add_argument(
        '--frames-per-body',
        type=int,
        default=bodies.frames_per_body,
        metavar='N',
        help='change the body after so many frames (default: %(default)s)',
    )
    parser.add_argument(
        '--children',
        type=float,
        default=population.child_prob,
        metavar='SHARE',
        help='share of children among the bodies (default: %(default)s)',
    )
    parser.add_argument(
        '--limb-spread',
        type=float,
        default=population.limb_spread,
        metavar='SHARE',
        help='standard deviation of the length of a limb, on top of the body model (default: %(default)s)',
    )
    parser.add_argument('--seed', type=int, default=bodies.seed, help='same seed, same bodies (default: %(default)s)')
    return parser.parse_args()


def convert(args):
    population = BodyDistribution(child_prob=args.children, limb_spread=args.limb_spread)
    bodies = BodyOptions(args.bodies, args.frames_per_body, args.seed, population)
    return convert_bodies(args.sources, args.out, convert_options(args), bodies)


def main():
    return run('mocap2bodies', convert, parse_args())


if __name__ == '__main__':
    sys.exit(main())
