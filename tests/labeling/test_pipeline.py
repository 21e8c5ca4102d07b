# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from stereopose_mm.datasets.wild3d_files import check_table, column_array
from stereopose_mm.geometry import Camera
from stereopose_mm.labeling import Annotations, LabelConfig, label_shard, load_label_config, read_annotations
from stereopose_mm.labeling.cameras import find_cameras
from stereopose_mm.labeling.config import CameraPrior, config_hash
from stereopose_mm.labeling.quality import GateThresholds

from .made_sets import write_walkers

FOCAL_35MM, ORIENTATION = 0xA405, 0x0112


@pytest.fixture
def people(tmp_path):
    return next(iter(read_annotations(write_walkers(tmp_path / 'people.json', 12))))


def test_labels_are_a_wild3d_set(people, labellers):
    done = label_shard(people, LabelConfig(), labellers)
    check_table(done.labels, 'labels')
    assert len(done.labels) == 12 and not len(done.rejects)
    row = done.labels.to_pylist()[3]
    assert row['source'] == 'coco' and row['source_record'] == '4' and row['file_name'] == '000002.jpg'
    assert row['generator'].startswith('stereopose_mm ') and row['seed'] == 0 and row['camera_source'] == 'prior'
    assert row['config_hash'] == config_hash(LabelConfig().settings())
    assert 0.5 < row['label_quality'] <= 1 and row['expected_error'] < 100


def test_2d_is_the_picture_of_3d_and_3d_is_on_the_rays(people, labellers):
    labels = label_shard(people, LabelConfig(), labellers).labels
    sizes = [column_array(labels, name) for name in ('width', 'height')]
    camera = Camera(*(torch.from_numpy(v.astype(float)) for v in (*column_array(labels, 'camera').T, *sizes)))
    poses = torch.from_numpy(column_array(labels, 'keypoints_3d')[..., :3].astype(float))
    np.testing.assert_allclose(camera.project(poses), column_array(labels, 'keypoints'), atol=1e-3)
    seen = torch.from_numpy(column_array(labels, 'input_keypoints_3d').reshape(-1, 17, 3).astype(float))
    given = column_array(labels, 'input_keypoints').reshape(-1, 17, 2)
    off = np.linalg.norm(camera.project(seen).numpy() - given, axis=-1)
    assert np.median(off) < 1e-3 and (off < 1e-2).mean() > 0.9


def test_joints_that_no_keypoint_shows_are_not_visible(people, labellers):
    visibility = people.visibility.copy()
    visibility[:, 15] = 0  # left ankle
    hidden = replace(people, visibility=visibility, scores=np.where(visibility > 0, people.scores, 0))
    labels = label_shard(hidden, LabelConfig(), labellers).labels
    seen = column_array(labels, 'visibility')
    assert (seen[:, 6] == 1).all() and (seen[:, 5] == 2).mean() > 0.8
    assert (seen[:, [7, 10]] == 1).all(), 'COCO has neither spine nor head top'
    assert (column_array(labels, 'keypoint_scores')[:, 6] == 0).all()


def test_each_person_is_in_one_table(people, labellers):
    problem = people.problem.astype(object)
    problem[[1, 5]] = 'too few keypoints: 3', 'crowd'
    strict = LabelConfig(thresholds=GateThresholds(min_quality=0.9))
    done = label_shard(replace(people, problem=problem), strict, labellers)
    rejected = done.rejects.to_pydict()
    assert len(done.labels) + len(done.rejects) == 12
    named = dict(zip(rejected['source_record'], zip(rejected['reason'], rejected['detail'], strict=True), strict=True))
    assert named['2'] == ('too few keypoints', '3') and named['6'] == ('crowd', '')
    others = [name for name in named if name not in '26']
    assert all(named[name][0] == 'quality below 0.900' for name in others)
    assert rejected['source_record'] == sorted(rejected['source_record'], key=int)
    quality = np.array(rejected['label_quality'], float)
    assert np.isnan(quality[[rejected['source_record'].index(n) for n in '26']]).all()
    assert not set(rejected['id']) & set(done.labels.column('id').to_pylist())


def test_nothing_left_to_label_is_no_fault(people, labellers):
    done = label_shard(replace(people, problem=np.full(12, 'crowd')), LabelConfig(), labellers)
    assert not len(done.labels) and len(done.rejects) == 12


def test_a_record_is_labelled_alike_in_any_company(people, labellers):
    together = label_shard(people, LabelConfig(), labellers).labels
    alone = pa.concat_tables(
        label_shard(people.select(slice(row, row + 1)), LabelConfig(), labellers).labels for row in range(12)
    )
    for name in ('keypoints_3d', 'label_quality', 'part_disagreement'):
        np.testing.assert_allclose(column_array(together, name), column_array(alone, name), atol=1e-4)


