# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Put runs of tools/test.py --leaderboard into one table, with paired bootstrap confidence intervals."""

import argparse
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog='Exit status: 0, or 2 if a run cannot be read or has other poses than the first.'
    )
    parser.add_argument(
        'runs', nargs='+', metavar='RUN', help='leaderboard folder or predictions.npz; the first is the reference'
    )
    parser.add_argument('--names', nargs='+', metavar='NAME', help="names of the runs (default: the methods' own)")
    parser.add_argument('--metric', dest='label', default='MPJPE', help='error to compare (default: %(default)s)')
    parser.add_argument('--group-by', metavar='KEY', help='compare by group as well, such as action')
    parser.add_argument(
        '--cluster-by',
        metavar='KEY',
        help='resample whole groups of this key, such as subject (default: sequences where the files name them, else '
        'single poses)',
    )
    parser.add_argument('--resamples', type=int, default=10_000, metavar='N', help='default: %(default)s')
    parser.add_argument('--seed', type=int, default=0, help='default: %(default)s')
    parser.add_argument('--out', metavar='DIR', help='folder for tables (Markdown, CSV, LaTeX, JSON) and plots')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from stereopose_mm.evaluation.comparison_files import compare_files

    try:
        compare_files(**vars(args))
    except (ValueError, OSError) as error:
        print(f'compare: error: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
