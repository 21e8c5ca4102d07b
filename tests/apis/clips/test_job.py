# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Tests of whole jobs: sources, cameras, results, faults and resuming."""

import json
import os
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from stereopose_mm.apis import lift_clip
from stereopose_mm.apis.clips import stages
from stereopose_mm.geometry import H36M_17, PoseSequence

from ...made_sequence import make_sequence
from .conftest import write_keypoints, write_video

FOV = 60.0  # of make_sequence's camera


def read_clip(folder) -> PoseSequence:
    with np.load(folder / 'poses3d.npz', allow_pickle=False) as file:
        return PoseSequence.from_arrays(file)


def lift(files, out, **options):
    video, keypoints = files
    return lift_clip(video, out, keypoints=keypoints, skeleton='h36m', **{'fov': FOV, 'save': ('npz',), **options})


def frames_of(path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format='bgr24') for frame in container.decode(video=0)]


@pytest.fixture(scope='module')
def done(walk_files, tmp_path_factory):
    """Everything that can be written, of two people on 40 frames."""
    out = tmp_path_factory.mktemp('done')
    return out, lift(walk_files, out, save=('video', 'json', 'npz', 'bvh', 'gltf', 'html'))


def test_all_results_are_written(done):
    out, summary = done
    names = {p.name for p in out.iterdir()}
    assert names == {
        'video.mp4', 'poses3d.json', 'poses3d.npz', 'person_000.bvh', 'person_001.bvh', 'scene.glb', 'viewer.html',
        'summary.json',
    }  # fmt: skip
    assert {f.name for f in summary.files} == names - {'summary.json'}
    assert (summary.num_frames, summary.num_people, summary.num_poses, summary.num_lifted) == (40, 2, 80, 80)
    said = json.loads((out / 'summary.json').read_text())
    assert said['num_people'] == 2 and said['files'] == [str(f.relative_to(out)) for f in summary.files]


def test_the_drawn_video_keeps_frames_and_times(done, walk):
    with av.open(str(done[0] / 'video.mp4')) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, walk.frame_times, atol=1e-4)


def test_poses_are_near_the_truth_and_people_stay_who_they_are(done, walk):
    clip = read_clip(done[0])
    assert clip.tracks.tolist() == [0, 1]
    assert (np.bincount(clip.track) == 40).all()
    truth = walk.keypoints_cam - walk.keypoints_cam[:, :1]
    order = np.argsort(clip.track + 2 * clip.frame)
    found = (clip.keypoints_cam - clip.keypoints_cam[:, :1])[order]
    assert np.linalg.norm(found - truth, axis=-1).mean() < 0.08
    depth = clip.keypoints_cam[order, 0, 2] / walk.keypoints_cam[:, 0, 2]
    assert 0.85 < np.median(depth) < 1.15


def test_bones_keep_their_lengths_unless_they_are_free(done, walk_files, tmp_path):
    bones = np.array(H36M_17.bones)

    def spread(clip):
        joints = clip.keypoints_cam[clip.track == 0]
        return np.linalg.norm(joints[:, bones[:, 0]] - joints[:, bones[:, 1]], axis=-1).std(0).max()

    assert spread(read_clip(done[0])) < 1e-5
    summary = lift(walk_files, tmp_path, free_bones=True)
    assert spread(read_clip(tmp_path)) > 1e-3
    assert summary.reprojection_error < 0.01


def test_json_and_npz_say_the_same(done):
    clip = read_clip(done[0])
    data = json.loads((done[0] / 'poses3d.json').read_text())
    people = [person for frame in data['instance_info'] for person in frame['instances']]
    np.testing.assert_allclose([p['keypoints_cam'] for p in people], clip.keypoints_cam, atol=1e-5)
    assert [p['track_id'] for p in people] == clip.track.tolist()
    assert data['info']['checkpoint'] == 'stereo-lift_default.pth'


def test_the_ground_is_found(walk_files, tmp_path):
    summary = lift(walk_files, tmp_path, ground=True, smooth=True)
    clip = read_clip(tmp_path)
    assert clip.grounded
    feet = clip.keypoints_world[:, [3, 6], 2].min(1)
    assert abs(np.median(feet)) < 0.15
    assert (clip.keypoints_world[:, 10, 2] > 1.2).all()
    assert any('ground: the camera is 1.' in note for note in summary.notes)
    assert any('smoothed' in note for note in summary.notes)


