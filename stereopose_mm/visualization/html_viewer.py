# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""A clip as one self-contained HTML page: the video beside a 3D scene to walk around in, without any network."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path

import numpy as np
import torch

from ..files import whole_file
from ..geometry import H36M_17, Camera
from ..geometry.pose_sequence import PoseSequence
from .build_viewer import VIEWER_ASSETS
from .lift_picture import LEFT, PEOPLE, RIGHT
from .viewer_media import ViewerMedia

# Joints are stored relative to the pelvis in steps of 0.1 mm, pixels in 1/8192 of the larger image side.
_JOINT_STEP = 1e-4
_PIXEL_STEP = 1 / 8192
_NO_PIXEL = -32768
# Detections scored below are not drawn: the lifter counts them as missing.
_SHOWN_SCORE = 0.1
# Points a side of the net on which a picture hangs in space; only lens distortion takes more than corners.
_NET = 17


def write_html(
    path: str | Path,
    sequence: PoseSequence,
    media: ViewerMedia | None = None,
    title: str = 'StereoPose-MM',
    max_frames: int = 3000,
) -> None:
    """Write a clip, or photographs, as a page that opens from disk in any current browser.

    Args:
        path: The HTML file.
        sequence: F frames with P poses, P may be 0.
        media: The pictures of these frames, in order; those after ``max_frames`` are not needed. None: drawn
            skeletons on a dark canvas stand in.
        title: Shown above and in the browser's tab.
        max_frames: Longer clips are cut to this many frames, and the page says so.

    Raises:
        ValueError: If the sequence has no frame, or the pictures are fewer than its frames.
    """
    if not sequence.num_frames:
        raise ValueError(f'{path}: the viewer takes a sequence of at least one frame, got none')
    count = min(sequence.num_frames, max_frames, media.max_frames if media else max_frames)
    if media and media.num_frames < count:
        raise ValueError(f'{path}: the viewer takes a picture for each of {count} frames, got {media.num_frames}')
    shown = sequence.select_frames(slice(0, count))
    data = {
        'title': title,
        'allFrames': sequence.num_frames,
        'photos': bool(media and media.kind == 'photos') or any(map(str, shown.frame_names)),
        'media': media.kind if media else None,
        'colours': {'left': _css(LEFT), 'right': _css(RIGHT), 'people': [_css(c) for c in PEOPLE]},
        'skeleton': {'bones': H36M_17.bones, 'left': H36M_17.left, 'right': H36M_17.right},
        **_pack_frames(shown),
        **_pack_poses(shown),
    }
    page = _fill_template(title, data, media.files() if media else [])
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding='utf-8')


def _fill_template(title: str, data: dict, files: list[bytes]) -> str:
    # `<` and its kin, escaped, cannot end the script element; U+2028 is escaped by ensure_ascii.
    packed = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(',', ':'))
    for sign in '<>&':
        packed = packed.replace(sign, f'\\u{ord(sign):04x}')
    parts = {
        'TITLE': html.escape(title),
        'STYLE': (VIEWER_ASSETS / 'style.css').read_text(encoding='utf-8'),
        'DATA': packed,
        'MEDIA': json.dumps([base64.b64encode(content).decode() for content in files]),
        'SCRIPT': (VIEWER_ASSETS / 'viewer.js').read_text(encoding='utf-8').replace('</script', '<\\/script'),
    }
    pieces = (VIEWER_ASSETS / 'template.html').read_text(encoding='utf-8').split('@@')
    return ''.join(parts[piece] if i % 2 else piece for i, piece in enumerate(pieces))


def _css(colour: tuple[int, int, int]) -> str:
    return '#{2:02x}{1:02x}{0:02x}'.format(*colour)


def _pack(values: np.ndarray, dtype: str) -> dict:
    """An array as little-endian base64."""
    values = np.ascontiguousarray(values, np.dtype(dtype).newbyteorder('<'))
    return {'type': dtype, 'data': base64.b64encode(values.tobytes()).decode()}


def _pack_frames(sequence: PoseSequence) -> dict:
    cameras = sequence.cameras
    columns = [getattr(cameras, name).double().numpy() for name in ('fx', 'fy', 'cx', 'cy', 'width', 'height')]
    if cameras.distortion is not None:
        columns += list(cameras.distortion.double().numpy().T)
    _, first, kind = np.unique(np.stack(columns, -1), axis=0, return_index=True, return_inverse=True)
    return {
        'numbers': _pack(sequence.frame_numbers, 'i4'),
        'times': _pack(sequence.frame_times - sequence.frame_times[0], 'f8'),
        'names': [str(name) for name in sequence.frame_names],
        'cameras': [_pack_camera(cameras[int(row)]) for row in first],
        'cameraOfFrame': _pack(kind.reshape(-1), 'i4'),
        'world': {
            'rotation': np.asarray(sequence.world_rotation, float).ravel().tolist(),
            'translation': np.asarray(sequence.world_translation, float).tolist(),
            'grounded': bool(sequence.grounded),
        },
        'floors': _pack(_floors(sequence), 'f4'),
    }


