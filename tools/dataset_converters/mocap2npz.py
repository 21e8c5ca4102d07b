# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Convert motion-capture files (BVH, ASF/AMC, DeepMimic) to one NPZ of H36M-17 poses."""

import sys
from dataclasses import replace

from _mocap import convert_options, mocap_parser, run

from stereopose_mm.datasets.mocap_files import ConvertOptions, convert_mocap


def parse_args():
    parser = mocap_parser(__doc__)
    parser.add_argument(
        '--bvh-unit',
        type=float,
        default=ConvertOptions().bvh_unit,
        help='metres per unit of BVH files (default: %(default)s)',
    )
    return parser.parse_args()


def convert(args):
    return convert_mocap(args.sources, args.out, replace(convert_options(args), bvh_unit=args.bvh_unit))


def main():
    return run('mocap2npz', convert, parse_args())


if __name__ == '__main__':
    sys.exit(main())
