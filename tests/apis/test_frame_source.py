# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import functools
import http.server
import os
import signal
import threading
import time
import wave
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from stereopose_mm.apis.frame_source import FrameSource, _ReadAhead, open_frames
from stereopose_mm.apis.video_frames import _find_keyframe
from stereopose_mm.visualization import VideoWriter

WIDTH, HEIGHT = 96, 64
RATE = 25


def picture(number, width=WIDTH, height=HEIGHT):
    """A picture that shows its number as eight bits, black or white, on grey that drifts."""
    image = np.full((height, width, 3), (90 + number % 40, 120, 150), np.uint8)
    for bit in range(8):
        image[8:24, 8 * bit + 8 : 8 * bit + 16] = 255 if number >> bit & 1 else 0
    return image


def number_in(image):
    """The number that a picture shows."""
    return sum(1 << bit for bit in range(8) if image[16, 8 * bit + 12].mean() > 128)


def write_video(
    path, count=40, codec='libx264', pix_fmt='yuv420p', size=(WIDTH, HEIGHT), times=None, rotation=None,
    options=None, format=None, gop=10, images=None,
):  # fmt: skip
    """Pictures 0, 1, .. as a video; ``times`` in milliseconds make it one of variable frame rate."""
    with av.open(str(path), 'w', format=format) as container:
        stream = container.add_stream(codec, rate=RATE, options={'threads': '1'} | (options or {}))
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.gop_size = gop
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(count):
            image = picture(number, *size) if images is None else images[number]
            frame = av.VideoFrame.from_ndarray(image, format='bgr24')
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read(path, **options):
    """All frames and the source, which is closed."""
    with open_frames(path, **options) as source:
        return list(source), source


def numbers(frames):
    return [frame.number for frame in frames]


def reading_threads():
    return [thread for thread in threading.enumerate() if thread.name == 'frames']


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    deadline = time.monotonic() + 5
    while reading_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not reading_threads()


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    """40 frames of H.264 with B-frames and a keyframe every 10."""
    return write_video(tmp_path_factory.mktemp('clip') / 'clip.mp4')


# Photographs ----------------------------------------------------------------------------------------------------------


def test_image(tmp_path):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), picture(5))
    frames, source = read(path)
    assert (source.kind, source.name, source.path) == ('image', 'a', path)
    assert (source.width, source.height, source.num_frames, source.exact_count) == (WIDTH, HEIGHT, 1, True)
    (frame,) = frames
    assert (frame.number, frame.time, frame.name, frame.path) == (0, 0.0, 'a.png', path)
    np.testing.assert_array_equal(frame.image, picture(5))


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_photographs_are_turned_as_exif_says(tmp_path, suffix, orientation):
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    upright = np.zeros((40, 64, 3), np.uint8)
    upright[:10, :16] = (0, 0, 255)
    upright[30:, :16] = (0, 255, 0)
    pil = Image.fromarray(upright[..., ::-1])
    if orientation in turns:
        # What the camera stored: the inverse of the turn that EXIF asks for.
        inverse = {2: 4, 4: 2}.get(turns[orientation], turns[orientation])
        pil = pil.transpose(Image.Transpose(inverse))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f'a.{suffix}'
    pil.save(path, exif=exif, **({'quality': 95, 'subsampling': 0} if suffix == 'jpg' else {}))
    (frame,), source = read(path)
    assert (source.width, source.height) == (64, 40)
    assert frame.image.shape == (40, 64, 3)
    assert frame.image.flags['C_CONTIGUOUS']
    np.testing.assert_allclose(frame.image[[5, 35, 20], [8, 8, 40]], [[0, 0, 255], [0, 255, 0], [0, 0, 0]], atol=30)


