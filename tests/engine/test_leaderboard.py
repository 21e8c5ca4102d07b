# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Leaderboards as users make them."""

import hashlib
import json

import pytest

from stereopose_mm.engine import test as evaluate
from stereopose_mm.evaluation.pose_errors import POSE_ERRORS
from stereopose_mm.evaluation.predictions_file import read_predictions

from .conftest import CONFIG

CHECKPOINT = 'stereopose_mm/weights/stereo-lift_default.pth'


@pytest.fixture(scope='module')
def options(mocap_file):
    """The shipped lifter on a few pairs, by clip."""
    return [
        '--cfg-options',
        f'test_dataloader.dataset.ann_file={mocap_file}',
        'test_dataloader.dataset.subjects=[tested]',
        'test_dataloader.dataset.num_pairs=60',
        'test_dataloader.batch_size=16',
        'test_evaluator.group_by=clip',
    ]


@pytest.fixture(scope='module')
def made(run, options, project_root, tmp_path_factory):
    """A leaderboard folder that the command made in two processes, and the metrics it wrote."""
    folder = tmp_path_factory.mktemp('leaderboard')
    launch = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    arguments = ['--work-dir', folder / 'work', '--leaderboard', folder / 'new/ours', '--out', folder / 'metrics.json']
    arguments += ['--name', 'Ours', '--launcher', 'pytorch']
    run('tools/test.py', CONFIG, project_root / CHECKPOINT, *arguments, *options, launch=launch)
    return folder / 'new/ours', json.loads((folder / 'metrics.json').read_text())


def test_the_command_makes_a_leaderboard(made, project_root):
    folder, metrics = made
    record = json.loads((folder / 'run.json').read_text())
    assert record['name'] == 'Ours' and record['config'] == CONFIG and record['data_set'] == 'MocapDataset'
    assert record['checkpoint_sha256'] == hashlib.sha256((project_root / CHECKPOINT).read_bytes()).hexdigest()
    assert record['overrides']['test_dataloader.dataset.num_pairs'] == '60'
    assert {'torch', 'mmpose', 'stereopose-mm'} <= record['versions'].keys()
    # Every error but the one that takes sequences, and as the metric gave it.
    labels = [row.label for row in POSE_ERRORS.values() if row.label != 'MPJVE']
    assert list(record['metrics']) == labels
    for label in labels:
        assert record['metrics'][label] == pytest.approx(metrics[label], rel=1e-9)
    (row,) = json.loads((folder / 'tables/clip_MPJPE.json').read_text())['rows']
    assert row['b.bvh'] == row['Avg (clips)'] == pytest.approx(metrics['MPJPE_b.bvh'])
    assert record['absent'] == ["MPJVE: the configuration's MPJPEMetric has no `sequence_key` and `frame_key`."]
    assert all((folder / path).is_file() for paths in record['plots'].values() for path in paths)
    assert len(record['plots']) == 4 and '# Ours\n' in (folder / 'index.md').read_text()


def test_predictions_are_all_there_once(made):
    """Each process had half of them; the first wrote."""
    folder, metrics = made
    predictions = read_predictions(folder / 'predictions.npz')
    assert len(set(predictions.name)) == len(predictions.name) == metrics['poses'] == 60
    assert not list(folder.rglob('.*'))


def test_the_metrics_that_a_config_names_are_kept(project_root, mocap_file, monkeypatch, tmp_path):
    """At another scale than the camera's, for example, absolute errors would mislead."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    config = tmp_path / 'config.py'
    dataset = dict(ann_file=str(mocap_file), subjects=['tested'], exclude=[], num_pairs=20)
    config.write_text(
        f'_base_ = {str(project_root / CONFIG)!r}\n'
        f'test_dataloader = dict(dataset={dataset!r})\n'
        "test_evaluator = [dict(type='MPJPEMetric', metrics=['mpjpe', 'pck_3d_14'])]\n"
    )
    folder = tmp_path / 'ours'
    options = dict(work_dir=str(tmp_path / 'work'), leaderboard=str(folder))
    metrics = evaluate(str(config), str(project_root / CHECKPOINT), **options)
    record = json.loads((folder / 'run.json').read_text())
    assert record['metrics'] == {key: pytest.approx(metrics[key]) for key in ('MPJPE', '3DPCK-14')}
    assert 'MRPE, ' in record['absent'][0] and 'has `metrics` without it' in record['absent'][0]


@pytest.mark.parametrize(
    ('evaluator', 'found'),
    [
        (dict(_delete_=True, type='MPJPE', mode='mpjpe'), r"\['MPJPE'\]"),
        (dict(_delete_=True, type='Evaluator', metrics=dict(type='EPE')), r"\['EPE'\]"),
        ([dict(type='MPJPEMetric'), dict(type='MPJPEMetric', prefix='b')], r"\['MPJPEMetric', 'MPJPEMetric'\]"),
    ],
)
def test_a_config_without_the_metric(project_root, tmp_path, monkeypatch, evaluator, found):
    monkeypatch.setenv('LOCAL_RANK', '0')
    config = tmp_path / 'config.py'
    config.write_text(f'_base_ = {str(project_root / CONFIG)!r}\ntest_evaluator = {evaluator!r}\n')
    with pytest.raises(
        ValueError, match=rf'config.py: test_evaluator has {found}; a leaderboard takes one MPJPEMetric'
    ):
        evaluate(str(config), 'any.pth', work_dir=str(tmp_path / 'work'), leaderboard=str(tmp_path / 'out'))
    assert not (tmp_path / 'out').exists() and not (tmp_path / 'work').exists()
