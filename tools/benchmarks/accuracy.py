# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Train networks on identical pairs with identical budgets and several seeds, and tabulate their accuracy.

Trainings that are already there are not repeated, and an interrupted one continues from its last epoch.
"""

import argparse
import shlex
import sys

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--models', nargs='+', metavar='NAME', help='networks, by name or config file; the first is the reference'
    )
    parser.add_argument('--pairs', type=int, default=524288, help='training pairs (default: %(default)s)')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], help='(default: 0 1 2)')
    parser.add_argument(
        '--checkpoints', nargs='+', default=[], metavar='NAME=FILE', help='load these instead of training'
    )
    parser.add_argument('--shipped', action='store_true', help='evaluate the shipped lifters too')
    parser.add_argument('--num-test', type=int, default=8192, help='test pairs of a condition (default: %(default)s)')
    parser.add_argument('--conditions', nargs='+', metavar='NAME', help='test conditions by name (default: all)')
    parser.add_argument('--ann-file', default='data/mocap/mocap.npz', help='(default: %(default)s)')
    parser.add_argument('--bodies-file', default='data/mocap/bodies.npz', help='(default: %(default)s)')
    parser.add_argument('--real', metavar='FOLDER', help='folder of real frames: h36m and mpi_inf_3dhp')
    parser.add_argument('--jobs', type=int, default=1, help='trainings at once (default: %(default)s)')
    parser.add_argument('--work-dir', default='work_dirs/accuracy', help='(default: %(default)s)')
    parser.add_argument('--out', default='outputs/accuracy.md', help='page; JSON and plots go beside it')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides for every config, key=value')
    return parser.parse_args()


if __name__ == '__main__':
    args = vars(parse_args())
    from stereopose_mm.engine.accuracy import run_benchmark

    if args['models'] is None:
        del args['models']
    try:
        run_benchmark(**args, command=shlex.join(['python', 'tools/benchmarks/accuracy.py', *sys.argv[1:]]))
    except (ValueError, RuntimeError, OSError) as error:
        print(f'accuracy: error: {error}', file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print('accuracy: stopped; the same command goes on from here', file=sys.stderr)
        sys.exit(130)
