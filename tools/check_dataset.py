# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Read a config's data set as training would; report what is in it and what is wrong. Exit status 1 if anything is."""

import argparse
import sys

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train', help='which data loader')
    parser.add_argument('--out', help='folder for report.md, report.json and contact_sheet.png')
    parser.add_argument('--max-residual', type=float, default=3.0, help='pixels that 2D and 3D may differ (default 3)')
    parser.add_argument('--sheet', type=int, default=16, help='pairs on the contact sheet (default 16)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='config overrides, key=value')
    return parser.parse_args()


if __name__ == '__main__':
    args = parse_args()
    from stereopose_mm.engine import check_dataset

    try:
        reports = check_dataset(**vars(args))
    except ValueError as error:
        sys.exit(f'error: {error}')
    print('\n'.join(report.to_markdown() for report in reports))
    if args.out:
        print(f'Report and contact sheet are in {args.out}')
    sys.exit(1 if any(report.problems for report in reports) else 0)