def test_h36m_keypoints_have_their_own_lifter(shared_data, labellers):
    mpii = next(iter(read_annotations(shared_data / 'real/mpii/test_mpii.json')))
    unknown = label_shard(mpii, LabelConfig(), labellers)
    assert set(unknown.rejects.column('reason').to_pylist()) >= {'unknown image size'}
    sized = LabelConfig().with_options(image_size=(1280, 720))
    assert len(label_shard(mpii, sized, labellers).labels) >= 2
    photographs = label_shard(mpii, LabelConfig(), labellers, shared_data / 'real/mpii')
    assert len(photographs.labels) >= 2
    with pytest.raises(ValueError, match="none for 'h36m' keypoints, has \\['coco'\\]"):
        label_shard(mpii, LabelConfig(), {'coco': labellers['coco']})


def one(name='a.jpg', size=(0, 0)) -> Annotations:
    text = {key: np.array([value]) for key, value in dict(source='x', record='1', file_name=name, problem='').items()}
    return Annotations(
        'coco', image_size=np.array([size], np.int32), bbox=np.zeros((1, 4), np.float32),
        keypoints=np.zeros((1, 17, 2), np.float32), visibility=np.zeros((1, 17), np.uint8),
        scores=np.zeros((1, 17), np.float32), person_score=np.zeros(1, np.float32), **text,
    )  # fmt: skip


def photograph(path, size=(640, 480), focal=None, orientation=None, exif=None):
    tags = Image.Exif()
    if orientation:
        tags[ORIENTATION] = orientation
    if focal:
        tags.get_ifd(0x8769)[FOCAL_35MM] = focal
    extra = dict(exif=exif if exif is not None else tags.tobytes()) if focal or orientation or exif else {}
    Image.new('RGB', size).save(path, **extra)


def test_cameras_from_exif_and_prior(tmp_path):
    photograph(tmp_path / 'a.jpg', focal=50)
    found = find_cameras(one(), CameraPrior(), tmp_path)
    assert found.origin[0] == 'exif' and found.image_size.tolist() == [[640, 480]]
    assert float(found.camera.fx[0]) == pytest.approx(50 * 800 / 43.2666, rel=1e-4)
    assert find_cameras(one(), CameraPrior(exif=False), tmp_path).origin[0] == 'prior'
    photograph(tmp_path / 'a.jpg')
    found = find_cameras(one(), CameraPrior(fov_deg=90), tmp_path)
    assert (found.origin[0], found.problem[0]) == ('prior', '') and float(found.camera.fx[0]) == pytest.approx(320)


def test_photographs_annotated_as_stored_or_as_displayed(tmp_path):
    photograph(tmp_path / 'a.jpg', focal=50, orientation=6)
    for size in ((640, 480), (480, 640)):
        found = find_cameras(one(size=size), CameraPrior(), tmp_path)
        assert found.problem[0] == '' and found.image_size.tolist() == [list(size)]
        assert float(found.camera.cx[0]) == size[0] / 2
    assert find_cameras(one(size=(320, 240)), CameraPrior(), tmp_path).problem[0].startswith('image of another size: ')


@pytest.mark.parametrize(
    'exif', [b'Exif\0\0garbage', b'Exif\0\0II*\0\x08\0\0\0\xff\xff\1\1', b'Exif\0\0MM\0*\0\0\0\xff']
)
def test_broken_exif_is_rejected_or_not_looked_at(tmp_path, exif):
    photograph(tmp_path / 'a.jpg', exif=exif)
    assert find_cameras(one(), CameraPrior(), tmp_path).problem[0].startswith('broken EXIF: ')
    for prior in (CameraPrior(broken_exif='prior'), CameraPrior(exif=False)):
        found = find_cameras(one(), prior, tmp_path)
        assert (found.problem[0], found.origin[0]) == ('', 'prior')


def test_a_large_photograph_has_no_broken_exif(tmp_path, monkeypatch):
    photograph(tmp_path / 'a.jpg', orientation=1)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 200_000)
    found = find_cameras(one(), CameraPrior(), tmp_path)
    assert (found.problem[0], found.origin[0]) == ('', 'prior')


def test_focal_length_of_no_lens_is_broken_exif(tmp_path):
    photograph(tmp_path / 'a.jpg', focal=60000)
    assert find_cameras(one(), CameraPrior(), tmp_path).problem[0].startswith('broken EXIF: a field of view of')


