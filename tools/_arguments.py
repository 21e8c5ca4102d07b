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


def _stop(signum, frame):
    sys.exit(128 + signum)


def run(function, *args):
    """Call a command's function and return its exit status: 2 for input that cannot be used, 130 for an interrupt."""
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
