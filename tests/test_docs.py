# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Every command and every Python example in the documentation runs; what takes long runs on less."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from .apis.random_models import write_models
from .datasets.human36m_files import write_human36m
from .datasets.mpi_inf_3dhp_files import write_mpi_inf_3dhp
from .datasets.wild3d_samples import write_release, write_wild3d

ROOT = Path(__file__).resolve().parents[1]
PATTERNS = ('*.md', 'docs/**/*.md', 'configs/**/*.md', 'stereopose_mm/**/*.md')
PAGES = sorted(p.relative_to(ROOT) for pattern in PATTERNS for p in ROOT.glob(pattern) if '.mim' not in p.parts)
# Small networks on few pairs: the command is the page's, these are added to it.
FEW_PAIRS = (
    'train_dataloader.dataset.num_pairs=256 train_dataloader.batch_size=64 '
    'val_dataloader.dataset.num_pairs=32 test_dataloader.dataset.num_pairs=32'
)
TINY = f'--cfg-options {FEW_PAIRS} param_scheduler.0.total_steps=8 train_cfg.max_epochs=2 train_cfg.val_interval=2'
NO_TEST_WORKERS = 'test_dataloader.num_workers=0 test_dataloader.persistent_workers=False'
NO_WORKERS = (
    'train_dataloader.num_workers=0 train_dataloader.persistent_workers=False '
    'val_dataloader.num_workers=0 val_dataloader.persistent_workers=False'
)
MIXED = (
    '{command} --cfg-options train_cfg.max_epochs=1 train_cfg.val_interval=1 val_dataloader.dataset.indices=64 '
    'train_dataloader.batch_size=16 ' + NO_WORKERS
)
TINY_MIXED = (
    '--cfg-options train_dataloader.dataset.num_pairs=256 train_dataloader.batch_size=64 '
    'val_dataloader.dataset.num_pairs=32 param_scheduler.0.total_steps=8 train_cfg.max_epochs=2'
)
# What each command is run as. A command that no rule knows fails the test: a page cannot print one that nothing runs.
RULES = [
    # make and .ci/run install and test the project: CI runs them itself, and this suite runs inside one of them.
    (r'make (setup|demo|test|lint)|\.ci/run|ruff format \.', None),
    (r'pip install -e \.', '{python} -m pip install --quiet --no-deps --no-build-isolation --dry-run -e .'),
    (r'python tools/lift\.py .*', '{command}'),
    (r'python tools/demo\.py .* --pose2d .*', '{command} --max-frames 3 --every 20'),
    (r'python tools/demo\.py .*', '{command}'),
    (
        r'python tools/train\.py \S+_(h36m|mpiinf3dhp|wild3d|wild3dgenerated)\.py',
        '{command} --cfg-options train_cfg.max_epochs=1 train_cfg.val_interval=1 train_dataloader.batch_size=4 '
        'train_dataloader.dataset.indices=64 val_dataloader.dataset.indices=64 ' + NO_WORKERS,
    ),
    (r'python tools/train\.py \S+_8xb64-200e_mixed\.py', MIXED),
    (r'python tools/train\.py \S+_1xb512-20e_mixed\.py', '{command} ' + TINY_MIXED),
    (r'python tools/train\.py .*', '{command} ' + TINY),
    (r'python tools/test\.py \S+_(h36m|mpiinf3dhp|wild3d)\.py .* --cfg-options .*', '{command} ' + NO_TEST_WORKERS),
    (r'python tools/test\.py \S+_(h36m|mpiinf3dhp|wild3d)\.py .*', '{command} --cfg-options ' + NO_TEST_WORKERS),
    (r'python tools/test\.py .* --cfg-options .*', '{command} test_dataloader.dataset.num_pairs=32'),
    (r'python tools/test\.py .*', '{command} --cfg-options test_dataloader.dataset.num_pairs=32'),
    (r'python tools/compare\.py .*', '{command} --resamples 200'),
    (r'python tools/check_dataset\.py .*', '{command}'),
    (r'python tools/dataset_converters/(mpi_inf_3dhp2npz|wild_npy2wild3d|wild3d_convert)\.py .*', '{command}'),
    (r'python tools/dataset_converters/mocap2(npz|bodies)\.py .*', '{command}'),
    (r'python tools/dataset_converters/mocap2coco\.py .*', '{command} --num 300'),
    (r'python tools/generate_wild3d\.py .*', '{command}'),
    (r'python tools/benchmarks/(labeling|label_quality)\.py.*', '{command} --small'),
    (r'python tools/compute_statistics\.py .*', '{command} --num-pairs 256'),
    (r'python tools/benchmarks/speed\.py.*', '{command} --small'),
    (r'python tools/benchmarks/(metrics|tracking|clips)\.py.*', '{command} --small'),
    (
        r'python tools/benchmarks/accuracy\.py.*',
        '{command} --models simplebaseline3d ours --conditions exact missing_1 --pairs 1024 --seeds 0 --num-test 32 '
        '--cfg-options train_dataloader.batch_size=32',
    ),
    (r'python tools/misc/publish_lifter\.py .*', '{command}'),
]


