# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Pose bodies of many shapes by motion-capture files: one NPZ of H36M-17 and COCO-17 on the same bodies."""

import argparse
import sys

from stereopose_mm.datasets.body_files import BodyDistribution, BodyOptions, convert_bodies
from stereopose_mm.datasets.mocap_files import ConvertOptions


def parse_args():
    defaults, bodies, population = ConvertOptions(), BodyOptions(), BodyDistribution()
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Exit status: 0 if anything was converted, 1 if --strict and a file was skipped, '
        '2 if nothing was converted or an argument cannot be used.',
    )
    parser.add_argument('sources', nargs='+', metavar='SOURCE', help='motion file, folder, or tar or zip archive')
    parser.add_argument('--out', required=True, metavar='FILE.npz', help='file to write')
    parser.add_argument(
        '--fps',
        type=float,
        default=defaults.fps,
        help='keep about this many frames a second; never adds frames (default: %(default)s)',
    )
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
    parser.add_argument(
        '--bvh-drop-first',
        type=int,
        default=defaults.bvh_drop_first,
        metavar='N',
        help="frames to drop at the start of each BVH clip; CMU's have a T-pose there (default: %(default)s)",
    )
    parser.add_argument(
        '--amc-fps',
        type=float,
        default=defaults.amc_fps,
        help='frames a second of AMC files (default: %(default)s)',
    )
    parser.add_argument(
        '--subject-prefix',
        default=defaults.subject_prefix,
        help='goes before subjects that are bare numbers (default: %(default)s)',
    )
    parser.add_argument('--strict', action='store_true', help='exit 1 if a file was skipped')
    return parser.parse_args()


def main():
    args = parse_args()
    try:
        options = ConvertOptions(
            fps=args.fps,
            bvh_drop_first=args.bvh_drop_first,
            amc_fps=args.amc_fps,
            subject_prefix=args.subject_prefix,
        )
        population = BodyDistribution(child_prob=args.children, limb_spread=args.limb_spread)
        bodies = BodyOptions(args.bodies, args.frames_per_body, args.seed, population)
        summary = convert_bodies(args.sources, args.out, options, bodies)
    except (ValueError, OSError) as error:
        print(f'mocap2bodies: error: {error}', file=sys.stderr)
        return 2
    print(
        f'{summary.clips} clips, {summary.frames} frames, {len(summary.skipped)} skipped'
        + (f' -> {args.out}' if summary.clips else ''),
        file=sys.stderr,
    )
    if not summary.clips:
        return 2
    return 1 if args.strict and summary.skipped else 0


if __name__ == '__main__':
    sys.exit(main())