@pytest.mark.parametrize('kind', ['grey', 'alpha', '16 bit', '16 bit grey', 'palette'])
def test_images_of_every_kind_become_bgr(tmp_path, kind):
    image, path = picture(3), tmp_path / 'a.png'
    grey = image[..., 1]
    stored = {
        'grey': grey,
        'alpha': np.dstack([image, np.full((HEIGHT, WIDTH), 7, np.uint8)]),
        '16 bit': image.astype(np.uint16) * 257,
        '16 bit grey': grey.astype(np.uint16) * 257,
    }
    if kind == 'palette':
        Image.fromarray(image[..., ::-1]).quantize(16).save(path)
    else:
        cv2.imwrite(str(path), stored[kind])
    (frame,), _ = read(path)
    assert (frame.image.shape, frame.image.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    expected = np.repeat(grey[..., None], 3, -1) if 'grey' in kind else image
    np.testing.assert_allclose(frame.image, expected, atol=1)


def test_folder_in_natural_order_without_other_files(tmp_path):
    for number in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f'{number}.jpg'), picture(number))
    (tmp_path / 'notes.txt').write_text('no image')
    (tmp_path / 'more.jpg').mkdir()
    frames, source = read(tmp_path)
    assert (source.kind, source.name, source.path, source.num_frames) == ('folder', tmp_path.name, tmp_path, 3)
    assert [frame.name for frame in frames] == ['1.jpg', '2.jpg', '10.jpg']
    assert [number_in(frame.image) for frame in frames] == [1, 2, 10]
    assert [(frame.number, frame.time) for frame in frames] == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert frames[1].path == tmp_path / '2.jpg'


def test_an_unreadable_image_of_a_folder_is_left_out(tmp_path):
    for number in (1, 3, 4):
        cv2.imwrite(str(tmp_path / f'{number}.png'), picture(number))
    (tmp_path / '0.png').write_bytes(b'')
    (tmp_path / '2.png').write_text('no image')
    frames, source = read(tmp_path)
    assert numbers(frames) == [1, 3, 4]
    assert [number_in(frame.image) for frame in frames] == [1, 3, 4]
    assert len(source.warnings) == 2
    assert all(f'{n}.png' in line for n, line in zip((0, 2), source.warnings, strict=True))
    assert (source.width, source.height) == (WIDTH, HEIGHT)


def test_an_unreadable_image_alone_is_an_error(tmp_path):
    path = tmp_path / 'a.jpg'
    path.write_text('no image')
    with pytest.raises(ValueError, match=r'a\.jpg: no readable image'):
        open_frames(path)
    # The header can be read, the pixels cannot.
    cv2.imwrite(str(tmp_path / 'b.png'), np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    whole = (tmp_path / 'b.png').read_bytes()
    (tmp_path / 'b.png').write_bytes(whole[:60])
    with pytest.raises(ValueError, match=r'b\.png: no readable image'):
        read(tmp_path / 'b.png')


def test_a_folder_without_images(tmp_path):
    with pytest.raises(ValueError, match=f'{tmp_path.name}: has no images; takes .jpg'):
        open_frames(tmp_path)
    (tmp_path / 'a.jpg').write_bytes(b'')
    with pytest.raises(ValueError, match='none of its 1 images can be read'):
        open_frames(tmp_path)


def test_every_start_and_max_frames_of_a_folder(tmp_path):
    for number in range(8):
        cv2.imwrite(str(tmp_path / f'{number}.png'), picture(number))
    frames, source = read(tmp_path, every=3, start=1)
    assert numbers(frames) == [3, 6]
    assert [number_in(frame.image) for frame in frames] == [3, 6]
    assert source.num_selected == 2
    frames, source = read(str(tmp_path), every=2, max_frames=3)
    assert numbers(frames) == [0, 2, 4]
    assert source.num_selected == 3


# Videos ---------------------------------------------------------------------------------------------------------------


def test_video(clip):
    frames, source = read(clip)
    assert (source.kind, source.name, source.path) == ('video', 'clip', clip)
    assert (source.width, source.height, source.frame_rate) == (WIDTH, HEIGHT, RATE)
    assert (source.num_frames, source.exact_count, source.warnings) == (40, True, [])
    assert numbers(frames) == [number_in(frame.image) for frame in frames] == list(range(40))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(40) / RATE, atol=1e-9)
    assert (frames[7].name, frames[7].path) == ('clip_000007', clip)
    np.testing.assert_allclose(frames[3].image[40:].mean((0, 1)), picture(3)[40:].mean((0, 1)), atol=4)


def test_frames_are_those_of_opencv(clip):
    capture = cv2.VideoCapture(str(clip))
    for frame in read(clip)[0]:
        image = capture.read()[1]
        assert abs(frame.image.astype(int) - image).mean() < 1
    assert not capture.read()[0]


