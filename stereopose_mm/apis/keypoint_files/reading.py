# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Any file of 2D keypoints: what it is, and its people."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ...geometry import get_skeleton
from ..detections import load_json, parse_detections, parse_json, read_detections
from .alphapose import is_alphapose, read_alphapose
from .coco import group_detections
from .keypoint_file import KeypointFile, frame_number
from .mmpose import is_mmpose, read_mmpose, read_mmpose_images
from .openpose import is_openpose, is_openpose_by_image, read_openpose
from .people_table import nobody
from .ultralytics import ImageSize, is_ultralytics_frame, read_ultralytics_json, read_ultralytics_labels

#: Kinds of file that :func:`read_keypoints` takes.
FORMATS = ('coco', 'npz', 'openpose', 'alphapose', 'mmpose', 'ultralytics')
_JSON = ('.json', '.jsonl', '.ndjson')
_ACCEPTED = (
    'takes COCO results or annotations, AlphaPose or MMPose predictions as JSON, OpenPose or Ultralytics JSON of a '
    'frame or a folder of them, a folder of Ultralytics labels, or NPZ'
)


@dataclass(frozen=True)
class _Options:
    format: str | None
    skeleton: str
    image_size: ImageSize | None
    first_frame: int | None


def read_keypoints(
    path: str | Path,
    skeleton: str = 'coco',
    format: str | None = None,
    *,
    image_size: ImageSize | None = None,
    first_frame: int | None = None,
) -> KeypointFile:
    """Read the 2D keypoints of people on a video or on images.

    - ``'coco'``: COCO results or annotations, JSON. ``image_id`` is a video's frame number, from 0.
    - ``'npz'``: arrays, see :func:`~stereopose_mm.apis.detections.read_detections`, with ``frame`` for a video. Without
      anything that tells the frame, row i is frame i.
    - ``'openpose'``: OpenPose's ``--write_json`` folder, or one of its files: BODY_25, COCO and MPI. (BODY_25B has as
      many keypoints as BODY_25 in another order, and cannot be told from it.)
    - ``'alphapose'``: AlphaPose's ``alphapose-results.json`` in any of its layouts: COCO-17, Halpe-26, Halpe-136.
    - ``'mmpose'``: predictions of MMPose's demos and inferencers: a video's or an image's file, or a folder of images'
      files. COCO-17, COCO-WholeBody, Halpe-26 and -136, H36M-17, MPI-INF-3DHP-17.
    - ``'ultralytics'``: ``Results.to_json()`` of each frame, as a JSON list of them, JSON Lines, or a folder of files;
      or a folder of labels, from ``save_txt=True``.

    Sets of keypoints that begin with COCO-17 are cut to it. A keypoint that the detector's set lacks scores 0.

    Args:
        path: The file or folder.
        skeleton: What the keypoints are where the file does not tell: ``'coco'``, ``'h36m'`` or ``'mpi_inf_3dhp'``.
        format: One of :data:`FORMATS`. Default: what the content looks like.
        image_size: Width and height in pixels, which results that are in parts of the image need; for images of several
            sizes a function that tells them by an image's number and its name, of which either may be None.
        first_frame: The number that the file gives a video's first frame. Default: 1 for MMPose's demos and
            Ultralytics' labels, otherwise 0.

    Raises:
        ValueError: For a file that cannot be read or is of no such kind, a wrong number of keypoints, and values that
            are no finite numbers; names the file and the record or frame.
    """
    path = Path(path)
    get_skeleton(skeleton)
    if format is not None and format not in FORMATS:
        raise ValueError(f'format: takes one of {", ".join(FORMATS)}, got {format!r}')
    is_size = image_size is None or callable(image_size)
    if not is_size and not (len(image_size) == 2 and all(side > 0 for side in image_size)):
        raise ValueError(f'image_size: takes a width and a height in pixels, got {image_size}')
    options = _Options(format, skeleton, image_size, first_frame)
    try:
        with _no_collection():
            file = _read_folder(path, options) if path.is_dir() else _read_file(path, options)
    except OSError as error:
        raise ValueError(f'{path}: cannot be read: {error.strerror or error}') from error
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f'{path}: {error}') from error
    if skeleton not in ('coco', file.skeleton):
        raise ValueError(f'{path}: holds keypoints of {file.skeleton}, not of {skeleton}')
    return file


