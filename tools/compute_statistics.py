# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Compute what the pixel view is standardised with, over the training set of a config."""

import argparse
import sys

from stereopose_mm.datasets.statistics import write_statistics


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', required=True, metavar='FILE.json', help='file to write')
    parser.add_argument(
        '--num-pairs', type=int, default=200_000, metavar='N', help='pairs or records to take (default: %(default)s)'
    )
    parser.add_argument(
        '--baseline', type=float, metavar='METRES', help="second camera's place (default: the pixel codec's, or 0.1)"
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    try:
        statistics = write_statistics(args.config, args.out, args.num_pairs, args.baseline)
    except (ValueError, OSError) as error:
        print(f'compute_statistics: error: {error}', file=sys.stderr)
        return 2
    print(
        f'{statistics["num_pairs"]} pairs, baseline {statistics["baseline"]:g} m -> {args.out}',
        file=sys.stderr,
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