def test_missing_and_unreadable_images(tmp_path):
    (tmp_path / 'a.jpg').write_text('no image')
    assert find_cameras(one(), CameraPrior(), tmp_path).problem[0].startswith('unreadable image: ')
    assert find_cameras(one('b.jpg'), CameraPrior(), tmp_path).problem[0] == 'missing image: b.jpg'
    assert find_cameras(one('b.jpg', (640, 480)), CameraPrior()).problem[0] == ''
    assert find_cameras(one('', (640, 480)), CameraPrior()).problem[0].startswith('no image')
    with pytest.raises(ValueError, match='no such folder of images'):
        find_cameras(one(), CameraPrior(), tmp_path / 'nowhere')


def test_given_camera_is_for_images_of_its_size():
    prior = CameraPrior(given=Camera(500.0, 500.0, 320.0, 240.0, 640, 480))
    found = find_cameras(one(), prior)
    assert (found.origin[0], found.problem[0]) == ('given', '') and float(found.camera.fx[0]) == 500
    assert find_cameras(one(size=(800, 600)), prior).problem[0].startswith('image of another size than the camera')


def test_config_file_has_the_defaults(project_root):
    assert load_label_config(project_root / 'configs/wild3d/label_generator.py') == LabelConfig()


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('shards = 3', 'shards is no setting'),
        ('shard_size = 0', 'shard_size takes a whole number of at least 1, got 0'),
        ('camera = dict(fov_deg=190)', 'camera.fov_deg takes degrees'),
        ('camera = dict(lens=1)', 'camera.lens is no setting'),
        ('thresholds = dict(min_quality=2)', 'min_quality takes'),
        ('lifters = dict(body=dict())', 'lifters takes config and checkpoint'),
        ('shard_size = ', 'no readable config'),
        ('seed = 2**63', r'seed takes a whole number below 2\*\*63'),
        ("train_share = '0.8'", "train_share takes a number from 0 to 1, got '0.8'"),
        ('min_score = True', 'min_score takes a number from 0 to 1, got True'),
        ("camera = dict(fov_deg='55')", "camera.fov_deg takes degrees between 0 and 180, got '55'"),
        ('camera = None', 'camera takes a dict, got None'),
        ("camera = dict(exif='no')", "camera.exif takes True or False, got 'no'"),
        ('camera = dict(image_size=640)', 'camera.image_size takes width and height in pixels, got 640'),
        ('camera = dict(image_size=(640.5, 480))', 'camera.image_size takes width and height'),
        ('lifters = None', 'lifters takes a dict'),
        ('lifters = dict(coco=None)', 'lifters takes config and checkpoint for .*, got coco: None'),
        ('lifters = dict(coco=dict(config=5))', 'lifters takes config and checkpoint'),
        ('label_models = 5', 'label_models takes the name of a file, got 5'),
    ],
)
def test_wrong_settings_are_named(tmp_path, text, message):
    (tmp_path / 'settings.py').write_text(text)
    with pytest.raises(ValueError, match=f'settings.py: .*{message}'):
        load_label_config(tmp_path / 'settings.py')


def test_settings_hold_in_another_folder(tmp_path, monkeypatch):
    shipped = LabelConfig()
    for name, file in zip(('a.py', 'a.pth'), shipped.lifter_files('coco'), strict=True):
        (tmp_path / name).symlink_to(file)
    (tmp_path / 'models.json').symlink_to(shipped.label_model_file)
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path)
    config = LabelConfig(
        lifters=dict(coco=dict(config='a.py', checkpoint='a.pth'), h36m={}), label_models='models.json'
    )
    absolute = config.with_absolute_files()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    assert absolute.settings() == shipped.settings()
    with pytest.raises(ValueError, match='no such file: a.py'):
        config.settings()


def test_hash_tells_all_settings_apart():
    changed = [
        dict(), dict(seed=1), dict(fov_deg=60.0), dict(exif=False), dict(thresholds=GateThresholds(min_quality=0.3)),
        dict(train_share=0.7), dict(given=Camera(500.0, 500.0, 320.0, 240.0, 640, 480)), dict(shard_size=100),
    ]  # fmt: skip
    whole, floats = (LabelConfig().with_options(fov_deg=n, train_share=k) for n, k in ((60, 1), (60.0, 1.0)))
    assert config_hash(whole.settings()) == config_hash(floats.settings())
    hashes = {config_hash(LabelConfig().with_options(**options).settings()) for options in changed}
    assert len(hashes) == len(changed)
    assert json.loads(json.dumps(LabelConfig().settings())) == LabelConfig().settings()