@contextmanager
def _no_collection() -> Iterator[None]:
    """Millions of lists, none of them garbage: going through them again and again takes as long as parsing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _read_file(path: Path, options: _Options) -> KeypointFile:
    suffix = path.suffix.lower()
    if suffix == '.npz' or options.format == 'npz':
        found = read_detections(path, options.skeleton)
        return KeypointFile(path, 'npz', options.skeleton, *group_detections(found, options.first_frame or 0))
    if suffix not in _JSON:
        path.stat()  # a file that is not there is told as such
        raise ValueError(_ACCEPTED)
    return _from_content(path, _load(path), options)


def _from_content(path: Path, data: Any, options: _Options) -> KeypointFile:
    """Of a file that is not one of many of a folder."""
    first, format = options.first_frame or 0, options.format or _format_of(data)
    if format == 'coco':
        if data == []:  # a detector that found no one
            return KeypointFile(path, format, options.skeleton, nobody())
        found = parse_detections(data, options.skeleton)
        return KeypointFile(path, format, options.skeleton, *group_detections(found, first))
    if format == 'alphapose':
        if is_openpose_by_image(data):
            frames = ((f'image {name}', name, frame) for name, frame in data.items())
            return KeypointFile(path, format, 'coco', read_openpose(frames, first))
        return KeypointFile(path, format, 'coco', read_alphapose(data, first))
    if format == 'openpose':
        return KeypointFile(path, format, 'coco', read_openpose([('image', None, data)]), is_one_image=True)
    if format == 'mmpose':
        table, skeleton, is_one_image = read_mmpose(data, options.skeleton, options.first_frame)
        return KeypointFile(path, format, skeleton, table, is_one_image=is_one_image)
    if not isinstance(data, list):
        raise ValueError("takes a list of Ultralytics' results, one for each frame")
    is_one_image = is_ultralytics_frame(data)
    frames = [data] if is_one_image else [parse_json(frame) if isinstance(frame, str) else frame for frame in data]
    numbered = ((f'frame {number}', number, None, frame) for number, frame in enumerate(frames))
    table = read_ultralytics_json(numbered, options.image_size)
    return KeypointFile(path, format, 'coco', table, is_one_image=is_one_image)


def _read_folder(path: Path, options: _Options) -> KeypointFile:
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in (*_JSON, '.txt') and file.is_file())
    if not files:
        raise ValueError('no .json or .txt file in this folder')
    jsons = [file for file in files if file.suffix.lower() in _JSON]
    if not jsons:
        if options.format not in (None, 'ultralytics'):
            raise ValueError(f'takes JSON files of {options.format}, has .txt files only')
        first = 1 if options.first_frame is None else options.first_frame
        labels = ((f.name, f.stem, f.read_text(encoding='utf-8-sig')) for f in files if f.name != 'classes.txt')
        return KeypointFile(path, 'ultralytics', 'coco', read_ultralytics_labels(labels, options.image_size, first))
    contents = ((file, _load_named(file)) for file in jsons)  # one after the other: hands and faces need much memory
    begun = []
    for file, data in contents:
        begun.append((file, data))
        if data:
            break
    if len(jsons) == 1 and data and not _is_frame(data):
        return _from_content(file, data, options)
    # No one on any image: an inferencer of MMPose's writes empty lists then.
    format = options.format or (_format_of(data, f'{file}: ') if data else 'mmpose')
    return _read_frames(path, chain(begun, contents), format, options)


def _read_frames(path: Path, contents: Iterable[tuple[Path, Any]], format: str, options: _Options) -> KeypointFile:
    """A folder of JSON files, one of each frame."""
    first = options.first_frame or 0
    if format == 'openpose':
        frames = ((p.name, p.stem.removesuffix('_keypoints'), data) for p, data in contents)
        return KeypointFile(path, format, 'coco', read_openpose(frames, first))
    if format == 'mmpose':
        frames = ((p.name, p.stem, data) for p, data in contents)
        table, skeleton = read_mmpose_images(frames, options.skeleton)
        return KeypointFile(path, format, skeleton, table)
    if format == 'ultralytics':
        frames = ((p.name, frame_number(p.stem, first), p.stem, data) for p, data in contents)
        return KeypointFile(path, format, 'coco', read_ultralytics_json(frames, options.image_size))
    raise ValueError(f'{next(iter(contents))[0].name}: {format} comes in one file, this is a folder of several')


def _is_frame(data: Any) -> bool:
    """Whether it is the content of one of many files, each of a frame."""
    if is_mmpose(data):
        items = data.get('instance_info') if isinstance(data, dict) else data
        return isinstance(items, list) and not any(isinstance(i, dict) and 'instances' in i for i in items)
    return is_openpose(data) or is_ultralytics_frame(data)


def _format_of(data: Any, where: str = '') -> str:
    if isinstance(data, dict) and 'annotations' in data:
        return 'coco'
    if is_openpose(data):
        return 'openpose'
    if is_openpose_by_image(data) or is_alphapose(data):
        return 'alphapose'
    if is_mmpose(data):
        return 'mmpose'
    if is_ultralytics_frame(data):
        return 'ultralytics'
    if isinstance(data, list) and data and all(isinstance(frame, (list, str)) for frame in data):
        return 'ultralytics'
    if isinstance(data, list) and (not data or isinstance(data[0], dict) and 'keypoints' in data[0]):
        return 'coco'
    raise ValueError(where + _ACCEPTED)


def _load(path: Path) -> Any:
    """A JSON file, or the lines of a JSON Lines file as a list."""
    if path.suffix.lower() not in ('.jsonl', '.ndjson'):
        return load_json(path)
    data = []
    for number, line in enumerate(path.read_text(encoding='utf-8-sig').splitlines()):
        try:
            data += [parse_json(line)] if line.strip() else []
        except ValueError as error:
            raise ValueError(f'line {number + 1}: {error}') from error
    return data


def _load_named(path: Path) -> Any:
    try:
        return _load(path)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error
