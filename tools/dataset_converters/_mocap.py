# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What the commands that read motion capture share: arguments, and what they say and return at their end."""

import argparse
import sys

from stereopose_mm.datasets.mocap_files import ConvertOptions


def mocap_parser(description):
    """A parser with the arguments of :class:`ConvertOptions` but the unit, which body models have of their own."""
    defaults = ConvertOptions()
    parser = argparse.ArgumentParser(
        description=description,
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
    return parser


def convert_options(args):
    """What the parsed arguments say of the files."""
    return ConvertOptions(
        fps=args.fps, bvh_drop_first=args.bvh_drop_first, amc_fps=args.amc_fps, subject_prefix=args.subject_prefix
    )


def run(name, convert, args):
    """Call the function that converts and return the command's exit status.

    Args:
        name: Of the command, for messages.
        convert: Takes ``args`` and returns a summary.
        args: From the parser.
    """
    try:
        summary = convert(args)
    except (ValueError, OSError) as error:
        print(f'{name}: error: {error}', file=sys.stderr)
        return 2
    print(
        f'{summary.clips} clips, {summary.frames} frames, {len(summary.skipped)} skipped'
        + (f' -> {args.out}' if summary.clips else ''),
        file=sys.stderr,
    )
    if not summary.clips:
        return 2
    return 1 if args.strict and summary.skipped else 0
