# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import os
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from stereopose_mm.datasets import Wild3dDataset
from stereopose_mm.datasets.wild3d_files import read_coco, read_parquet
from stereopose_mm.labeling import LabelConfig, generate, generate_labels, plan_labels, verify_labels, write_data_card
from stereopose_mm.labeling.quality import GateThresholds
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
    with pytest.raises(ValueError, match='wild3d-train-.*parquet: exists and is no earlier result'):
        generate_labels(annotations, tmp_path, SMALL, restart=True)


@pytest.mark.parametrize('name', ['train.json', 'val.json', 'README.md', 'data_card.json', 'data_card', '.records'])
def test_files_of_others_are_not_replaced(annotations, tmp_path, name):
    mine = tmp_path / name
    mine.write_text(annotations[0].read_text())
    with pytest.raises(ValueError, match=f'{name}: exists and is no earlier result'):
        generate_labels([mine], tmp_path, SMALL, workers=1, write_json=True)
    assert list(tmp_path.iterdir()) == [mine] and mine.read_text() == annotations[0].read_text()


def test_folders_that_cannot_be_written(annotations, tmp_path):
    (tmp_path / 'file').touch()
    for out in (tmp_path / 'file', tmp_path / 'file/set'):
        with pytest.raises(ValueError, match='file: exists and is not a folder'):
            generate_labels(annotations, out, SMALL)


def test_a_full_disk_is_told(annotations, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('stereopose_mm.labeling.generate.write_records', full)
    with pytest.raises(ValueError, match='set: cannot be written: .*No space left on device'):
        generate_labels(annotations, tmp_path / 'set', SMALL)


def test_a_set_that_another_run_began_meanwhile_is_left_to_it(annotations, made, tmp_path, monkeypatch):
    out, writing = tmp_path / 'set', generate._writing

    def comes_second(folder):
        shutil.copytree(made.out, out)
        return writing(folder)

    monkeypatch.setattr(generate, '_writing', comes_second)
    with pytest.raises(ValueError, match='set: another run wrote to it meanwhile'):
        generate_labels(annotations, out, SMALL.with_options(seed=1))
    assert checksums(out) == checksums(made.out)


def test_a_lock_that_was_taken_away_locks_nothing(tmp_path):
    path = tmp_path / '.lock'
    with generate._lock(path) as first:
        assert generate._lock(path) is None
        path.unlink()
        with generate._lock(path) as second:
            # Who waited for the first file has it now, and must not take it for the folder's.
            assert not os.path.samestat(os.fstat(first.fileno()), os.fstat(second.fileno()))
            assert generate._lock(path) is None
    with generate._lock(path) as third:
        assert third is not None


def test_detections_of_other_lists_of_images_are_not_mixed(tmp_path):
    walkers = json.loads(write_walkers(tmp_path / 'walkers.json', 6).read_text())
    lists = []
    for width in (1280, 1300):
        lists.append(tmp_path / f'{width}.json')
        lists[-1].write_text(json.dumps(dict(images=[dict(image, width=width) for image in walkers['images']])))
    detections = tmp_path / 'detections.json'
    keys = ('image_id', 'category_id', 'keypoints', 'bbox')
    detections.write_text(json.dumps([{key: record[key] for key in keys} for record in walkers['annotations']]))
    done = generate_labels([detections], tmp_path / 'set', SMALL, lists[0], workers=1)
    assert done.manifest['people'] == 6 and not done.manifest['rejects']
    with pytest.raises(ValueError, match='made with other image_list; '):
        generate_labels([detections], tmp_path / 'set', SMALL, lists[1], workers=1)
    with pytest.raises(ValueError, match='made with other format; '):
        generate_labels([detections], tmp_path / 'set', SMALL, lists[0], 'coco', workers=1)


def test_a_set_without_a_label_is_a_set(annotations, tmp_path):
    nothing = LabelConfig(thresholds=GateThresholds(min_quality=1.0))
    done = generate_labels(annotations[:1], tmp_path / 'set', nothing, workers=1, write_json=True)
    assert done.manifest['labels'] == dict(train=0, val=0) and done.manifest['exports'] == {}
    assert verify_labels(done.out) == []
    assert '| quality below 1.000 | 150 | 100.0% |' in write_data_card(done.out).read_text()


def test_plan_is_near_what_comes(made, annotations):
    plan = plan_labels(annotations, made.out, SMALL, workers=1)
    assert (plan.people, plan.shards) == (200, 6) and plan.rate > 0 and plan.seconds > 0
    assert plan.inputs == made.manifest['inputs']
    kept = sum(made.manifest['labels'].values()) / 200
    assert plan.kept == pytest.approx(kept, abs=0.1)
