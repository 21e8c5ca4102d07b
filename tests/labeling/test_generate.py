# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from stereopose_mm.datasets import Wild3dDataset
from stereopose_mm.datasets.wild3d_files import read_coco, read_parquet
from stereopose_mm.labeling import LabelConfig, generate_labels, plan_labels, verify_labels
from stereopose_mm.labeling.splits import in_training_split

from .annotation_files.made_files import person
from .made_sets import checksums, write_walkers

SMALL = LabelConfig(shard_size=40)


@pytest.fixture(scope='module')
def annotations(tmp_path_factory):
    """Two files: 150 walkers, and 50 of whom some are bad."""
    folder = tmp_path_factory.mktemp('annotations')
    first, second = write_walkers(folder / 'first.json', 150), write_walkers(folder / 'second.json', 50, 1000)
    content = json.loads(second.read_text())
    records = content['annotations']
    records[3]['keypoints'][4] = float('nan')
    records[4]['keypoints'] = person(3) + [0, 0, 0] * 14
    records[5]['bbox'] = [10, 10, 0, 50]
    records[6]['keypoints'] = person(15)
    records[7]['id'] = records[8]['id'] = records[0]['id']
    records[9]['image_id'] = 7
    second.write_text(json.dumps(content))
    return first, second


@pytest.fixture(scope='module')
def made(annotations, tmp_path_factory):
    """The set of these files, with JSON."""
    out = tmp_path_factory.mktemp('made') / 'set'
    return generate_labels(annotations, out, SMALL, workers=1, write_json=True)


def test_bad_records_are_rejected_with_reasons(made):
    assert made.manifest['rejects'] == {
        'duplicate id': 2, 'empty box': 1, 'no such image': 1, 'not finite': 1, 'too few keypoints': 1,
        'wrong number of keypoints': 1,
    } | {key: rows for key, rows in made.manifest['rejects'].items() if key.startswith('quality')}  # fmt: skip
    assert (
        made.manifest['people'] == 200 == sum(made.manifest['labels'].values()) + sum(made.manifest['rejects'].values())
    )
    rejects = [row for path in sorted(made.out.glob('rejects-*')) for row in pq.read_table(path).to_pylist()]
    assert {row['source_record']: row['reason'] for row in rejects}['1003'] == 'not finite'
    assert verify_labels(made.out) == []


def test_wild3d_dataset_reads_it(made):
    sets = {split: Wild3dDataset(str(made.out), split=split) for split in ('train', 'val')}
    assert {split: len(dataset) for split, dataset in sets.items()} == made.manifest['labels']
    images = {split: read_parquet(made.out, split).column('file_name').to_pylist() for split in sets}
    assert not set(images['train']) & set(images['val'])
    assert in_training_split(images['train'], 0.8).all() and not in_training_split(images['val'], 0.8).any()
    sample = sets['train'][0]
    assert sample['label_quality'] > 0 and sample['source'] == 'coco'
    for split in sets:
        assert read_coco(made.out / f'{split}.json').num_rows == len(sets[split])


def test_training_config_trains_a_step_on_it(made, project_root, tmp_path):
    config = Config.fromfile(project_root / 'configs/wild3d/stereo-lift_res512_8xb64-200e_wild3dgenerated.py')
    data = tmp_path / 'data'
    shutil.copytree(made.out, data / 'annotations')
    config.train_dataloader.update(num_workers=0, persistent_workers=False, batch_size=16)
    config.train_dataloader.dataset.update(data_root=str(data))
    config.merge_from_dict(
        dict(
            work_dir=str(tmp_path), train_cfg=dict(_delete_=True, type='IterBasedTrainLoop', max_iters=2),
            val_cfg=None, val_dataloader=None, val_evaluator=None, test_cfg=None, test_dataloader=None,
            test_evaluator=None, visualizer=None, vis_backends=None,
        )
    )  # fmt: skip
    config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
    runner = Runner.from_cfg(config)
    before = runner.model.head.state_dict()
    before = {name: value.clone() for name, value in before.items()}
    runner.train()
    after = runner.model.head.state_dict()
    assert any(not np.allclose(before[name], after[name]) for name in before)


