# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Faults put into sound data are found, and nothing is found in sound data."""

import json
import re

import cv2
import numpy as np
import pytest

from stereopose_mm.engine import check_dataset
from stereopose_mm.geometry import H36M_17

from ..datasets import made_dataset

MIRROR = list(H36M_17.flip_indices)


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Check made records, 200 of them, that ``change`` has changed."""

    def check_made(change=None, **options):
        def changed(records):
            standing_records(records)
            if change is not None:
                change(records)

        monkeypatch.setattr(made_dataset, 'CHANGE', changed)
        config = tmp_path / 'made.py'
        config.write_text(
            "train_dataloader = dict(dataset=dict(type='MadeDataset', num=200, noise=0.005, change='CHANGE'))\n"
        )
        (report,) = check_dataset(str(config), **options)
        return report

    return check_made


def standing_records(records):
    """Give the records cameras and subjects by name."""
    records.meta['camera'] = np.array(['front', 'side'])[records.camera_index]
    records.meta['sequence'] = records.meta['subject']


def test_sound_data_has_no_problem(check):
    report = check()
    assert report.problems == [] and (report.records, report.with_3d) == (200, 200)
    assert report.residual_px['maximum'] < 1e-3
    assert report.counts['subject'] == {'S0': 67, 'S1': 67, 'S2': 66}
    assert set(report.residual_by_camera_px) == {'front', 'side'} == set(report.counts['camera'])
    assert report.notes == ['none of the 200 images is there; lifting needs none']


def test_bodies_without_legs_have_no_unit_to_check(check):
    def upper_body(records):
        records.pose_visible[:, [2, 3, 5, 6]] = 0

    assert check(upper_body).problems == []


def wrong_camera(records):
    camera = dict(records.camera_params[1])
    camera['f'] = camera['f'] * 1.1
    records.camera_params = [records.camera_params[0], camera]


def no_lens(records):
    camera = {key: value for key, value in records.camera_params[1].items() if key not in 'kp'}
    records.camera_params = [records.camera_params[0], camera]


def millimetres(records):
    records.pose_cam = records.pose_cam * 1000


def exchanged_2d(records):
    records.keypoints[17] = records.keypoints[17][MIRROR]


def exchanged_frame(records):
    records.keypoints[90] = records.keypoints[90][MIRROR]
    records.pose_cam[90] = records.pose_cam[90][MIRROR]


def mirrored_subject(records):
    bent = np.array([2, 5])
    records.pose_cam[:, bent, 2] -= 0.3
    mask = records.meta['subject'] == 'S1'
    root = records.pose_cam[mask][:, :1]
    records.pose_cam[mask] = ((records.pose_cam[mask] - root) * [1, 1, -1]) + root
    standing_records(records)


def long_bones(records):
    records.pose_cam[:5, 3] += [0, 0.4, 0]


def behind(records):
    records.pose_cam[3, 4, 2] = -1


def twice(records):
    records.meta['frame'][6] = records.meta['frame'][3]


@pytest.mark.parametrize(
    ('change', 'problem'),
    [
        (wrong_camera, r'do not fit together in camera side \(\d+\.\d px\): wrong intrinsics or lens'),
        (millimetres, r'legs are 8\d\d m long: the unit is not metres'),
        (exchanged_2d, r'exchanged against 3D in 1: record 17 \(images/000017.jpg\)'),
        (exchanged_frame, 'change places between frames in 2: record 90'),
        (mirrored_subject, 'knees bend backward in most of the frames of 67 records'),
        (long_bones, "5 records have a bone 25% off that person's median: record 0 "),
        (behind, 'joints behind the camera: record 3 '),
        (twice, '1 frames are there twice, first frame 3 of S0'),
    ],
    ids=lambda value: getattr(value, '__name__', ''),
)
def test_faults_are_found(check, change, problem):
    report = check(change)
    assert any(re.search(problem, text) for text in report.problems), report.problems


def test_a_lens_left_out_shows_in_the_residual(check):
    report = check(no_lens)
    assert 0.1 < report.residual_by_camera_px['side'] and report.residual_by_camera_px['front'] < 1e-3
    assert check(no_lens, max_residual=0.05).problems


def test_missing_images_are_counted(check, tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    for i in range(199):
        cv2.imwrite(str(folder / f'{i}.png'), np.zeros((4, 4, 3), np.uint8))

    def with_images(records):
        records.img_path = np.array([str(folder / f'{i}.png') for i in range(200)])

    report = check(with_images)
    assert report.images == dict(images=200, missing=1)
    assert report.problems == [f'1 of 200 images are missing: {folder}/199.png']


def test_people_who_are_not_told_apart_may_differ(check):
    def tall(records):
        del records.meta['subject'], records.meta['sequence']
        root = records.pose_cam[::2, :1]
        records.pose_cam[::2] = root + (records.pose_cam[::2] - root) * 1.4

    def stretched(records):
        tall(records)
        records.pose_cam[:5, 3] += [0, 1, 0]

    assert check(tall).bone_outliers == 0
    assert check(stretched).bone_outliers == 5


def test_every_part_of_a_combined_data_set_is_checked(tmp_path):
    config = tmp_path / 'combined.py'
    parts = [dict(type='MadeDataset', num=num, noise=0.005) for num in (30, 20)]
    dataset = dict(type='CombinedDataset', metainfo=made_dataset.MadeDataset.METAINFO, datasets=parts)
    config.write_text(f'train_dataloader = dict(dataset={dataset})\n')
    reports = check_dataset(str(config), out=str(tmp_path / 'out'))
    assert [report.records for report in reports] == [30, 20]
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['0', '1']


def test_report_is_written(check, tmp_path):
    out = tmp_path / 'out' / 'made'
    report = check(exchanged_2d, out=str(out))
    written = json.loads((out / 'report.json').read_text())
    assert written['problems'] == report.problems and written['swaps']['2D against 3D'] == 1
    page = (out / 'report.md').read_text()
    assert f'- **Problem:** {report.problems[0]}' in page and '| right_knee |' in page
    assert cv2.imread(str(out / 'contact_sheet.png')).shape[1] > 1000
    assert sorted(path.name for path in out.iterdir()) == ['contact_sheet.png', 'report.json', 'report.md']


def test_a_config_without_the_split_is_named(check, tmp_path):
    with pytest.raises(ValueError, match='made.py: has no val_dataloader'):
        check(split='val')


@pytest.mark.parametrize(
    ('name', 'config', 'options', 'limit'),
    [
        ('h36m', 'h36m', dict(camera_param_file='cameras.pkl', protocol=None), 1.0),
        ('mpi_inf_3dhp', 'mpiinf3dhp', dict(camera_param_file='cameras_train.pkl'), 3.0),
    ],
)
def test_real_cameras_fit(shared_data, project_root, tmp_path, name, config, options, limit):
    options |= dict(data_root=str(shared_data / 'real' / name), ann_file='annotations.npz')
    (report,) = check_dataset(
        str(project_root / f'configs/stereo_lift/stereo-lift_res512_8xb64-200e_{config}.py'),
        cfg_options={f'train_dataloader.dataset.{key}': value for key, value in options.items()},
        out=str(tmp_path),
    )
    assert report.records == report.with_3d == 2 and report.images == dict(images=2, missing=0)
    assert report.residual_px['mean'] < report.residual_px['maximum'] < limit
    assert report.problems == []


def test_the_command_tells_by_its_exit_status(start, overrides, project_root, tmp_path):
    config = project_root / 'configs/stereo_lift/stereo-lift_res512_1xb512-20e_mocap.py'
    process = start('tools/check_dataset.py', config, '--split', 'test', '--out', tmp_path / 'out', *overrides)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert 'No problem found.' in output and (tmp_path / 'out/contact_sheet.png').exists()
    process = start('tools/check_dataset.py', config, '--cfg-options', 'train_dataloader.dataset.ann_file=absent.npz')
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 1 and 'error: absent.npz: no such file' in output
