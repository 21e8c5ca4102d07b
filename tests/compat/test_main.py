# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest

from stereopose_mm.compat.__main__ import main


def test_script_imports_mmpose_first(tmp_path, project_root):
    (tmp_path / 'neighbour.py').write_text('NAME = "beside the script"\n')
    script = tmp_path / 'script.py'
    script.write_text(
        'import mmpose.models, sys\n'
        'from neighbour import NAME\n'
        'assert __name__ == "__main__"\n'
        'print(NAME, sys.argv[1:])\n'
    )
    done = subprocess.run(
        [sys.executable, '-m', 'stereopose_mm.compat', str(script), '--flag', 'x'],
        cwd=project_root,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "beside the script ['--flag', 'x']\n"


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['surely-not-there.py'], 'error: no such script: surely-not-there.py'),
        ([], 'usage: python -m stereopose_mm.compat SCRIPT [ARGUMENTS ...]'),
    ],
)
def test_no_script(monkeypatch, arguments, message):
    monkeypatch.setattr(sys, 'argv', ['compat', *arguments])
    with pytest.raises(SystemExit) as error:
        main()
    assert error.value.code == message
