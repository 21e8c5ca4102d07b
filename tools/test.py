# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Evaluate a checkpoint with MMEngine's Runner and print its metrics; write the tables and plots of papers."""

import argparse

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='folder for logs (default: work_dirs/CONFIG_NAME)')
    parser.add_argument('--out', help='JSON file to write the metrics to')
    parser.add_argument('--leaderboard', metavar='DIR', help='folder for tables, plots and raw predictions')
    parser.add_argument('--name', metavar='METHOD', help="the method's name in these tables (default: CONFIG_NAME)")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='config overrides, key=value')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torch.distributed's older launchers pass it; torchrun sets the environment instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == '__main__':
    args = parse_args()
    from stereopose_mm.engine import test

    test(**vars(args))