def test_every_second_frame_and_no_more_than_so_many(walk_files, tmp_path):
    summary = lift(walk_files, tmp_path, every=2, max_frames=7)
    clip = read_clip(tmp_path)
    np.testing.assert_array_equal(clip.frame_numbers, np.arange(0, 14, 2))
    assert summary.num_frames == 7 and summary.num_people == 2


def test_frames_far_apart_are_not_smoothed(walk_files, tmp_path):
    summary = lift(walk_files, tmp_path, every=20, smooth=True)
    assert not any('smoothed' in note for note in summary.notes)
    assert any('not smoothed: frames are 0.8 s apart' in warning for warning in summary.warnings)


def test_photographs_of_a_folder(walk, tmp_path):
    photos = tmp_path / 'photos'
    photos.mkdir()
    records = []
    for index in range(3):
        cv2.imwrite(str(photos / f'{index + 1}.png'), np.full((180, 320, 3), 90, np.uint8))
        for row in range(2 * index, 2 * index + 2):
            values = np.concatenate([walk.keypoints_2d[row] / 4, walk.scores_2d[row, :, None]], -1)
            records.append({'image_id': index + 1, 'category_id': 1, 'keypoints': values.ravel().tolist(), 'score': 1})
    (tmp_path / 'detections.json').write_text(json.dumps(records))
    summary = lift_clip(
        photos, tmp_path / 'out', keypoints=tmp_path / 'detections.json', save=('video', 'npz', 'gltf', 'html')
    )
    assert (summary.num_frames, summary.num_people) == (3, 6)
    assert any('3 of 3 frames tell no focal length' in line for line in summary.warnings)
    pictures = sorted(p.name for p in (tmp_path / 'out/pictures').iterdir())
    assert pictures == ['1.png', '2.png', '3.png']
    assert read_clip(tmp_path / 'out').frame_names.tolist() == pictures


def test_nobody_anywhere(walk_files, tmp_path):
    (tmp_path / 'none.json').write_text('[]')
    summary = lift_clip(
        walk_files[0], tmp_path / 'out', keypoints=tmp_path / 'none.json', ground=True, fov=FOV,
        save=('video', 'json', 'npz', 'bvh', 'gltf', 'html'),
    )  # fmt: skip
    assert (summary.num_frames, summary.num_people, summary.num_lifted) == (40, 0, 0)
    assert any('no ground' in line for line in summary.warnings)
    assert any('bvh: nobody' in line for line in summary.warnings)
    assert len(frames_of(tmp_path / 'out/video.mp4')) == 40
    data = json.loads((tmp_path / 'out/poses3d.json').read_text())
    assert [f['instances'] for f in data['instance_info']] == [[]] * 40


def test_somebody_on_one_frame_and_half_outside(walk, walk_files, tmp_path):
    one = walk.select(np.array([25]))
    shifted = replace(one, keypoints_2d=one.keypoints_2d + np.float32([640 - one.keypoints_2d[0, 0, 0] + 640, 0]))
    outside = shifted.keypoints_2d[0, :, 0] > 1280
    assert 4 < outside.sum() < 13
    shifted.scores_2d[0, outside] = 0
    keypoints = write_keypoints(tmp_path / 'one.npz', shifted)
    summary = lift((walk_files[0], keypoints), tmp_path / 'out', save=('video', 'npz', 'bvh', 'gltf', 'html'))
    clip = read_clip(tmp_path / 'out')
    assert (summary.num_poses, summary.num_lifted) == (1, 1)
    assert clip.frame.tolist() == [12]
    assert not clip.used[0, outside].any()
    assert np.isfinite(clip.keypoints_cam).all()


def test_forty_people_in_a_frame(tmp_path):
    crowd = make_sequence(num_people=40, num_frames=4)
    files = write_video(tmp_path / 'crowd.mp4', crowd), write_keypoints(tmp_path / 'crowd.npz', crowd)
    summary = lift(files, tmp_path / 'out', save=('video', 'npz', 'html'))
    assert summary.num_people == 40 and summary.num_lifted == 160


