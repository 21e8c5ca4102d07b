# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from stereopose_mm.engine.accuracy import CONDITIONS, run_benchmark

from ..engine.accuracy.conftest import mocap_files  # noqa: F401

MODEL = 'ours'
NAMES = ('exact', 'missing_2', 'anny', 'walking', 'coco_exact', 'seen_floor')
OPTIONS = {
    'train_dataloader.dataset.exclude': '[cmu02,cmu12]',
    'train_dataloader.batch_size': 32,
    'test_dataloader.dataset.subjects': '[cmu02,cmu12]',
}


@pytest.fixture(scope='module')
def tool(project_root):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, 'tools/benchmarks/accuracy.py', *map(str, arguments)],
            cwd=project_root,
            env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(project_root)},
            capture_output=True,
            text=True,
            timeout=280,
        )

    return run


@pytest.fixture(scope='module')
def made(tool, mocap_files, tmp_path_factory):  # noqa: F811
    """What the command writes after it trained two networks on a few pairs."""
    folder = tmp_path_factory.mktemp('accuracy')
    done = tool(
        '--models', MODEL, '--pairs', 640, '--seeds', 0, 1, '--num-test', 80, '--conditions', *NAMES, '--jobs', 2,
        '--ann-file', mocap_files[0], '--bodies-file', mocap_files[1], '--work-dir', folder / 'work',
        '--out', folder / 'new/page.md', '--shipped',
        '--cfg-options', *(f'{key}={value}' for key, value in OPTIONS.items()),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stdout


@pytest.fixture(scope='module')
def results(made):
    return json.loads((made[0] / 'new/page.json').read_text())


def test_results_are_of_every_network_condition_and_seed(results):
    assert list(results['conditions']) == ['exact', 'missing_2', 'anny', 'walking', 'coco_exact']
    assert results['conditions']['exact']['pairs'] == 80 and results['conditions']['walking']['pairs'] == 20
    assert 'none of its clips' in results['left_out']['seen_floor']
    assert [run['seed'] for run in results['models']['ours']['runs']] == [0, 1]
    for name in ('exact', 'coco_exact'):
        errors = results['errors'][name]
        assert {'ours', 'ours/coarse', 'shipped'} <= set(errors)
        for key in ('ours', 'ours/coarse'):
            first, second = errors[key]['MPJPE']
            assert first != second and 0 < min(first, second)
            ordered = [errors[key][error] for error in ('P-MPJPE', 'N-MPJPE', 'MPJPE')]
            assert (np.diff(ordered, axis=0) >= 0).all()
    # Twenty steps of training against 24 epochs.
    assert results['errors']['exact']['shipped']['P-MPJPE'][0] < results['errors']['exact']['ours']['P-MPJPE'][0]


def test_trained_pairs_and_schedules_are_the_budgets(made, results):
    for run in results['models'][MODEL]['runs']:
        assert run['pairs'] == 640
        kept = {path.name for path in (made[0] / 'work' / MODEL / run['folder']).iterdir()}
        assert {'config.py', 'weights.pth', 'run.json', 'log.txt'} <= kept and 'epoch_1.pth' not in kept


def test_every_number_of_the_page_is_one_of_the_results(made, results):
    page = (made[0] / 'new/page.md').read_text()
    assert page.startswith('# Accuracy\n') and 'python tools/benchmarks/accuracy.py --models ours --pairs 640' in page
    assert '640 pairs, with 2 seeds' in page and 'Not converged' in page and '80 test pairs' in page
    errors = results['errors']['exact']
    row = next(line for line in page.splitlines() if line.startswith(f'| {CONDITIONS["exact"].title} |'))
    cells = [cell.strip() for cell in row.split('|')[2:-1]]
    base = np.mean(errors['ours/coarse']['MPJPE'])
    for cell, key in zip(cells, ('ours/coarse', 'ours', 'shipped'), strict=True):
        values = np.array(errors[key]['MPJPE'])
        numbers = [float(v) for v in re.findall(r'[\d.]+', cell.replace('−', ''))]
        assert numbers[0] == pytest.approx(values.mean(), abs=0.051)
        if len(values) > 1:
            assert numbers[1] == pytest.approx(values.std(ddof=1), abs=0.051)
        if key != 'ours/coarse':
            assert numbers[-1] == pytest.approx(abs(100 * (values.mean() / base - 1)), abs=0.51)
    assert '±' not in cells[-1] and '±' in cells[0]
    for heading in (
        'against proportions',
        'distance from the training poses',
        'What a picture does not tell',
        'Left out',
    ):
        assert heading in page


def test_bins_are_of_all_pairs_and_average_to_the_whole(results):
    for binned, name in ((results['pose_distance'], 'exact'), (results['proportions']['stature'], 'anny')):
        assert sum(binned['pairs']) == results['conditions'][name]['pairs']
        assert all(
            low <= m <= high
            for low, m, high in zip(binned['edges'], binned['means'], binned['edges'][1:], strict=False)
        )
        for key, runs in binned['errors'].items():
            for means, whole in zip(runs, results['errors'][name][key]['P-MPJPE'], strict=True):
                assert np.average(means, weights=binned['pairs']) == pytest.approx(whole, rel=1e-4)
    assert sum(group['pairs'] for group in results['people'].values()) <= results['conditions']['anny']['pairs']


def test_plots_are_pictures(made, results):
    assert results['plots'] == ['page_pose_distance.png', 'page_proportions.png']
    for name in results['plots']:
        with Image.open(made[0] / 'new' / name) as picture:
            assert picture.width > 300 and len(picture.convert('RGB').getcolors(10**6)) > 10


def test_uncertainties_are_judged_where_there_are_any(results):
    models = results['models'].items()
    uncertain = {name: model['keypoints'] for name, model in models if model['uncertainty']}
    assert 'ours' in uncertain
    assert list(results['coverage']['coco_exact']) == list(uncertain)
    assert list(results['coverage']['exact']) == [
        name for name, keypoints in uncertain.items() if keypoints != 'COCO-17'
    ]
    for runs in results['coverage']['exact'].values():
        assert all(0 <= run['all']['within_1'] <= run['all']['within_2'] <= 1 for run in runs)


def test_what_is_there_is_not_trained_again(made, results, mocap_files, project_root, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(project_root)
    options = {k: v.strip('[]').split(',') if isinstance(v, str) else v for k, v in OPTIONS.items()}
    weights = next((made[0] / f'work/{MODEL}').glob('640-seed1-*/weights.pth'))

    def evaluate(name, checkpoints):
        said = []
        found = run_benchmark(
            str(tmp_path / name), [MODEL], 640, [0, 1], checkpoints, num_test=80, conditions=['missing_2', 'anny'],
            work_dir=str(made[0] / 'work'), ann_file=mocap_files[0], bodies_file='nowhere.npz', cfg_options=options,
            say=said.append,
        )  # fmt: skip
        assert not any('training' in text for text in said)
        assert found['left_out'] == dict(anny='no file nowhere.npz')
        return said, found['errors']['missing_2'][MODEL]['MPJPE']

    said, errors = evaluate('again.md', [])
    assert said[:2] == [f'{MODEL}, seed {seed}: there' for seed in (0, 1)]
    expected = results['errors']['missing_2'][MODEL]['MPJPE']
    assert errors == pytest.approx(expected)
    # The checkpoint given is seed 1's.
    assert evaluate('given.md', [f'{MODEL}={weights}'])[1] == pytest.approx(expected[1:])
    assert 'Loaded, not trained here: ours.' in (tmp_path / 'given.md').read_text()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(pairs=0), 'pairs takes a positive number, got 0'),
        (dict(models=['nobody']), "models takes names of .*'nobody'"),
        (dict(models=[]), 'models is empty'),
        (dict(conditions=['fog']), "conditions takes names of .*'fog'"),
        (dict(checkpoints=['ours']), "takes NAME=FILE, got 'ours'"),
        (dict(checkpoints=['ours=nowhere.pth']), 'no such file: nowhere.pth'),
        (dict(ann_file='nowhere.npz'), 'nowhere.npz: no such file'),
        (dict(out='page.txt'), 'ends in .md, got page.txt'),
    ],
)
def test_bad_arguments_are_named_before_anything_is_written(changes, message, mocap_files, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        run_benchmark(**dict(dict(out='page.md', ann_file=mocap_files[0], work_dir='work'), **changes))
    assert not list(tmp_path.iterdir())


def test_the_command_names_bad_arguments(tool):
    done = tool('--pairs', 0)
    assert done.returncode == 2 and 'accuracy: error: pairs takes a positive number, got 0' in done.stderr


def test_real_frames_one_by_one(shared_data, mocap_files, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    results = run_benchmark(
        'page.md', [], num_test=16, shipped=True, conditions=['exact'], ann_file=mocap_files[0],
        real=str(shared_data / 'real'), say=lambda text: None,
    )  # fmt: skip
    assert len(results['real']) == 8
    gt = next(f for f in results['real'] if 'S1_Directions' in f['frame'] and f['keypoints'] == 'annotated')
    assert 10 < gt['errors']['shipped']['P-MPJPE'][0] < 80
    page = (tmp_path / 'page.md').read_text()
    assert '## Real frames' in page and page.count('MoveNet') >= 4
