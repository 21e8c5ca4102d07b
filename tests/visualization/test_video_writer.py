# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import errno
import os
import resource
import threading
from contextlib import contextmanager

import av
import cv2
import numpy as np
import pytest

from stereopose_mm.visualization.video_writer import VideoWriter, concatenate_videos

WIDTH, HEIGHT = 96, 64
RNG = np.random.default_rng(0)
PATTERN = cv2.GaussianBlur(RNG.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8), (0, 0), 6)
PATTERN = cv2.normalize(PATTERN, None, 30, 225, cv2.NORM_MINMAX)


def picture(number, pattern=PATTERN):
    """A picture of coloured clouds that drift to the right."""
    return np.roll(pattern, 2 * number, 1)


def write(path, numbers, times, **options):
    with VideoWriter(path, WIDTH, HEIGHT, **options) as video:
        for number in numbers:
            video.write(picture(number), times[number])
    return path


def decode(path):
    """Times and pictures ``(n, H, W, 3)``."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return np.array([frame.time for frame in frames]), np.array([f.to_ndarray(format='bgr24') for f in frames])


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path):
    before = set(threading.enumerate())
    yield
    assert not [path for path in tmp_path.rglob('*') if '.tmp' in path.name]
    assert not [thread for thread in threading.enumerate() if thread.name == 'video' and thread not in before]


def test_frames_and_times(tmp_path):
    times = np.cumsum([0, *np.random.default_rng(1).uniform(0.004, 0.3, 79)])
    path = write(tmp_path / 'a.mp4', range(80), times)
    seconds, images = decode(path)
    np.testing.assert_allclose(seconds, times, atol=0.5 / 90000 + 1e-9)
    for number, image in enumerate(images):
        assert abs(image.astype(int) - picture(number)).mean() < 6
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt, stream.frames) == ('h264', 'yuv420p', 80)
        # The last frame is shown for a step of the default rate.
        assert float(stream.duration * stream.time_base) == pytest.approx(times[-1] + 1 / 25, abs=1e-3)
        assert sum(packet.is_keyframe for packet in container.demux(video=0)) >= 3
    # A browser plays it while it loads: the index comes before the pictures.
    data = path.read_bytes()
    assert 0 < data.index(b'moov') < data.index(b'mdat')


def test_opencv_reads_the_same_colours(tmp_path):
    colours = [(40, 40, 220), (40, 200, 40), (220, 60, 40), (128, 128, 128), (30, 220, 230), (240, 240, 240)]
    bands = np.repeat(np.array(colours, np.uint8)[None], HEIGHT, 0).repeat(16, 1)
    with VideoWriter(tmp_path / 'a.mp4', WIDTH, HEIGHT, crf=5) as video:
        video.write(bands)
    image = cv2.VideoCapture(str(tmp_path / 'a.mp4')).read()[1]
    np.testing.assert_allclose(image[30, 8::16], colours, atol=5)
    np.testing.assert_allclose(decode(tmp_path / 'a.mp4')[1][0][30, 8::16], colours, atol=5)


def test_thin_lines_keep_their_colour(tmp_path):
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    image[1::4] = image[2::4] = (0, 0, 255)
    with VideoWriter(tmp_path / 'a.mp4', WIDTH, HEIGHT, crf=1) as video:
        video.write(image)
    lines = decode(tmp_path / 'a.mp4')[1][0].astype(int)
    reddish = lines[..., 2] - lines[..., 0]
    assert reddish[1::4].mean() > 80
    assert abs(reddish[1::4].mean() - reddish[2::4].mean()) < 10


def test_times_of_a_constant_rate_do_not_drift(tmp_path):
    with VideoWriter(tmp_path / 'a.mp4', WIDTH, HEIGHT, frame_rate=29.97) as video:
        for number in range(100):
            video.write(picture(number))
    np.testing.assert_allclose(decode(tmp_path / 'a.mp4')[0], np.arange(100) / 29.97, atol=1e-5)


def test_odd_sizes_are_made_even(tmp_path):
    image = cv2.resize(PATTERN, (97, 65))
    with VideoWriter(tmp_path / 'a.mp4', 97, 65) as video:
        video.write(image)
    _, images = decode(tmp_path / 'a.mp4')
    assert images.shape == (1, 66, 98, 3)
    assert abs(images[0, :65, :97].astype(int) - image).mean() < 4
    assert abs(images[0, 65, :97].astype(int) - image[64]).mean() < 8


def test_an_image_may_be_changed_after_it_was_written(tmp_path):
    canvas = np.empty_like(PATTERN)
    with VideoWriter(tmp_path / 'a.mp4', WIDTH, HEIGHT) as video:
        for number in range(20):
            canvas[:] = picture(number)
            video.write(canvas)
            canvas[:] = 0
    for number, image in enumerate(decode(tmp_path / 'a.mp4')[1]):
        assert abs(image.astype(int) - picture(number)).mean() < 6


@pytest.mark.parametrize('bounds', [(0, 60), (0, 30, 60), (0, 1, 17, 18, 43, 60)])
def test_parts_join_to_the_whole(tmp_path, bounds):
    times = np.cumsum([0, *np.random.default_rng(2).uniform(0.004, 0.3, 59)])
    whole_times, whole = decode(write(tmp_path / 'whole.mp4', range(60), times))
    parts = [
        write(tmp_path / f'{start}.mp4', range(start, stop), times)
        for start, stop in zip(bounds[:-1], bounds[1:], strict=True)
    ]
    concatenate_videos(parts, tmp_path / 'joined.mp4')
    joined_times, joined = decode(tmp_path / 'joined.mp4')
    np.testing.assert_array_equal(joined_times, whole_times)
    # Nothing was encoded again ..
    np.testing.assert_array_equal(joined, np.concatenate([decode(part)[1] for part in parts]))
    # .. and keyframes at other places change what the encoder lost, not what is shown.
    assert abs(joined.astype(int) - whole).mean() < 4
    capture = cv2.VideoCapture(str(tmp_path / 'joined.mp4'))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 60
    with av.open(str(tmp_path / 'joined.mp4')) as one, av.open(str(tmp_path / 'whole.mp4')) as other:
        assert one.streams.video[0].duration == other.streams.video[0].duration


def test_parts_that_do_not_fit(tmp_path):
    times = np.arange(40) / 25
    first = write(tmp_path / 'first.mp4', range(20), times)
    with pytest.raises(ValueError, match='takes one part or more'):
        concatenate_videos([], tmp_path / 'out.mp4')
    with pytest.raises(ValueError, match=r'late\.mp4: starts at 0\.4 s, within the part before it'):
        concatenate_videos([first, write(tmp_path / 'late.mp4', range(10, 30), times)], tmp_path / 'out.mp4')
    with VideoWriter(tmp_path / 'large.mp4', 2 * WIDTH, HEIGHT) as video:
        video.write(np.zeros((HEIGHT, 2 * WIDTH, 3), np.uint8), 1.0)
    with pytest.raises(ValueError, match=r'large\.mp4: takes a video with the size and settings of .*first\.mp4'):
        concatenate_videos([first, tmp_path / 'large.mp4'], tmp_path / 'out.mp4')
    (tmp_path / 'cut.mp4').write_bytes(first.read_bytes()[:500])
    with pytest.raises(ValueError, match=r'cut\.mp4: no readable part'):
        concatenate_videos([first, tmp_path / 'cut.mp4'], tmp_path / 'out.mp4')
    with pytest.raises(ValueError, match=r'none\.mp4: no readable part'):
        concatenate_videos([tmp_path / 'none.mp4'], tmp_path / 'out.mp4')
    with pytest.raises(OSError, match='cannot be written') as caught:
        concatenate_videos([first], tmp_path / 'none' / 'out.mp4')
    assert caught.value.filename == str(tmp_path / 'none' / 'out.mp4')
    assert not (tmp_path / 'out.mp4').exists()


@pytest.mark.parametrize(
    'image, time, message',
    [
        (np.zeros((HEIGHT, WIDTH + 2, 3), np.uint8), None, r'frame 1: takes \(64, 96, 3\) uint8, got \(64, 98, 3\)'),
        (np.zeros((HEIGHT, WIDTH, 3)), None, 'got .* float64'),
        (PATTERN, 0.0, 'frame 1: takes a time after 0 s, got 0 s'),
        (PATTERN, -1.0, 'frame 1: takes a time after 0 s, got -1 s'),
    ],
)
def test_wrong_frames(tmp_path, image, time, message):
    with pytest.raises(ValueError, match=message), VideoWriter(tmp_path / 'a.mp4', WIDTH, HEIGHT) as video:
        video.write(PATTERN)
        video.write(image, time)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('options', [dict(width=0), dict(height=-2), dict(frame_rate=-1), dict(crf=99)])
def test_wrong_arguments(tmp_path, options):
    with pytest.raises(ValueError, match='takes'):
        VideoWriter(**dict(path=tmp_path / 'a.mp4', width=8, height=8) | options)


def test_an_error_leaves_the_file_that_was_there(tmp_path):
    (tmp_path / 'a.mp4').write_text('before')
    with pytest.raises(ZeroDivisionError), VideoWriter(tmp_path / 'a.mp4', WIDTH, HEIGHT) as video:
        video.write(PATTERN)
        1 / 0  # noqa: B018
    assert (tmp_path / 'a.mp4').read_text() == 'before'


def test_a_video_without_frames(tmp_path):
    with pytest.raises(ValueError, match=r'a\.mp4: no frame was written'), VideoWriter(tmp_path / 'a.mp4', 64, 64):
        pass
    assert not list(tmp_path.iterdir())


def test_closing_twice_and_writing_afterwards(tmp_path):
    video = VideoWriter(tmp_path / 'a.mp4', WIDTH, HEIGHT)
    video.write(PATTERN)
    video.close()
    video.close()
    with pytest.raises(ValueError, match='is closed'):
        video.write(PATTERN)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    for folder in ('none', 'file'):
        with pytest.raises(OSError, match='cannot be written') as caught:
            VideoWriter(tmp_path / folder / 'a.mp4', WIDTH, HEIGHT)
        assert caught.value.filename == str(tmp_path / folder / 'a.mp4')


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match='cannot be written'):
        VideoWriter(tmp_path / 'a.mp4', WIDTH, HEIGHT)


@contextmanager
def largest_file(size):
    """No file may grow to more bytes: the system then refuses to write, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk(tmp_path):
    path = tmp_path / 'a.mp4'
    noise = np.random.default_rng(0).integers(0, 255, (40, HEIGHT, WIDTH, 3), np.uint8)

    def run():
        with VideoWriter(path, WIDTH, HEIGHT, threads=1) as video:
            for image in noise:
                video.write(image)

    run()
    size = path.stat().st_size
    path.unlink()
    # While frames come, while the encoder gives what it holds, and at the very last byte.
    for limit in (2000, size // 2, size - 1):
        with largest_file(limit), pytest.raises(OSError, match='cannot be written') as caught:
            run()
        assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
        assert not list(tmp_path.iterdir())
    with largest_file(size):
        run()
    assert len(decode(path)[0]) == 40


@pytest.mark.parametrize('preset', ['ultrafast', 'veryfast'])
def test_every_preset_is_kind_to_even_grounds(tmp_path, preset):
    # A slope of light on a wall: without care, the quickest preset breaks it into blocks.
    slope = np.add.outer(np.linspace(200, 215, HEIGHT), np.linspace(0, 9, WIDTH))[..., None]
    with VideoWriter(tmp_path / 'a.mp4', WIDTH, HEIGHT, crf=23, preset=preset) as video:
        for k in range(3):
            video.write(np.rint(slope + [0, 2, 4]).astype(np.uint8) + np.uint8(k))
    said = (tmp_path / 'a.mp4').read_bytes()  # libx264 leaves its settings there
    assert b'deblock=1:0:0' in said and b'aq=1:' in said
    assert abs(decode(tmp_path / 'a.mp4')[1][2] - (slope + [2, 4, 6])).mean() < 1.5
