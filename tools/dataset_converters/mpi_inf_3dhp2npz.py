# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Convert the official test set of MPI-INF-3DHP (TS1 to TS6) to one NPZ, cameras fitted."""

import argparse
import sys


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='A conversion that was stopped goes on where it was. Exit status: 0 if the file was written, 2 if not.',
    )
    parser.add_argument('source', metavar='mpi_inf_3dhp_test_set', help='folder that holds TS1 to TS6')
    parser.add_argument('--out', required=True, metavar='FOLDER', help='folder to write mpi_inf_3dhp_test.npz to')
    parser.add_argument('--all-frames', action='store_true', help='keep frames that do not count too, marked so')
    parser.add_argument(
        '--max-residual',
        type=float,
        default=3.0,
        metavar='PX',
        help='largest mean distance of 2D from projected 3D annotations in a sequence (default: %(default)s)',
    )
    return parser.parse_args()


def main(args):
    from stereopose_mm.datasets.converters import convert_mpi_inf_3dhp_test_set

    try:
        summaries = convert_mpi_inf_3dhp_test_set(args.source, args.out, args.all_frames, args.max_residual)
    except (ValueError, OSError) as error:
        print(f'mpi_inf_3dhp2npz: error: {error}', file=sys.stderr)
        return 2
    frames = sum(summary.frames if args.all_frames else summary.valid for summary in summaries)
    print(f'{len(summaries)} sequences, {frames} frames -> {args.out}/mpi_inf_3dhp_test.npz', file=sys.stderr)
    return 0


if __name__ == '__main__':
    sys.exit(main(parse_args()))