VIDEOS = {
    'B-frames': dict(options={'bf': '3', 'b-pyramid': 'normal'}),
    'open GOP': dict(options={'bf': '3', 'x264-params': 'open-gop=1:scenecut=0'}),
    'intra refresh': dict(options={'bf': '0', 'x264-params': 'intra-refresh=1'}),
    'variable rate': dict(times=[0, 13, 80, 81, 200, 1200, *range(1233, 1233 + 34 * 40, 40)]),
    'Matroska': dict(suffix='mkv', options={'bf': '2'}),
    'transport stream': dict(suffix='ts', options={'bf': '2'}),
    'MPEG-2': dict(suffix='mpg', codec='mpeg2video', options={'bf': '2'}),
    'AVI': dict(suffix='avi', codec='mpeg4', options={'bf': '2'}),
    'bare H.264': dict(suffix='h264', options={'bf': '2'}),
    'motion JPEG': dict(suffix='avi', codec='mjpeg', pix_fmt='yuvj420p'),
    'VP9': dict(suffix='webm', codec='libvpx-vp9', options={'deadline': 'realtime', 'cpu-used': '8'}),
    'H.265': dict(codec='libx265', options={'preset': 'ultrafast', 'x265-params': 'log-level=none:bframes=3'}),
}  # fmt: skip


@pytest.mark.parametrize('name', VIDEOS)
def test_a_resumed_reading_goes_on_exactly(tmp_path, name):
    settings = dict(VIDEOS[name])
    path = write_video(tmp_path / f'a.{settings.pop("suffix", "mp4")}', **settings)
    whole, _ = read(path)
    assert numbers(whole) == list(range(40))
    assert [number_in(frame.image) for frame in whole] == list(range(40))
    assert all(np.diff([frame.time for frame in whole]) > 0)
    for start in (1, 9, 10, 11, 19, 20, 27, 31, 39):
        for every in (1, 4):
            frames, _ = read(path, start=start, every=every)
            expected = [frame for frame in whole[start:] if frame.number % every == 0]
            assert numbers(frames) == numbers(expected)
            assert [frame.time for frame in frames] == [frame.time for frame in expected]
            for frame, same in zip(frames, expected, strict=True):
                np.testing.assert_array_equal(frame.image, same.image)
    assert read(path, start=40)[0] == []


def test_a_resumed_reading_starts_at_the_keyframe(clip):
    with av.open(str(clip)) as container:
        assert _find_keyframe(container.demux(video=0), 27, 0).number == 20
    # Even where what comes before is gone.
    damaged = clip.with_name('damaged.mp4')
    _zero_packets(clip, damaged, range(3, 9))
    frames, source = read(damaged, start=27)
    assert [number_in(frame.image) for frame in frames] == numbers(frames) == list(range(27, 40))
    assert not source.warnings


def test_every_and_max_frames(clip):
    frames, source = read(clip, every=7, max_frames=4)
    assert numbers(frames) == [number_in(frame.image) for frame in frames] == [0, 7, 14, 21]
    assert source.num_selected == 4
    frames, source = read(clip, every=7, start=15)
    assert numbers(frames) == [21, 28, 35]
    assert source.num_selected == 3


def test_times_of_variable_frame_rate(tmp_path):
    times = VIDEOS['variable rate']['times']
    frames, _ = read(write_video(tmp_path / 'a.mp4', times=times))
    np.testing.assert_allclose([frame.time for frame in frames], np.array(times) / 1000, atol=1e-9)


def test_times_count_from_the_first_frame(tmp_path):
    frames, _ = read(write_video(tmp_path / 'a.ts', count=5, times=[5000, 5040, 5090, 5120, 5160]))
    np.testing.assert_allclose([frame.time for frame in frames], [0, 0.04, 0.09, 0.12, 0.16], atol=1e-4)


