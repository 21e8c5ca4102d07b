# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest
import torch

from stereopose_mm.geometry import Camera
from stereopose_mm.visualization.build_viewer import VIEWER_ASSETS, hash_viewer_sources, read_recorded_hash
from stereopose_mm.visualization.html_viewer import write_html
from stereopose_mm.visualization.viewer_browser import (
    find_chromium,
    open_chromium,
    open_page,
    wait_for_picture,
    wait_until,
)
from stereopose_mm.visualization.viewer_media import ViewerMedia
from tests.made_sequence import make_sequence

SMALL = (780, 440)
NASTY = '</script><script>window.broken = 1</script><!-- <b>&amp; "quoted" \u2028'


@pytest.fixture(scope='module')
def browser():
    pytest.importorskip('playwright')
    if find_chromium() is None:
        pytest.skip('no Chromium on the PATH')
    with open_chromium() as opened:
        yield opened


@pytest.fixture
def show(browser, tmp_path):
    """Write a page, open it, and check afterwards that nothing went wrong and nothing was fetched."""
    pages = []

    def write_and_open(*args, size=SMALL, **options):
        path = tmp_path / f'{len(pages)}.html'
        write_html(path, *args, **options)
        pages.append(open_page(browser, path, size, reduced_motion='reduce'))
        return pages[-1]

    yield write_and_open
    for page in pages:
        assert page.troubles == []
        assert [url for url in page.requests if not url.startswith(('file:', 'blob:', 'data:'))] == []
        assert sum(url.startswith('file:') for url in page.requests) == 1
        page.close()


def world(sequence):
    """With the ground where make_sequence has it."""
    return replace(sequence, world_translation=np.array([0, 0, 1.5]), grounded=True)


def numbered_frame(number):
    """A grey whose brightness tells the frame."""
    return np.full((180, 320, 3), 20 + 5 * number, np.uint8)


def video_of(sequence):
    media = ViewerMedia('video')
    for number, time in zip(sequence.frame_numbers, sequence.frame_times, strict=True):
        media.add(numbered_frame(int(number)), float(time))
    return media


def shown_brightness(page):
    script = """() => {
        const canvas = document.createElement('canvas'), video = document.querySelector('#frame-box video');
        canvas.width = canvas.height = 8;
        const context = canvas.getContext('2d');
        context.drawImage(video, 0, 0, 8, 8);
        return context.getImageData(4, 4, 1, 1).data[0];
    }"""
    return page.evaluate(script)


def test_bundle_is_of_these_sources():
    assert read_recorded_hash() == hash_viewer_sources(), 'run tools/misc/build_viewer.py'
    bundle = (VIEWER_ASSETS / 'viewer.js').read_text(encoding='utf-8')
    version = json.loads((VIEWER_ASSETS / 'package.json').read_text(encoding='utf-8'))['dependencies']['three']
    assert f'three.js {version}' in bundle and 'Permission is hereby granted' in bundle[:3000]
    assert not re.search(r'(src|href)="?https?:|@import|cdn\.', bundle)


def test_an_edited_source_makes_the_bundle_stale(tmp_path):
    (tmp_path / 'src').mkdir()
    for name in ('package.json', 'package-lock.json', 'src/main.js'):
        (tmp_path / name).write_bytes((VIEWER_ASSETS / name).read_bytes())
    before = hash_viewer_sources(tmp_path)
    main = tmp_path / 'src' / 'main.js'
    main.write_bytes(main.read_bytes().replace(b'\n', b'\r\n'))
    assert hash_viewer_sources(tmp_path) == before
    main.write_bytes(main.read_bytes() + b'//')
    assert hash_viewer_sources(tmp_path) != before


