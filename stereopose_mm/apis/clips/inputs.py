# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The files that a job on a clip is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from ..frame_source import FrameSource
from ..image_files import image_stem, read_image_size
from ..keypoint_files import KeypointFile, read_keypoints


def read_frame_keypoints(frames: FrameSource, path: str | Path, skeleton: str, format: str | None) -> KeypointFile:
    """The 2D keypoints of the people on a source's frames.

    Args:
        frames: The source.
        path: See :func:`~stereopose_mm.apis.read_keypoints`; so are the others.
        skeleton: What the keypoints are, where the file does not tell.
        format: Of the file; None to tell it from the content.

    Raises:
        ValueError: For a file that cannot be used, or is of other frames; names it.
    """
    size = _photograph_sizes(frames) if frames.kind == 'folder' else (frames.width, frames.height)
    file = read_keypoints(path, skeleton, format, image_size=size)
    if frames.names is not None:
        file.check_frames(names=frames.names)
    elif frames.exact_count:
        file.check_frames(frames.num_frames)
    return file


def _photograph_sizes(frames: FrameSource) -> Callable[[int | None, str | None], tuple[int, int]]:
    """Tells width and height of a folder's images, which may differ."""
    by_stem = {image_stem(name): name for name in frames.names}

    def size(number: int | None, name: str | None) -> tuple[int, int]:
        try:
            stem = None if name is None else image_stem(PurePosixPath(name.replace('\\', '/')).name)
            return read_image_size(frames.path / (frames.names[number] if stem is None else by_stem[stem]))
        except (LookupError, ValueError):  # refused when the file is checked, or left out
            return frames.width, frames.height

    return size


def version_of(path: Path) -> list[str | int]:
    """What changes with a file, or with one of the files of a folder."""
    files = [file.stat() for file in path.iterdir() if file.is_file()] if path.is_dir() else [path.stat()]
    newest = max((about.st_mtime_ns for about in files), default=0)
    return [str(path.resolve()), len(files), sum(about.st_size for about in files), newest]