def test_frames_of_a_variable_rate_keep_their_times(walk, tmp_path):
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.2, 40))
    times -= times[0]
    video = write_video(tmp_path / 'variable.mp4', replace(walk, frame_times=times))
    keypoints = write_keypoints(tmp_path / 'walk.npz', walk)
    lift((video, keypoints), tmp_path / 'out', save=('video', 'npz'), smooth=True)
    np.testing.assert_allclose(read_clip(tmp_path / 'out').frame_times, times, atol=1e-4)
    with av.open(str(tmp_path / 'out/video.mp4')) as container:
        drawn = [float(frame.time) for frame in container.decode(video=0)]
    np.testing.assert_allclose(drawn, times, atol=1e-4)


def test_the_frame_size_changes_midway(walk, tmp_path):
    path = tmp_path / 'sizes.ts'
    pieces = []
    for index, size in enumerate(((320, 180), (160, 120))):
        piece = tmp_path / f'{index}.ts'
        with av.open(str(piece), 'w', format='mpegts') as container:
            stream = container.add_stream('libx264', rate=25, options={'bf': '0'})
            stream.width, stream.height, stream.pix_fmt = *size, 'yuv420p'
            for number in range(20):
                frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 80, np.uint8), format='bgr24')
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        pieces.append(piece.read_bytes())
    path.write_bytes(b''.join(pieces))
    half = walk.keypoints_2d * np.where(walk.frame < 20, 0.25, 0.125)[:, None, None]
    np.savez(tmp_path / 'sizes.npz', keypoints=half, scores=walk.scores_2d, frame=walk.frame)
    camera = {'fx': 277, 'fy': 277, 'cx': 160, 'cy': 90, 'width': 320, 'height': 180}
    (tmp_path / 'camera.json').write_text(json.dumps(camera))
    summary = lift(
        (path, tmp_path / 'sizes.npz'), tmp_path / 'out', fov=None, camera=tmp_path / 'camera.json',
        save=('video', 'npz', 'html'),
    )  # fmt: skip
    clip = read_clip(tmp_path / 'out')
    sizes = np.stack([clip.cameras.width.numpy(), clip.cameras.height.numpy()], -1)
    assert sizes[0].tolist() == [320, 180] and sizes[-1].tolist() == [160, 120]
    assert any('another size than the camera file' in line for line in summary.warnings)


