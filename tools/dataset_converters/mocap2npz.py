# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Convert motion-capture files (BVH, ASF/AMC, DeepMimic) to one NPZ of H36M-17 poses."""

import argparse
import sys

from stereopose_mm.datasets.mocap_files import ConvertOptions, convert_mocap


def parse_args():
    defaults = ConvertOptions()
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
        '--bvh-unit',
        type=float,
        default=defaults.bvh_unit,
        help='metres per unit of BVH files (default: %(default)s)',
    )
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
        options = ConvertOptions(args.fps, args.bvh_unit, args.bvh_drop_first, args.amc_fps, args.subject_prefix)
        summary = convert_mocap(args.sources, args.out, options)
    except (ValueError, OSError) as error:
        print(f'mocap2npz: error: {error}', file=sys.stderr)
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
