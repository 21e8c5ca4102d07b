# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Run a script that imports MMPose before it imports this package.

    python -m stereopose_mm.compat SCRIPT [ARGUMENTS ...]

Importing `stereopose_mm`, which Python does to find this module, has applied the changes already.
"""

import runpy
import sys
from pathlib import Path


def main() -> None:
    """Run the script named on the command line as `__main__`, with the rest as its arguments."""
    if len(sys.argv) < 2:
        sys.exit('usage: python -m stereopose_mm.compat SCRIPT [ARGUMENTS ...]')
    script = sys.argv[1]
    if not Path(script).is_file():
        sys.exit(f'error: no such script: {script}')
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(script).resolve().parent)  # as `python SCRIPT` has it
    runpy.run_path(script, run_name='__main__')


if __name__ == '__main__':
    main()
