# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Measure a 2D detector's errors against annotations, in the terms of the noise that pairs are made with."""

import argparse
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'ann_files', nargs='+', metavar='ANN', help="annotations: COCO-style JSON, MPII's JSON list, or MMPose's NPZ"
    )
    parser.add_argument(
        '--datasets', nargs='+', required=True, metavar='NAME', help="MMPose's name of each file's keypoint set"
    )
    parser.add_argument(
        '--detections', nargs='+', required=True, metavar='FILE', help="the detector's COCO-17 results on each, JSON"
    )
    parser.add_argument('--out', required=True, metavar='FILE.md', help='page to write; the numbers go beside it')
    parser.add_argument(
        '--exclude', nargs='+', default=[], metavar='PATTERN', help='image files to leave out, such as drawings'
    )
    parser.add_argument(
        '--bootstrap', type=int, default=200, metavar='N', help='resamples for the intervals (default: %(default)s)'
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from stereopose_mm.datasets.detector_report import write_report

    try:
        report = write_report(
            args.ann_files, args.datasets, args.detections, args.out, args.exclude, num_bootstrap=args.bootstrap
        )
    except (ValueError, OSError) as error:
        print(f'measure_detector: error: {error}', file=sys.stderr)
        return 2
    print(f'{report["people"]} people -> {args.out}', file=sys.stderr)
    return 0


if __name__ == '__main__':
    sys.exit(main())