def test_plays_scrubs_and_toggles_people(show):
    page = show(world(make_sequence(3, 40)), title='Three people')
    assert page.title() == 'Three people' == page.inner_text('#title')
    assert page.inner_text('#summary') == '3 people · 40 frames · 1.6 s'
    assert page.evaluate('stereopose.drawnPeople') == 3 == page.locator('.person').count()
    page.click('.person >> nth=1 >> .show')
    wait_for_picture(page)
    assert page.evaluate('stereopose.drawnPeople') == 2
    page.click('.person >> nth=1 >> .only')
    wait_for_picture(page)
    assert page.evaluate('stereopose.drawnPeople') == 1
    page.keyboard.press('0')
    page.keyboard.press('3')
    wait_for_picture(page)
    assert page.evaluate('stereopose.drawnPeople') == 2

    box = page.locator('#timeline').bounding_box()
    page.mouse.move(box['x'] + 8, box['y'] + 20)
    page.mouse.down()
    page.mouse.move(box['x'] + 0.5 * box['width'], box['y'] + 20, steps=3)
    page.mouse.up()
    assert page.evaluate('stereopose.frame') in (19, 20)
    page.click('#play')
    wait_until(page, 'stereopose.frame > 24')
    page.keyboard.press('Space')
    assert not page.evaluate('stereopose.playing')
    for key, frame in (('Home', 0), ('ArrowRight', 1), ('Shift+ArrowRight', 11), ('ArrowLeft', 10), ('End', 39)):
        page.keyboard.press(key)
        assert page.evaluate('stereopose.frame') == frame, key
    wait_for_picture(page)
    assert page.get_attribute('#timeline', 'aria-valuenow') == '39'
    assert '1.56 s' in page.inner_text('#readout') and '40/40' in page.inner_text('#readout')


def test_keys_switch_what_is_shown(show):
    page = show(world(make_sequence(2, 5)))
    plain = page.screenshot(clip=page.locator('#scene').bounding_box())
    for key, button in (('g', 'Grid'), ('t', 'Trails'), ('u', '±σ'), ('l', 'Names')):
        chosen = page.locator('#layers button', has_text=button)
        before = chosen.get_attribute('aria-pressed')
        page.keyboard.press(key)
        assert chosen.get_attribute('aria-pressed') != before, key
    wait_for_picture(page)
    assert page.screenshot(clip=page.locator('#scene').bounding_box()) != plain
    with_skeletons = page.locator('#picture').screenshot()
    page.keyboard.press('o')
    wait_for_picture(page)
    assert page.locator('#picture').screenshot() != with_skeletons
    page.keyboard.press('f')
    wait_for_picture(page)
    assert page.locator('.follow[aria-pressed=true]').count() == 1
    page.keyboard.press('?')
    assert page.locator('#help').is_visible()
    page.keyboard.press('Escape')
    assert not page.locator('#help').is_visible()
    page.keyboard.press('[')
    wait_for_picture(page)
    assert page.inner_text('#speed') == '0.5×'


@pytest.mark.parametrize('lens', [None, [-0.12, 0.03, 0.001, -0.001, 0.0]])
def test_camera_view_lies_on_the_picture(show, lens):
    sequence = world(make_sequence(2, 3))
    if lens:
        cameras = replace(sequence.cameras, distortion=torch.tensor(lens, dtype=torch.float64))
        sequence = replace(sequence, cameras=cameras)
    page = show(sequence)
    page.keyboard.press('c')
    page.keyboard.press('End')
    wait_for_picture(page)
    assert page.evaluate('stereopose.viewpoint.name') == 'camera'
    for row in range(2):
        drawn = np.array(page.evaluate('(row) => stereopose.jointPixels(row)', row))
        # The scene is free of the lens; the picture hangs in it on the lens's own rays.
        np.testing.assert_allclose(drawn, sequence.keypoints_2d[4 + row], atol=0.5)
    # And there the person is: the left shin is blue, the right one orange.
    page.keyboard.press('l')
    wait_for_picture(page)
    canvas = page.locator('#scene').bounding_box()
    pixels = cv2.imdecode(np.frombuffer(page.screenshot(clip=canvas), np.uint8), cv2.IMREAD_COLOR)
    scale = min(canvas['width'] / 1280, canvas['height'] / 720)
    offset = np.array([canvas['width'] - 1280 * scale, canvas['height'] - 720 * scale]) / 2
    for joints, channel in (((5, 6), 0), ((2, 3), 2)):
        x, y = np.rint(sequence.keypoints_2d[5][list(joints)].mean(0) * scale + offset).astype(int)
        colour = pixels[y, x].astype(int)
        assert colour[channel] > colour[2 - channel] + 40, (joints, colour)
    # A drag leaves the camera's view for one that turns.
    page.mouse.move(canvas['x'] + 60, canvas['y'] + 60)
    page.mouse.down()
    page.mouse.move(canvas['x'] + 120, canvas['y'] + 70)
    page.mouse.up()
    assert page.evaluate('stereopose.viewpoint.name') == 'overview'
    assert page.evaluate('stereopose.jointPixels(0)') is None