def blocks(page: Path, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding='utf-8')
    return re.findall(rf'^```{language}\n(.*?)^```', text, re.M | re.S)


def commands(page: Path) -> list[str]:
    lines = '\n'.join(blocks(page, 'bash')).replace('\\\n', ' ').splitlines()
    return [line.split('  #')[0].split(' # ')[0].strip() for line in lines if line.strip()]


ALL_COMMANDS = [(page, command) for page in PAGES for command in commands(page)]


def rule_of(command: str) -> tuple[str, str | None]:
    matching = [rule for rule in RULES if re.fullmatch(rule[0], command)]
    assert matching, f'no rule in tests/test_docs.py runs this command: {command}'
    return matching[0]


@pytest.fixture(scope='module')
def sandbox(tmp_path_factory) -> Path:
    """A copy of the checkout with what the pages tell a user to bring: mocap, photographs, detections."""
    folder = tmp_path_factory.mktemp('docs') / 'checkout'
    ignored = shutil.ignore_patterns('.venv*', '.ci-venv', '.git', 'data', 'outputs', 'work_dirs', '.mim', '*cache*')
    shutil.copytree(ROOT, folder, ignore=ignored)
    example = folder / 'stereopose_mm/assets/example'
    shutil.copy(example / 'detections.json', folder)
    photos = shutil.ignore_patterns('clip*', 'truth*', 'detections*')
    shutil.copytree(example, folder / 'photos', ignore=photos)
    shutil.copy(example / 'clip.mp4', folder / 'video.mp4')
    shutil.copy(example / 'clip_keypoints.json', folder / 'video_keypoints.json')
    for key, path in write_models(folder).items():
        path = Path(path)
        path.rename(folder / f'{"rtmdet" if key.startswith("det") else "rtmpose"}{path.suffix}')
    raw = folder / 'data/mocap/raw'
    raw.mkdir(parents=True)
    for subject in ('02', '03', '09', '12'):
        write_bvh(raw / subject / f'{subject}_01.bvh')
    write_human36m(folder / 'data/h36m')
    write_mpi_inf_3dhp(folder / 'data/mpi_inf_3dhp')
    write_wild3d(folder / 'data/wild3d', pictures=True)
    write_release(folder / 'data/wild3d/raw')
    return folder