def test_a_video_cut_short_gives_what_it_has(walk_files, walk, tmp_path):
    whole = tmp_path / 'whole.ts'
    with av.open(str(walk_files[0])) as source, av.open(str(whole), 'w', format='mpegts') as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    data = whole.read_bytes()
    (tmp_path / 'cut.ts').write_bytes(data[: len(data) * 2 // 3])
    keypoints = write_keypoints(tmp_path / 'walk.npz', walk.select(walk.frame < 10))
    summary = lift((tmp_path / 'cut.ts', keypoints), tmp_path / 'out')
    assert 10 < summary.num_frames < 40


@pytest.mark.parametrize('content', [b'', b'this is no video'])
def test_no_video_is_an_error_and_leaves_nothing(content, walk_files, tmp_path):
    (tmp_path / 'bad.mp4').write_bytes(content)
    with pytest.raises(ValueError, match='bad.mp4'):
        lift((tmp_path / 'bad.mp4', walk_files[1]), tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_what_cannot_be_used_is_said_before_anything_is_written(walk_files, tmp_path):
    camera = tmp_path / 'camera.json'
    camera.write_text(json.dumps({'fx': 500, 'fy': 500, 'cx': 320, 'cy': 180, 'width': 640, 'height': 360}))
    out = tmp_path / 'out'
    for options, message in (
        ({'fov': None, 'camera': camera}, 'is for images of 640 x 360 px, but .* is 320 x 180 px; scale .* by 0.5'),
        ({'save': ('gif',)}, 'save: takes some of .* got gif'),
        ({'camera': camera}, 'camera and fov'),
        ({'every': 0}, 'every: takes a whole number'),
        ({'every': 2.5}, 'every: takes a whole number'),
        ({'fov': 200}, 'fov: takes degrees'),
        ({'min_score': -1}, 'min_score'),
        ({'pose2d': 'human'}, 'keypoints and pose2d'),
        ({'device': 'nowhere'}, 'device'),
        ({'checkpoint': tmp_path / 'none.pth'}, 'none.pth'),
    ):
        with pytest.raises(ValueError, match=message):
            lift(walk_files, out, **options)
        assert not out.exists(), message
    with pytest.raises(ValueError, match='no such file'):
        lift((tmp_path / 'none.mp4', walk_files[1]), out)


def test_keypoints_of_another_video_are_refused(walk, walk_files, tmp_path):
    longer = replace(walk, frame=walk.frame + 5)
    keypoints = write_keypoints(tmp_path / 'longer.npz', longer)
    with pytest.raises(ValueError, match='not among the 40 frames'):
        lift((walk_files[0], keypoints), tmp_path / 'out')


def test_other_files_are_not_replaced(walk_files, tmp_path):
    (tmp_path / 'poses3d.npz').write_text('mine')
    with pytest.raises(ValueError, match='exists and is no earlier result'):
        lift(walk_files, tmp_path)
    assert (tmp_path / 'poses3d.npz').read_text() == 'mine'
    (tmp_path / 'poses3d.npz').unlink()
    (tmp_path / 'person_007.bvh').write_text('mine')
    with pytest.raises(ValueError, match=r'person_007\.bvh.*exists and is no earlier result'):
        lift(walk_files, tmp_path, save=('bvh',))
    assert (tmp_path / 'person_007.bvh').read_text() == 'mine'
    lift(walk_files, tmp_path)
    lift(walk_files, tmp_path)
    with pytest.raises(ValueError, match='exists and is not a folder'):
        lift(walk_files, walk_files[0])


def test_an_interrupted_job_goes_on_and_ends_the_same(done, walk_files, tmp_path, monkeypatch):
    monkeypatch.setattr(stages, '_PART_FRAMES', 8)
    monkeypatch.setattr('stereopose_mm.apis.clips.job._FILE_BATCH', 4)
    options = dict(save=('video', 'json', 'npz'), smooth=True)
    whole = lift(walk_files, tmp_path / 'whole', **options)
    assert whole.resumed_at == 0
    lifted, calls = stages.lift_frames, []

    def breaks(*args):
        calls.append(1)
        if len(calls) in (4, 9):
            raise KeyboardInterrupt
        return lifted(*args)

    monkeypatch.setattr(stages, 'lift_frames', breaks)
    for parts in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            lift(walk_files, tmp_path / 'out', **options)
        assert len(list((tmp_path / 'out/.parts').glob('lifted_*.npz'))) == parts
        assert not (tmp_path / 'out/poses3d.npz').exists()
    drawn = []
    draw = stages.ClipPainter.draw

    def draws(*args):
        drawn.append(1)
        if len(drawn) == 21:
            raise KeyboardInterrupt
        return draw(*args)

    monkeypatch.setattr(stages.ClipPainter, 'draw', draws)
    with pytest.raises(KeyboardInterrupt):
        lift(walk_files, tmp_path / 'out', **options)
    summary = lift(walk_files, tmp_path / 'out', **options)
    assert summary.resumed_at == 40
    # The part that was being drawn is drawn again, no other.
    assert len(drawn) == 40 + 5
    assert not (tmp_path / 'out/.parts').exists()
    for name, value in read_clip(tmp_path / 'whole').to_arrays().items():
        np.testing.assert_array_equal(read_clip(tmp_path / 'out').to_arrays()[name], value, err_msg=name)
    assert (tmp_path / 'out/poses3d.json').read_bytes() == (tmp_path / 'whole/poses3d.json').read_bytes()
    for ours, theirs in zip(*(frames_of(tmp_path / f / 'video.mp4') for f in ('out', 'whole')), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_other_settings_do_not_go_on(walk_files, tmp_path, monkeypatch):
    monkeypatch.setattr(stages, '_PART_FRAMES', 8)
    monkeypatch.setattr('stereopose_mm.apis.clips.job._FILE_BATCH', 4)
    lifted, calls = stages.lift_frames, []

    def breaks(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return lifted(*args)

    monkeypatch.setattr(stages, 'lift_frames', breaks)
    with pytest.raises(KeyboardInterrupt):
        lift(walk_files, tmp_path)
    assert lift(walk_files, tmp_path, fov=61.0).resumed_at == 0


def test_the_part_on_disk_bounds_the_memory(walk_files, tmp_path, monkeypatch):
    """No part is longer than it may be, however long the clip."""
    monkeypatch.setattr(stages, '_PART_FRAMES', 8)
    monkeypatch.setattr('stereopose_mm.apis.clips.job._FILE_BATCH', 4)
    sizes = []
    append = stages.Stage.append
    monkeypatch.setattr(
        stages.Stage, 'append', lambda self, part, state: (sizes.append(part.num_frames), append(self, part, state))
    )
    lift(walk_files, tmp_path)
    assert max(sizes) == 8 and sum(sizes) == 80


def test_a_recorded_stream(walk, walk_files, tmp_path, monkeypatch):
    """A stream is read once: what is drawn later comes from the recording."""
    from stereopose_mm.apis.clips import job

    class Stream(job.FrameSource):
        def __init__(self, *args):
            super().__init__(*args)
            if self.path == walk_files[0]:
                self.kind, self.num_frames, self.num_selected, self.exact_count = 'stream', None, None, False

    monkeypatch.setattr('stereopose_mm.apis.frame_source.FrameSource', Stream)
    monkeypatch.setattr(stages, '_PART_FRAMES', 16)
    monkeypatch.setattr('stereopose_mm.apis.clips.job._FILE_BATCH', 8)
    opened = []
    monkeypatch.setattr(
        job, 'open_frames', lambda source, *a, **k: (opened.append(str(source)), frames(source, *a, **k))[1]
    )
    from stereopose_mm.apis.frame_source import open_frames as frames

    summary = lift(walk_files, tmp_path, save=('video', 'html', 'npz'))
    assert summary.num_frames == 40
    assert opened.count(str(walk_files[0])) == 2  # to look at it, and to lift it
    assert len(frames_of(tmp_path / 'video.mp4')) == 40


def photographs(folder, names, size=(320, 180)):
    folder.mkdir()
    for name in names:
        cv2.imwrite(str(folder / name), np.full((size[1], size[0], 3), 90, np.uint8))
    return folder


def coco_record(walk, row, **where):
    values = np.concatenate([walk.keypoints_2d[row] / 4, walk.scores_2d[row, :, None]], -1)
    return {'category_id': 1, 'keypoints': values.ravel().tolist(), 'score': 1, **where}


def test_photographs_of_one_stem_have_pictures_of_their_own(walk, tmp_path):
    photos = photographs(tmp_path / 'photos', ['a.jpg', 'a.png', 'A.bmp'])
    records = [coco_record(walk, row, file_name=name) for row, name in enumerate(('a.jpg', 'a.png', 'A.bmp'))]
    (tmp_path / 'found.json').write_text(json.dumps(records))
    summary = lift_clip(photos, tmp_path / 'out', keypoints=tmp_path / 'found.json', fov=FOV, save=('video',))
    assert len({f.name.lower() for f in summary.files}) == 3
    assert {f.name for f in (tmp_path / 'out/pictures').iterdir()} == {f.name for f in summary.files}


def test_people_of_one_number_on_a_frame(walk, walk_files, tmp_path):
    """Smoothing and export take one pose of a person a frame."""
    records = [coco_record(walk, row, image_id=row // 2, track_id=7) for row in range(20)]
    (tmp_path / 'found.json').write_text(json.dumps(records))
    summary = lift_clip(
        walk_files[0], tmp_path / 'out', keypoints=tmp_path / 'found.json', fov=FOV, smooth=True, save=('bvh', 'gltf')
    )
    assert summary.num_people == 2


def test_a_video_that_does_not_tell_its_length_is_checked_at_its_end(walk, walk_files, tmp_path):
    path = tmp_path / 'walk.mkv'
    with av.open(str(walk_files[0])) as source, av.open(str(path), 'w') as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    keypoints = write_keypoints(tmp_path / 'longer.npz', replace(walk, frame=walk.frame + 5))
    expected = f'{keypoints}: 5 frames are after the end of the video'
    assert expected in lift((path, keypoints), tmp_path / 'all').warnings
    assert lift((path, walk_files[1]), tmp_path / 'right').warnings == []
    assert lift((path, keypoints), tmp_path / 'some', max_frames=20).warnings == []
    assert lift((path, walk_files[1]), tmp_path / 'every', every=3).warnings == []


def test_labels_of_photographs_of_several_sizes(walk, tmp_path):
    """Labels are in parts of an image: each image's own size turns them into pixels."""
    photos = photographs(tmp_path / 'photos', ['a.png'])
    cv2.imwrite(str(photos / 'b.png'), np.zeros((360, 640, 3), np.uint8))
    (tmp_path / 'labels').mkdir()
    points = ' '.join(f'{x} {y} 1' for x, y in walk.keypoints_2d[0] / [1280, 720])
    for name in 'ab':
        (tmp_path / f'labels/{name}.txt').write_text(f'0 0.5 0.5 0.2 0.2 {points}')
    lift_clip(photos, tmp_path / 'out', keypoints=tmp_path / 'labels', fov=FOV, save=('npz',))
    clip = read_clip(tmp_path / 'out')
    for row, scale in enumerate((0.25, 0.5)):
        np.testing.assert_allclose(clip.keypoints_2d[row], walk.keypoints_2d[0] * scale, rtol=1e-4)


def test_stopped_at_the_last_frame_that_is_wanted_it_goes_on(walk_files, tmp_path, monkeypatch):
    run = stages.LiftStage.run
    monkeypatch.setattr(stages.LiftStage, 'run', lambda self, *args: run(self, *args) and False)
    with pytest.raises(KeyboardInterrupt):
        lift(walk_files, tmp_path, max_frames=10)
    monkeypatch.setattr(stages.LiftStage, 'run', run)
    summary = lift(walk_files, tmp_path, max_frames=10)
    assert (summary.resumed_at, summary.num_frames) == (10, 10)


def test_an_interrupted_job_still_says_what_it_left_out(walk, tmp_path, monkeypatch):
    photos = photographs(tmp_path / 'photos', ['1.png', '2.png', '3.png'])
    (photos / '2.png').write_bytes(b'broken')
    (tmp_path / 'found.json').write_text(json.dumps([coco_record(walk, i, image_id=i + 1) for i in range(3)]))
    arguments = dict(keypoints=tmp_path / 'found.json', fov=FOV, save=('json', 'video'))
    write = stages.FinishStage.run
    monkeypatch.setattr(stages.FinishStage, 'run', lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        lift_clip(photos, tmp_path / 'out', **arguments)
    monkeypatch.setattr(stages.FinishStage, 'run', write)
    summary = lift_clip(photos, tmp_path / 'out', **arguments)
    assert summary.resumed_at == 2
    assert any('2.png: no readable image' in line for line in summary.warnings)


def test_a_changed_photograph_begins_anew(walk, tmp_path, monkeypatch):
    photos = photographs(tmp_path / 'photos', ['1.png', '2.png'])
    (tmp_path / 'found.json').write_text(json.dumps([coco_record(walk, i, image_id=i + 1) for i in range(2)]))
    arguments = dict(keypoints=tmp_path / 'found.json', fov=FOV, save=('npz',))
    finish = stages.FinishStage.run
    monkeypatch.setattr(stages.FinishStage, 'run', lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        lift_clip(photos, tmp_path / 'out', **arguments)
    monkeypatch.setattr(stages.FinishStage, 'run', finish)
    cv2.imwrite(str(photos / '2.png'), np.full((360, 640, 3), 10, np.uint8))
    assert lift_clip(photos, tmp_path / 'out', **arguments).resumed_at == 0
    assert read_clip(tmp_path / 'out').cameras.width.tolist() == [320, 640]


def test_results_of_an_earlier_clip_do_not_stay_among_the_new_ones(walk, walk_files, tmp_path):
    (tmp_path / 'notes.bvh').write_text('mine')
    lift(walk_files, tmp_path, save=('bvh', 'npz'))
    assert {p.name for p in tmp_path.glob('*.bvh')} == {'person_000.bvh', 'person_001.bvh', 'notes.bvh'}
    alone = write_keypoints(tmp_path / 'alone.npz', walk.select(walk.track == 0))
    lift((walk_files[0], alone), tmp_path, save=('bvh',))
    assert {p.name for p in tmp_path.glob('*.bvh')} == {'person_000.bvh', 'notes.bvh'}
    assert (tmp_path / 'poses3d.npz').is_file()  # of a kind that was not asked for this time


@pytest.mark.skipif(os.name != 'posix', reason='names of files are Unicode there')
def test_a_name_that_is_no_unicode(walk_files, tmp_path):
    video = tmp_path / os.fsdecode(b'caf\xe9.mp4')
    os.link(walk_files[0], video)
    summary = lift((video, walk_files[1]), tmp_path / 'out', save=('json', 'html', 'gltf', 'bvh'))
    assert len(summary.files) == 5
    assert json.loads((tmp_path / 'out/poses3d.json').read_text())['info']['source'].endswith('caf\ufffd.mp4')