def test_bent_picture_hangs_on_the_lens_rays(show):
    lens = torch.tensor([-0.25, 0.05, 0.002, -0.001, 0.0], dtype=torch.float64)
    camera = Camera(600.0, 600.0, 320.0, 180.0, 640.0, 360.0, lens)
    marks = np.array([[80.0, 60.0], [560.0, 60.0], [320.0, 300.0], [520.0, 270.0]])
    image = np.full((360, 640, 3), 60, np.uint8)
    for x, y in marks:
        cv2.circle(image, (round(x), round(y)), 7, (0, 0, 255), -1)
    media = ViewerMedia('photos')
    media.add(image)
    sequence = make_sequence(1, 1).select(slice(0, 0))
    page = show(replace(sequence, cameras=camera.expand(1), frame_names=np.array(['a.png'])), media)
    page.keyboard.press('c')
    page.keyboard.press('g')
    wait_for_picture(page)
    box = page.locator('#scene').bounding_box()
    pixels = cv2.imdecode(np.frombuffer(page.screenshot(clip=box), np.uint8), cv2.IMREAD_COLOR).astype(int)
    scale = min(box['width'] / 640, box['height'] / 360)
    ideal = camera.undistort(torch.from_numpy(marks)).numpy()
    assert np.linalg.norm(ideal - marks, axis=1).max() > 8
    rows, columns = np.nonzero(pixels[..., 2] > pixels[..., 0] + 60)
    offset = np.array([box['width'] - 640 * scale, box['height'] - 360 * scale]) / 2
    red = (np.stack([columns, rows], -1) + 0.5 - offset) / scale
    for mark in ideal:
        near = red[np.linalg.norm(red - mark, axis=1) < 16]
        np.testing.assert_allclose(near.mean(0), mark, atol=1.5)


def test_video_and_scene_show_the_same_frame(show):
    sequence = world(make_sequence(1, 40))
    # Frame times that vary, as a phone's do.
    times = np.cumsum(np.where(np.arange(40) % 7 == 3, 0.11, 0.03)) + 5
    sequence = replace(sequence, frame_times=times)
    page = show(sequence, video_of(sequence))
    for frame in (0, 17, 3, 38, 39):
        page.evaluate('(frame) => stereopose.seek(frame)', frame)
        wait_for_picture(page)
        assert abs(shown_brightness(page) - (20 + 5 * frame)) <= 3, frame
    page.keyboard.press('Home')
    page.click('#play')
    wait_until(page, 'stereopose.frame > 8')
    page.click('#play')
    wait_for_picture(page)
    frame = page.evaluate('stereopose.frame')
    assert abs(shown_brightness(page) - (20 + 5 * frame)) <= 3


def test_photographs_of_several_sizes(show, tmp_path):
    paths = []
    for number, (width, height) in enumerate([(320, 240), (200, 300)]):
        paths.append(tmp_path / f'{number}.png')
        cv2.imwrite(str(paths[-1]), np.full((height, width, 3), 90, np.uint8))
    sequence = make_sequence(2, 2)
    cameras = Camera.stack([Camera.from_fov(60.0, 320, 240), Camera.from_fov(50.0, 200, 300)])
    names = np.array(['a <i>photo</i>.png', 'b.png'])
    sequence = replace(sequence, cameras=cameras, frame_names=names, frame_times=np.arange(2.0))
    page = show(sequence, ViewerMedia.from_photos(paths))
    for frame, (width, height) in enumerate([(320, 240), (200, 300)]):
        page.evaluate('(frame) => stereopose.seek(frame)', frame)
        wait_for_picture(page)
        assert page.inner_text('#frame-name') == names[frame]
        assert page.evaluate('document.querySelector("#frame-box img").naturalWidth') == width
        box = page.locator('#frame-box').bounding_box()
        assert box['width'] / box['height'] == pytest.approx(width / height, rel=0.02)


def test_one_photograph_without_people(show):
    sequence = make_sequence(1, 1).select(slice(0, 0))
    media = ViewerMedia('photos')
    media.add(np.full((720, 1280, 3), 90, np.uint8))
    page = show(replace(sequence, frame_names=np.array(['only.jpg'])), media)
    assert page.evaluate('stereopose.drawnPeople') == 0
    assert page.inner_text('#summary') == '0 people · 1 photograph'
    assert page.inner_text('#scene-note') == 'No person was found'
    assert not page.locator('footer').is_visible()
    page.keyboard.press('Space')
    page.keyboard.press('c')
    wait_for_picture(page)
    assert page.evaluate('stereopose.frame') == 0