def write_bvh(path: Path) -> None:
    """A clip of a figure that glides along, with the joint names of the CMU conversion, its limbs swinging."""
    tree = {
        'hip': ('abdomen', 'rThigh', 'lThigh'),
        'abdomen': ('chest',),
        'chest': ('neck', 'rShldr', 'lShldr'),
        'neck': ('head',),
        'rThigh': ('rShin',), 'rShin': ('rFoot',), 'lThigh': ('lShin',), 'lShin': ('lFoot',),
        'rShldr': ('rForeArm',), 'rForeArm': ('rHand',), 'lShldr': ('lForeArm',), 'lForeArm': ('lHand',),
    }  # fmt: skip
    offsets = {
        'hip': (0, 90, 0), 'abdomen': (0, 20, 0), 'chest': (0, 12, 0), 'neck': (0, 22, 0), 'head': (0, 7, 1),
        'rThigh': (-9, 0, 0), 'lThigh': (9, 0, 0), 'rShin': (0, -40, 0), 'lShin': (0, -40, 0), 'rFoot': (0, -40, 0),
        'lFoot': (0, -40, 0), 'rShldr': (-17, 18, 0), 'lShldr': (17, 18, 0), 'rForeArm': (-28, 0, 0),
        'lForeArm': (28, 0, 0), 'rHand': (-23, 0, 0), 'lHand': (23, 0, 0),
    }  # fmt: skip
    lines, order = ['HIERARCHY'], []

    def joint(name: str, depth: int) -> None:
        pad = '  ' * depth
        order.append(name)
        channels = 'Zrotation Xrotation Yrotation'
        lines.append(f'{pad}{"JOINT" if depth else "ROOT"} {name}')
        lines.append(pad + '{')
        lines.append(f'{pad}  OFFSET {" ".join(map(str, offsets[name]))}')
        position = '' if depth else 'Xposition Yposition Zposition '
        lines.append(f'{pad}  CHANNELS {3 if depth else 6} {position}{channels}')
        for child in tree.get(name, ()):
            joint(child, depth + 1)
        if name not in tree:
            lines.append(f'{pad}  End Site\n{pad}  {{\n{pad}    OFFSET 0 1 0\n{pad}  }}')
        lines.append(pad + '}')

    joint('hip', 0)
    frames = [[10 * f, 90, 0] + [(7 * i + 3 * f) % 40 - 20 for i in range(3 * len(order))] for f in range(24)]
    lines += ['MOTION', f'Frames: {len(frames)}', 'Frame Time: 0.0333333']
    lines += [' '.join(map(str, frame)) for frame in frames]
    path.parent.mkdir()
    path.write_text('\n'.join(lines) + '\n', encoding='utf-8')


def run(command: str, folder: Path) -> subprocess.CompletedProcess:
    words = [sys.executable if word == 'python' else word for word in shlex.split(command)]
    env = {**os.environ, 'PYTHONPATH': str(folder), 'OMP_NUM_THREADS': '1'}
    result = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, f'{command}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}'
    return result


def test_pages_have_commands():
    assert Path('README.md') in PAGES
    assert len(ALL_COMMANDS) >= 10


def test_every_documented_command_runs(sandbox):
    # In one order: what makes a file before what reads it.
    order = [
        '2npz',
        '2bodies',
        '2coco',
        'generate_wild3d',
        'wild_npy2wild3d',
        'wild3d_convert',
        'statistics',
        'train.py',
        'publish',
        'test.py',
        '',
    ]
    stages = {key: [] for key in order}
    for command in dict.fromkeys(command for _, command in ALL_COMMANDS):
        _, template = rule_of(command)
        if template is not None:
            stages[next(key for key in order if key in command)].append(
                template.format(command=command, python='python')
            )
    for key, commands in stages.items():
        # Trainings go on with one another's checkpoints; tests, and what reads their results, do not depend on others.
        with ThreadPoolExecutor(2 if key in ('test.py', '') else 1) as pool:
            list(pool.map(partial(run, folder=sandbox), commands))
    assert (sandbox / 'outputs/photos/poses3d.json').exists()
    assert (sandbox / 'work_dirs/mocap/epoch_2.pth').exists()


def test_ci_runs_what_this_suite_cannot():
    ci = (ROOT / '.ci/run').read_text(encoding='utf-8')
    for target in ('setup', 'demo', 'test', 'lint'):
        assert f'make {target}' in ci


@pytest.mark.parametrize('page', [p for p in PAGES if blocks(p, 'python')], ids=str)
def test_python_examples_run(page, sandbox):
    for i, code in enumerate(blocks(page, 'python')):
        script = sandbox / f'example_{i}.py'
        script.write_text(code, encoding='utf-8')
        run(f'python {script.name}', sandbox)


@pytest.mark.parametrize('page', PAGES, ids=str)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding='utf-8')
    for target in re.findall(r'\]\((?!https?://|#)([^)#]+)', text):
        assert ((ROOT / page).parent / target).exists(), f'{page} links to {target}, which is not there'


@pytest.mark.parametrize('page', PAGES, ids=str)
def test_no_placeholder_is_left(page):
    assert 'TODO' not in (ROOT / page).read_text(encoding='utf-8')