def _pack_camera(camera: Camera) -> dict:
    """Intrinsics, and the rays through a net of its pixels, row by row: a lens bends straight ones."""
    size = 2 if camera.distortion is None else _NET
    across, down = np.meshgrid(np.linspace(0, camera.width, size), np.linspace(0, camera.height, size))
    rays = camera.unproject(torch.from_numpy(np.stack([across, down], -1)).flatten(0, 1)).numpy()
    # Where no ray reaches a pixel, the ideal pinhole stands in.
    ideal = (np.stack([across, down], -1).reshape(-1, 2) - [camera.cx, camera.cy]) / [camera.fx, camera.fy]
    rays = np.where(np.isfinite(rays), rays, ideal)
    numbers = {name: float(getattr(camera, name)) for name in ('fx', 'fy', 'cx', 'cy', 'width', 'height')}
    return {**numbers, 'net': size, 'rays': _pack(rays, 'f4')}


def _lifted(sequence: PoseSequence) -> np.ndarray:
    """Which poses can be drawn in space."""
    joints = sequence.keypoints_cam
    return sequence.valid & np.isfinite(joints).all((1, 2)) & (joints[..., 2] > 0).all(1)


def _floors(sequence: PoseSequence) -> np.ndarray:
    """Height of the floor on each frame, ``(F,)``: the ground, or else where nearly all feet are above.

    Each photograph has its own floor, a clip has one.
    """
    if sequence.grounded:
        return np.zeros(sequence.num_frames)
    lifted = _lifted(sequence)
    lowest = sequence.keypoints_world[lifted][..., 2].min(1)
    overall = float(np.quantile(lowest, 0.05)) if len(lowest) else -1.5
    floors = np.full(sequence.num_frames, overall)
    if any(map(str, sequence.frame_names)) and len(lowest):
        rows = sequence.frame[lifted]
        floors[rows] = np.inf
        np.minimum.at(floors, rows, lowest)
    return floors


def _pack_poses(sequence: PoseSequence) -> dict:
    lifted = _lifted(sequence)
    tracks, track_rows = np.unique(sequence.track, return_inverse=True)
    joints = np.where(lifted[:, None, None], sequence.keypoints_world, 0)
    offsets = np.clip(np.rint((joints - joints[:, :1]) / _JOINT_STEP), -32767, 32767)
    sigma = np.nan_to_num(sequence.uncertainty / 1e-3)
    used = sequence.used & lifted[:, None]
    seen = (sequence.scores_2d >= _SHOWN_SCORE)[..., None]
    step = max(float(sequence.cameras.width.max()), float(sequence.cameras.height.max())) * _PIXEL_STEP
    return {
        'tracks': tracks.tolist(),
        'frameOfPose': _pack(sequence.frame, 'i4'),
        'trackOfPose': _pack(track_rows.reshape(-1), 'i4'),
        'lifted': _pack(lifted, 'u1'),
        'roots': _pack(joints[:, 0], 'f4'),
        'offsets': _pack(offsets, 'i2'),
        'jointStep': _JOINT_STEP,
        'sigma': _pack(np.clip(np.rint(sigma), 0, 65535), 'u2'),
        'error': _pack(np.where(lifted, np.nan_to_num(sequence.reprojection_error, nan=-1), -1), 'f4'),
        'pixelStep': step,
        'detections': _pack_pixels(np.where(seen, sequence.keypoints_2d, np.nan), step),
        'reprojected': _pack_pixels(_project(sequence, sequence.keypoints_cam, lifted[:, None]), step),
        'reprojectedInput': _pack_pixels(_project(sequence, sequence.input_keypoints_cam, used), step),
    }


def _project(sequence: PoseSequence, joints: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Pixels of joints ``(P, 17, 3)``, NaN where not ``which``."""
    joints = np.where(which[..., None], joints, np.nan).astype(np.float64)
    if not len(joints):
        return joints[..., :2]
    return sequence.cameras[sequence.frame].project(torch.from_numpy(joints)).numpy()


def _pack_pixels(pixels: np.ndarray, step: float) -> dict:
    finite = np.isfinite(pixels).all(-1, keepdims=True)
    # What lies far outside of the image cannot show.
    steps = np.clip(np.rint(np.where(finite, pixels, 0) / step), -32767, 32767)
    return _pack(np.where(finite, steps, _NO_PIXEL), 'i2')