def test_poses_that_could_not_be_lifted(show):
    sequence = make_sequence(2, 4)
    valid = sequence.track == 1
    joints = np.where(valid[:, None, None], sequence.keypoints_cam, np.nan)
    error = np.where(valid, 0, np.nan)
    page = show(replace(sequence, valid=valid, keypoints_cam=joints, reprojection_error=error))
    assert page.evaluate('stereopose.drawnPeople') == 1
    assert page.locator('.values').all_inner_texts()[0] == 'not lifted'
    assert 'ground not estimated' in page.inner_text('#note')


def test_text_stays_text(show):
    sequence = make_sequence(1, 2)
    page = show(replace(sequence, frame_names=np.array([NASTY, 'b'])), title=NASTY)
    assert page.evaluate('window.broken') is None
    assert page.inner_text('#title', timeout=1000).startswith('</script><script>window.broken')
    assert page.evaluate('stereopose.clip.title') == NASTY == page.evaluate('stereopose.clip.names[0]')


def test_long_clips_are_cut(show):
    page = show(make_sequence(1, 30), max_frames=10)
    assert page.evaluate('stereopose.clip.numFrames') == 10
    assert 'the first 10 of 30 frames' in page.inner_text('#note')


def test_draws_five_people_in_few_calls(show):
    page = show(world(make_sequence(5, 300)))
    page.evaluate("stereopose.drawAs('solid'); stereopose.resetStatistics(); stereopose.play()")
    wait_until(page, 'stereopose.statistics().pictures > 5')
    statistics = page.evaluate('stereopose.statistics()')
    # Pyramid, people, ground, shadows and trails.
    assert not statistics['painted'] and statistics['scenes'] > 0
    assert statistics['drawCalls'] <= 5 and statistics['triangles'] < 40000
    page.evaluate('stereopose.pause()')


def scene_picture(page, manner):
    """Pixels of the 3D scene without its names, when it has come to rest."""
    page.evaluate('(manner) => stereopose.drawAs(manner)', manner)
    wait_for_picture(page)
    wait_until(page, 'stereopose.viewpoint.refined')
    page.wait_for_timeout(100)
    assert page.evaluate('stereopose.statistics().painted') == (manner == 'painted')
    picture = page.screenshot(clip=page.locator('#scene').bounding_box())
    return cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).astype(float)


@pytest.mark.parametrize('view', ['overview', 'side', 'top', 'camera'])
def test_painted_scene_looks_like_the_solid_one(show, view):
    sequence = world(make_sequence(3, 8))
    page = show(sequence, video_of(sequence))
    page.keyboard.press('l')
    page.evaluate('(view) => { stereopose.seek(6); stereopose.view(view); }', view)
    wait_for_picture(page)
    solid, painted = scene_picture(page, 'solid'), scene_picture(page, 'painted')
    people = np.ptp(solid, axis=2) > 60
    assert people.sum() > 300 and np.abs(solid - painted)[~people].mean() < 3
    # Where the one has a colourful limb the other has it too, but for its rim.
    inside = cv2.erode(people.astype(np.uint8), np.ones((3, 3))) > 0
    same = np.abs(solid - painted)[inside].max(1) < 60
    assert inside.sum() > 60 and same.mean() > 0.85


def test_moves_painted_without_a_graphics_card_and_rests_solid(show):
    page = show(world(make_sequence(2, 300)))
    wait_until(page, 'stereopose.viewpoint.refined')
    assert not page.evaluate('stereopose.statistics().painted')
    page.click('#play')
    wait_until(page, 'stereopose.frame > 2')
    assert page.evaluate('stereopose.statistics().painted')
    page.click('#play')
    wait_until(page, 'stereopose.viewpoint.refined')
    statistics = page.evaluate('stereopose.statistics()')
    assert not statistics['painted'] and statistics['density'] == 2


def test_without_webgl_all_is_painted(browser, tmp_path):
    path = tmp_path / 'clip.html'
    write_html(path, world(make_sequence(2, 5)))
    no_webgl = """<script>
        const real = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
            return kind.startsWith('webgl') ? null : real.call(this, kind, ...more);
        };
    </script>"""
    path.write_text(path.read_text(encoding='utf-8').replace('<header>', no_webgl + '<header>'), encoding='utf-8')
    page = open_page(browser, path, SMALL, reduced_motion='reduce')
    wait_until(page, 'stereopose.viewpoint.refined')
    assert page.evaluate('stereopose.drawnPeople') == 2 and page.evaluate('stereopose.statistics().painted')
    picture = page.screenshot(clip=page.locator('#scene').bounding_box())
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).astype(float)
    assert (np.ptp(pixels, axis=2) > 60).sum() > 300
    assert page.troubles == []
    page.close()