def test_same_bytes_again_and_from_two_workers(made, annotations, tmp_path):
    again = generate_labels(annotations, tmp_path / 'again', SMALL, workers=2, write_json=True)
    assert checksums(again.out) == checksums(made.out)


def test_a_finished_set_is_left_alone_and_mended_where_damaged(made, annotations, tmp_path):
    out = tmp_path / 'set'
    shutil.copytree(made.out, out)
    again = generate_labels(annotations, out, SMALL, workers=1)
    assert again.resumed == again.shards == 6 and checksums(out) == checksums(made.out)
    victim = sorted(out.glob('wild3d-val-*'))[2]
    victim.write_bytes(victim.read_bytes()[:-1] + b'X')
    sorted(out.glob('rejects-*'))[0].unlink()
    mended = generate_labels(annotations, out, SMALL, workers=1)
    assert mended.resumed == 4 and checksums(out) == checksums(made.out)


def test_additions_move_no_image_and_rename_no_record(made, annotations, tmp_path):
    more = write_walkers(tmp_path / 'more.json', 60, folder='more/')
    larger = generate_labels([more, *annotations], tmp_path / 'larger', SMALL, workers=2)
    for split in ('train', 'val'):
        before, after = (read_parquet(out, split, ('id', 'image_id')) for out in (made.out, larger.out))
        assert set(before.column('id').to_pylist()) < set(after.column('id').to_pylist())


def test_a_set_of_other_settings_is_not_mixed_with(made, annotations, tmp_path):
    out = tmp_path / 'set'
    shutil.copytree(made.out, out)
    before = checksums(out)
    other = SMALL.with_options(fov_deg=40.0, seed=3)
    with pytest.raises(ValueError, match='made with other camera, seed; .*--restart'):
        generate_labels(annotations, out, other)
    with pytest.raises(ValueError, match='made with other annotations; '):
        generate_labels(annotations[:1], out, SMALL)
    assert checksums(out) == before
    restarted = generate_labels(annotations[:1], out, other, workers=1, restart=True)
    assert restarted.manifest['people'] == 150 and verify_labels(out) == []
    assert not (out / 'train.json').exists()


def test_nothing_is_written_for_input_that_cannot_be_used(annotations, tmp_path):
    out = tmp_path / 'set'
    broken = tmp_path / 'broken.json'
    broken.write_text(annotations[0].read_text()[:-100])
    nobody = write_walkers(tmp_path / 'nobody.json', 0)
    for files, options, message in (
        ([annotations[0], broken], {}, 'broken.json: '),
        ([nobody], {}, 'nobody.json'),
        ([tmp_path / 'absent.json'], {}, 'absent.json: cannot be read'),
        (annotations, dict(images=tmp_path / 'nowhere'), 'nowhere: no such folder of images'),
        (annotations, dict(engine='cloud'), 'engine takes one of'),
        (annotations, dict(format='mpii'), 'format'),
        (annotations, dict(config=LabelConfig(lifters=dict(h36m={}))), "lifters has none for 'coco'"),
    ):
        with pytest.raises(ValueError, match=message):
            generate_labels(files, out, **options)
        assert not out.exists()
    plan_labels(annotations, out, SMALL)
    assert not out.exists()


def test_folders_with_other_shards_are_refused(annotations, made, tmp_path):
    shutil.copy(next(made.out.glob('wild3d-train-*')), tmp_path)
    with pytest.raises(ValueError, match='but no manifest.json'):
        generate_labels(annotations, tmp_path, SMALL, restart=True)


def test_plan_is_near_what_comes(made, annotations):
    plan = plan_labels(annotations, made.out, SMALL, workers=1)
    assert (plan.people, plan.shards) == (200, 6) and plan.rate > 0 and plan.seconds > 0
    assert plan.inputs == made.manifest['inputs']
    kept = sum(made.manifest['labels'].values()) / 200
    assert plan.kept == pytest.approx(kept, abs=0.1)
