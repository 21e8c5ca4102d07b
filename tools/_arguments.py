# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What the commands share: arguments, and one line for whatever goes wrong. Loads nothing slow."""

import argparse
import signal
import sys
from pathlib import Path


class OneLineParser(argparse.ArgumentParser):
    """Reports a wrong argument in one line, as all other wrong input."""

    def error(self, message):
        """Print the line and exit with status 2."""
        self.exit(2, f'error: {message} (see --help)\n')


def pixels(text):
    number = int(text)
    if not 0 < number <= 65535:
        raise argparse.ArgumentTypeError(f'takes 1 to 65535 pixels, got {text}')
    return number


def degrees(text):
    number = float(text)
    if not 0 < number < 180:
        raise argparse.ArgumentTypeError(f'takes degrees between 0 and 180, got {text}')
    return number


def count(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'takes a whole number of at least 1, got {text}')
    return number


def existing_file(text):
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f'no such file: {text}')
    return text


def existing_path(text):
    if not Path(text).exists():
        raise argparse.ArgumentTypeError(f'no such file or folder: {text}')
    return text


def add_camera(parser, fov_help):
    """Add --camera, or --fov instead, and --camera-name."""
    lens = parser.add_mutually_exclusive_group()
    lens.add_argument(
        '--camera', type=existing_file, metavar='FILE', help="OpenCV YAML or JSON, MMPose pkl, COLMAP's cameras.txt"
    )
    lens.add_argument('--fov', type=degrees, metavar='DEG', help=fov_help)
    parser.add_argument('--camera-name', metavar='NAME', help='which camera of the file, where it has several')


def add_lifter(parser):
    """Add --config, --checkpoint and --device."""
    parser.add_argument('--config', metavar='CFG', help='config of a lifter (default: the shipped one)')
    parser.add_argument('--checkpoint', metavar='PTH', help='checkpoint of a lifter (default: the shipped one)')
    parser.add_argument('--device', default='cpu', help='where to run, for example cuda (default: %(default)s)')


def add_keypoints_meaning(parser, where=''):
    """Add --skeleton and --min-score."""
    parser.add_argument(
        '--skeleton',
        choices=('coco', 'h36m', 'mpi_inf_3dhp'),
        default='coco',
        help=f'what the keypoints are{where} (default: %(default)s)',
    )
    parser.add_argument(
        '--min-score',
        type=float,
        default=0.1,
        metavar='S',
        help='keypoints scored below it count as missing (default: %(default)s)',
    )


def _stop(signum, frame):
    sys.exit(128 + signum)


def run(function, *args):
    """Call a command's function and return its exit status: 2 for input that cannot be used, 130 for an interrupt."""
    if sys.stdout.errors == 'strict' and hasattr(sys.stdout, 'reconfigure'):
        # A file's name may have characters that the terminal has not.
        sys.stdout.reconfigure(errors='backslashreplace')
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        function(*args)
    except ValueError as error:
        print('error:', ' '.join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(f'interrupted{f": {interrupt}" if str(interrupt) else ""}', file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0