@pytest.mark.parametrize('rotation', [0, 90, -90, 180])
def test_videos_are_turned_as_their_metadata_say(tmp_path, rotation):
    upright = np.full((64, 96, 3), 128, np.uint8)
    upright[:20, :20] = (0, 0, 255)
    # The rotation is counter-clockwise.
    stored = np.ascontiguousarray(np.rot90(upright, -rotation // 90))
    size = stored.shape[1::-1]
    path = write_video(tmp_path / 'a.mp4', 3, size=size, rotation=rotation, images=[stored] * 3)
    frames, source = read(path)
    assert (source.width, source.height) == (96, 64)
    for frame in frames:
        assert frame.image.shape == (64, 96, 3)
        assert abs(frame.image.astype(int) - upright).mean() < 4
    assert not source.size_changes


@pytest.mark.parametrize(
    'pix_fmt, codec, tolerance',
    [
        ('gray', 'ffv1', 1), ('gray16le', 'ffv1', 2), ('bgra', 'ffv1', 1), ('rgb48le', 'ffv1', 1),
        ('yuv420p10le', 'ffv1', 5), ('yuva420p', 'ffv1', 5), ('yuv444p', 'libx264', 6), ('yuvj420p', 'mjpeg', 6),
        ('yuv410p', 'ffv1', 6),
    ],
)  # fmt: skip
def test_pixel_formats(tmp_path, pix_fmt, codec, tolerance):
    size = (WIDTH + 2, HEIGHT + 2)
    frames, _ = read(write_video(tmp_path / 'a.mkv', 3, codec, pix_fmt, size))
    expected = picture(2, *size)
    if pix_fmt.startswith('gray'):
        expected = np.repeat(cv2.cvtColor(expected, cv2.COLOR_BGR2GRAY)[..., None], 3, -1)
    assert (frames[2].image.shape, frames[2].image.dtype) == (expected.shape, np.uint8)
    assert number_in(frames[2].image) == 2
    np.testing.assert_allclose(frames[2].image[40:], expected[40:], atol=tolerance)


def test_odd_size(tmp_path):
    frames, source = read(write_video(tmp_path / 'a.mkv', 3, 'ffv1', size=(97, 65)))
    assert (source.width, source.height) == (97, 65)
    assert frames[1].image.shape == (65, 97, 3)


def test_street(shared_data):
    frames, source = read(shared_data / 'real' / 'street.mp4')
    assert (len(frames), source.num_frames, source.frame_rate) == (5, 5, 5)
    assert (source.width, source.height, source.warnings) == (960, 540, [])
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(5) / 5)


# Faults ---------------------------------------------------------------------------------------------------------------


def _packets(path):
    """Place and size of each packet in the order of the file."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def _zero_packets(path, out, which):
    data = bytearray(path.read_bytes())
    packets = _packets(path)
    for index in which:
        place, size = packets[index]
        data[place : place + size] = bytes(size)
    out.write_bytes(data)


def test_no_such_source(tmp_path):
    with pytest.raises(ValueError, match=r'none\.mp4: no such file or folder; takes an image'):
        open_frames(tmp_path / 'none.mp4')


def test_zero_bytes(tmp_path):
    (tmp_path / 'a.mp4').write_bytes(b'')
    with pytest.raises(ValueError, match=r'a\.mp4: no readable video: the file is empty'):
        open_frames(tmp_path / 'a.mp4')


@pytest.mark.parametrize('name', ['a.mp4', 'a.txt', 'a'])
def test_a_text_is_no_video(tmp_path, name):
    (tmp_path / name).write_text('Not a video at all.\n' * 400)
    with pytest.raises(ValueError, match=rf'{name}: no readable video'):
        open_frames(tmp_path / name)


def test_a_playlist_opens_no_other_file(tmp_path, clip):
    (tmp_path / 'list.m3u8').write_text(f'#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1/{clip.name}\n')
    with pytest.raises(ValueError, match=r'list\.m3u8'):
        open_frames(tmp_path / 'list.m3u8')


def test_no_video_track(tmp_path):
    with wave.open(str(tmp_path / 'a.wav'), 'wb') as sound:
        sound.setparams((1, 2, 8000, 0, 'NONE', ''))
        sound.writeframes(bytes(8000))
    with pytest.raises(ValueError, match=r'a\.wav: has no video track'):
        open_frames(tmp_path / 'a.wav')


def test_truncated_before_the_index(clip, tmp_path):
    data = clip.read_bytes()
    (tmp_path / 'a.mp4').write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r'a\.mp4: no readable video: .*\(moov\) .* cut off'):
        open_frames(tmp_path / 'a.mp4')


@pytest.mark.parametrize('start', [0, 13])
def test_truncated_in_the_middle(tmp_path, start):
    path = write_video(tmp_path / 'a.mp4', options={'bf': '2', 'movflags': '+faststart'})
    with av.open(str(path)) as source, av.open(str(tmp_path / 'b.mp4'), 'w', options={'movflags': '+faststart'}) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            packet.stream = stream
            if packet.size:
                out.mux(packet)
    path = tmp_path / 'b.mp4'
    place = _packets(path)[20][0]
    path.write_bytes(path.read_bytes()[:place])
    frames, source = read(path, start=start)
    assert numbers(frames) == list(range(start, 20))
    assert [number_in(frame.image) for frame in frames] == numbers(frames)
    assert source.num_frames == 40
    assert any('promises 40 frames, 20 were read' in line for line in source.warnings)


def test_truncated_matroska(tmp_path):
    path = write_video(tmp_path / 'a.mkv', 150, options={'bf': '0'})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames, source = read(path)
    assert 20 < len(frames) < 120
    assert any(f'promises about 150 frames, {len(frames)} were read' in line for line in source.warnings)
    assert (source.num_frames, source.exact_count) == (150, False)


def test_a_corrupt_frame_moves_no_other(tmp_path):
    path = write_video(tmp_path / 'a.mov', codec='mjpeg', pix_fmt='yuvj420p')
    _zero_packets(path, tmp_path / 'b.mov', [12, 13])
    frames, source = read(tmp_path / 'b.mov')
    expected = [number for number in range(40) if number not in (12, 13)]
    assert numbers(frames) == [number_in(frame.image) for frame in frames] == expected
    assert source.warnings == [f'{tmp_path / "b.mov"}: 2 frames could not be decoded']
    assert numbers(read(tmp_path / 'b.mov', start=15)[0]) == list(range(15, 40))


def test_a_corrupt_keyframe_moves_no_other(clip, tmp_path):
    _zero_packets(clip, tmp_path / 'b.mp4', [10, 11])
    whole, source = read(tmp_path / 'b.mp4')
    shown = [frame for frame in whole if frame.number < 10 or frame.number >= 20]
    assert len(shown) >= 25
    assert [number_in(frame.image) for frame in shown] == numbers(shown)
    for start in (15, 25):
        frames, _ = read(tmp_path / 'b.mp4', start=start)
        assert numbers(frames) == [frame.number for frame in whole if frame.number >= start]


@pytest.mark.parametrize('codec', ['libx264'])
def test_frame_size_changing_midway(tmp_path, codec):
    sizes = [(96, 64), (128, 80)]
    parts = [write_video(tmp_path / f'{size[0]}.ts', 12, codec, size=size) for size in sizes]
    path = tmp_path / 'a.ts'
    path.write_bytes(b''.join(part.read_bytes() for part in parts))
    frames, source = read(path)
    assert (source.width, source.height) == (96, 64)
    assert [frame.image.shape for frame in frames] == [(64, 96, 3)] * 12 + [(80, 128, 3)] * 12
    assert [number_in(frame.image) for frame in frames] == [*range(12), *range(12)]
    assert source.size_changes == [(12, 128, 80)]
    assert any('from frame 12 on, frames are 128 x 80 pixels' in line for line in source.warnings)
    assert all(np.diff([frame.time for frame in frames]) > 0)
    again, source = read(path, start=18)
    assert numbers(again) == list(range(18, 24))
    assert [frame.time for frame in again] == [frame.time for frame in frames[18:]]


def test_no_such_webcam():
    with pytest.raises(ValueError, match='webcam:97: no such webcam'):
        open_frames('webcam:97')


@pytest.mark.parametrize('options', [{'every': 0}, {'start': -1}, {'max_frames': 0}, {'prefetch': 0}])
def test_wrong_arguments(clip, options):
    with pytest.raises(ValueError, match=f'{next(iter(options))}: takes'):
        open_frames(clip, **options)


# Streams and the thread -----------------------------------------------------------------------------------------------


@pytest.fixture
def web_server(clip):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(clip.parent))
    handler.log_message = lambda *args: None
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()
        thread.join()


def test_stream(web_server):
    with open_frames(f'{web_server}/clip.mp4?quality=high', every=2, start=9) as source:
        frames = list(source)
    assert (source.kind, source.name, source.path) == ('stream', 'clip', None)
    assert (source.width, source.height) == (WIDTH, HEIGHT)
    assert numbers(frames) == [number_in(frame.image) for frame in frames] == list(range(10, 40, 2))
    assert frames[0].path is None


def test_no_such_stream(web_server):
    with pytest.raises(ValueError, match=r'none\.mp4: no readable video'):
        open_frames(f'{web_server}/none.mp4')
    with pytest.raises(ValueError, match='rtsp://127.0.0.1:9/x: no readable video'):
        open_frames('rtsp://127.0.0.1:9/x')


def test_leaving_early_ends_the_thread(clip):
    with open_frames(clip, prefetch=1) as source:
        assert next(source).number == 0
        assert reading_threads()
    assert not reading_threads()
    assert list(source) == []
    with pytest.raises(ZeroDivisionError), open_frames(clip) as source:
        for frame in source:
            1 / frame.number
    assert not reading_threads()


def test_a_dropped_source_ends_its_thread(clip):
    source = open_frames(clip, prefetch=1)
    next(source)
    del source
    assert not reading_threads()


def test_a_source_that_is_never_read_closes(clip):
    before = set(os.listdir('/proc/self/fd'))
    with open_frames(clip):
        pass
    assert set(os.listdir('/proc/self/fd')) == before


def test_no_more_is_read_ahead_than_said():
    class Reader:
        closed = False

        def close(self):
            self.closed = True

    read_so_far, reader = [], Reader()

    def frames():
        for number in range(100):
            read_so_far.append(number)
            yield number

    ahead = _ReadAhead(reader, frames(), 4)
    assert ahead.get() == 0
    deadline = time.monotonic() + 5
    # One waits to be put into the queue.
    while len(read_so_far) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert read_so_far == list(range(6))
    ahead.stop(None)
    assert reader.closed
    assert len(read_so_far) < 9


def test_errors_of_the_thread_are_raised_where_frames_are_asked_for(tmp_path):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), picture(0))
    with open_frames(path) as source:
        path.unlink()
        with pytest.raises(ValueError, match=r'a\.png: no readable image'):
            list(source)
        assert list(source) == []


def test_control_c_ends_at_once(clip):
    # A shell's background job is started with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt), open_frames(clip, prefetch=2) as source:
        next(source)
        timer.start()
        time.sleep(20)
    signal.signal(signal.SIGINT, before)
    timer.join()
    assert not reading_threads()


def test_the_source_is_an_iterator(clip):
    with open_frames(clip) as source:
        assert isinstance(source, FrameSource)
        assert iter(source) is source
        assert next(source).number == 0
        assert next(source).number == 1


def test_a_turned_tiff_has_the_size_that_is_shown(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new('RGB', (40, 20)).save(tmp_path / 'turned.tif', exif=exif)
    with open_frames(tmp_path / 'turned.tif') as frames:
        frame = next(frames)
    assert (frames.width, frames.height) == frame.image.shape[1::-1] == (20, 40)


@pytest.mark.parametrize(('every', 'start'), [(1, 0), (3, 0), (2, 7)])
def test_without_pixels_numbers_and_times_are_the_same(every, start, tmp_path):
    path = tmp_path / 'walk.mp4'
    times = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.1, 30))
    with VideoWriter(path, 64, 48) as video:
        for time_ in times:
            video.write(np.zeros((48, 64, 3), np.uint8), time_)
    with open_frames(path, every, start) as frames:
        decoded = list(frames)
    with open_frames(path, every, start, pixels=False) as frames:
        told = list(frames)
    assert [(f.number, f.time, f.name, f.size) for f in told] == [(f.number, f.time, f.name, f.size) for f in decoded]
    assert all(frame.image is None for frame in told)


def test_without_pixels_a_stream_without_index_is_decoded(tmp_path):
    path = tmp_path / 'walk.ts'
    with av.open(str(path), 'w', format='mpegts') as container:
        stream = container.add_stream('libx264', rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format='bgr24')
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with open_frames(path, pixels=False) as frames:
        assert [frame.image is not None for frame in frames] == [True] * 5


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    def refuses(folder):
        raise PermissionError(13, 'Permission denied', str(folder))

    monkeypatch.setattr('pathlib.Path.iterdir', refuses)
    with pytest.raises(ValueError, match=f'{tmp_path}: cannot be read: Permission denied'):
        open_frames(tmp_path)


@pytest.mark.skipif(os.name != 'posix', reason='names of files are Unicode there')
def test_names_that_are_no_unicode(tmp_path, clip):
    """Results are UTF-8: a name has to be one that can be written."""
    name = os.fsdecode(b'caf\xe9')
    cv2.imwrite(str(tmp_path / 'a.png'), picture(5))
    os.rename(tmp_path / 'a.png', tmp_path / f'{name}.png')
    frames, source = read(tmp_path)
    assert source.names == [frames[0].name] == ['caf\ufffd.png']
    assert frames[0].path.read_bytes()
    os.link(clip, tmp_path / f'{name}.mp4')
    frames, source = read(tmp_path / f'{name}.mp4', max_frames=1)
    assert source.name == 'caf\ufffd' and frames[0].name == 'caf\ufffd_000000'