@pytest.mark.parametrize(
    ('still', 'moving', 'level'), [(16.7, 16.7, 0), (16.7, 40, 2), (8.3, 16.7, 0), (33.3, 33.3, 0), (33.3, 60, 2)]
)
def test_scene_that_lags_behind_the_screen_is_drawn_more_simply(show, still, moving, level):
    page = show(make_sequence(1, 2))
    script = """([still, moving]) => {
        const pace = new stereopose.pace.constructor(3);
        let now = 0;
        for (let i = 0; i < 60; i++) pace.record(now += still, false);
        for (let i = 0; i < 200; i++) pace.record(now += moving, true);
        return pace.level;
    }"""
    assert page.evaluate(script, [still, moving]) == level


def test_narrow_window_stacks_the_panes(show):
    page = show(make_sequence(1, 3), size=(390, 800))
    picture, scene = (page.locator(name).bounding_box() for name in ('#picture-pane', '#scene-pane'))
    assert picture['x'] == scene['x'] and scene['y'] >= picture['y'] + picture['height']
    assert page.evaluate('document.documentElement.scrollWidth') <= 390


def test_picture_of_the_page(browser, project_root, tmp_path):
    write_html(tmp_path / 'clip.html', make_sequence(1, 3))
    picture = tmp_path / 'clip.png'
    command = [sys.executable, 'tools/misc/picture_viewer.py', tmp_path / 'clip.html', picture]
    options = ['--size', '500', '400', '--frame', '1', '--view', 'side', '--keys', 'u']
    environment = os.environ | {'PYTHONPATH': str(project_root)}
    subprocess.run([*command, *options], cwd=project_root, env=environment, check=True)
    assert cv2.imread(str(picture)).shape == (400, 500, 3)


def test_media_of_a_video_file_picks_the_frames(tmp_path):
    sequence = make_sequence(1, 12)
    video = tmp_path / 'clip.mp4'
    video.write_bytes(video_of(sequence).files()[0])
    media = ViewerMedia.from_video(video, [2, 7, 11], [0.0, 0.2, 0.5])
    with av.open(io.BytesIO(media.files()[0])) as container:
        frames = list(container.decode(video=0))
    assert [round(f.to_ndarray(format='gray').mean() / 5) for f in frames] == [
        round(cv2.cvtColor(numbered_frame(n), cv2.COLOR_BGR2GRAY).mean() / 5) for n in (2, 7, 11)
    ]
    np.testing.assert_allclose([f.time for f in frames], [0, 0.2, 0.5], atol=1e-3)
    with pytest.raises(ValueError, match='clip.mp4: has no frame 12, ends after 12'):
        ViewerMedia.from_video(video, [3, 12], [0.0, 1.0])
    video.write_bytes(b'no video')
    with pytest.raises(ValueError, match='clip.mp4: not a readable video'):
        ViewerMedia.from_video(video, [0], [0.0])


def test_media_is_bounded(tmp_path):
    media = ViewerMedia('photos', max_size=64, max_frames=2)
    for _ in range(4):
        media.add(np.zeros((100, 200, 3), np.uint8))
    assert media.full and len(media.files()) == 2
    assert cv2.imdecode(np.frombuffer(media.files()[0], np.uint8), cv2.IMREAD_COLOR).shape == (32, 64, 3)
    write_html(tmp_path / 'a.html', make_sequence(1, 9), media)


def test_bad_input_writes_nothing(tmp_path):
    path = tmp_path / 'clip.html'
    sequence = make_sequence(1, 3)
    with pytest.raises(ValueError, match='clip.html: the viewer takes a sequence of at least one frame'):
        write_html(path, sequence.select_frames(slice(0, 0)))
    with pytest.raises(ValueError, match='takes a picture for each of 3 frames, got 2'):
        write_html(path, sequence, video_of(sequence.select_frames(slice(0, 2))))
    with pytest.raises(ValueError, match="kind: takes one of .* got 'film'"):
        ViewerMedia('film')
    with pytest.raises(ValueError, match='image: takes'):
        ViewerMedia().add(np.zeros((4, 4), np.uint8))
    bad = tmp_path / 'bad.jpg'
    bad.write_bytes(b'')
    with pytest.raises(ValueError, match='bad.jpg: not a readable image'):
        ViewerMedia.from_photos([bad])
    assert sorted(p.name for p in tmp_path.iterdir()) == ['bad.jpg']
