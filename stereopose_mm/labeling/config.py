# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What decides about labels: one file of settings, and its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..apis.lifting import shipped_lifter
from ..geometry import DEFAULT_FOV_DEG, Camera
from .calibration import MODEL_FILE
from .checksums import file_checksum
from .quality import NUM_PASSES, GateThresholds, is_number

KEYPOINT_SETS = ('coco', 'h36m')
#: What becomes of people on photographs whose EXIF data are damaged.
BROKEN_EXIF = ('reject', 'prior')


@dataclass(frozen=True)
class CameraPrior:
    """Where cameras come from that no file tells.

    Attributes:
        fov_deg: Horizontal field of view of photographs that tell no focal length.
        exif: Take focal lengths from the photographs' EXIF data.
        broken_exif: People on photographs whose EXIF data are damaged are rejected (``'reject'``), or taken as if there
            were none (``'prior'``).
        image_size: Width and height of images of which neither annotations nor files tell.
        given: The camera of all images instead of all that.
    """

    fov_deg: float = DEFAULT_FOV_DEG
    exif: bool = True
    broken_exif: str = 'reject'
    image_size: tuple[int, int] | None = None
    given: Camera | None = None

    def __post_init__(self) -> None:
        if not (is_number(self.fov_deg) and 0 < self.fov_deg < 180):
            raise ValueError(f'camera.fov_deg takes degrees between 0 and 180, got {self.fov_deg!r}')
        # A whole number is the same setting, with the same hash.
        object.__setattr__(self, 'fov_deg', float(self.fov_deg))
        if not isinstance(self.exif, bool):
            raise ValueError(f'camera.exif takes True or False, got {self.exif!r}')
        if self.broken_exif not in BROKEN_EXIF:
            raise ValueError(f'camera.broken_exif takes one of {BROKEN_EXIF}, got {self.broken_exif!r}')
        if self.image_size is not None and not _is_size(self.image_size):
            raise ValueError(f'camera.image_size takes width and height in pixels, got {self.image_size!r}')


@dataclass(frozen=True)
class LabelConfig:
    """Settings of the label generator; ``configs/wild3d/label_generator.py`` has them with explanations.

    Attributes:
        lifters: By keypoint set, ``config`` and ``checkpoint`` of the lifter; None for the shipped one.
        label_models: Calibration of quality and bodies, see :func:`~.calibration.load_label_model`; None for that of
            the shipped lifters.
        camera: See :class:`CameraPrior`.
        min_score: Keypoints that score less count as missing.
        refine_steps: Most Gauss–Newton steps; 0 leaves the search's depths.
        num_passes: Passes with shaken input that quality is told from.
        thresholds: What a label needs to be kept.
        train_share: Part of the images that is for training.
        shard_size: Most people that are labelled together, and written to one file of each split.
        seed: Of the passes' noise.
    """

    lifters: Mapping[str, Mapping[str, str | None]] = field(default_factory=lambda: {s: {} for s in KEYPOINT_SETS})
    label_models: str | None = None
    camera: CameraPrior = field(default_factory=CameraPrior)
    min_score: float = 0.1
    refine_steps: int = 4
    num_passes: int = NUM_PASSES
    thresholds: GateThresholds = field(default_factory=GateThresholds)
    train_share: float = 0.8
    shard_size: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (('shard_size', 1), ('num_passes', 2), ('refine_steps', 0), ('seed', 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f'{name} takes a whole number of at least {least}, got {value!r}')
        if self.seed >= 2**63:
            raise ValueError(f'seed takes a whole number below 2**63, got {self.seed}')
        for name in ('train_share', 'min_score'):
            value = getattr(self, name)
            if not (is_number(value) and 0 <= value <= 1):
                raise ValueError(f'{name} takes a number from 0 to 1, got {value!r}')
            object.__setattr__(self, name, float(value))
        if not isinstance(self.lifters, Mapping):
            raise ValueError(f'lifters takes a dict of {KEYPOINT_SETS}, got {self.lifters!r}')
        for name, files in self.lifters.items():
            if name not in KEYPOINT_SETS or not _are_files(files):
                raise ValueError(f'lifters takes config and checkpoint for {KEYPOINT_SETS}, got {name}: {files!r}')
        if not isinstance(self.label_models, str | None):
            raise ValueError(f'label_models takes the name of a file, got {self.label_models!r}')

    def with_options(self, **options: Any) -> LabelConfig:
        """The settings with some changed; ``fov_deg``, ``exif``, ``image_size`` and ``given`` are the camera's."""
        ours = {name: options.pop(name) for name in [f.name for f in fields(CameraPrior)] if name in options}
        return replace(self, camera=replace(self.camera, **ours), **options)

    def with_absolute_files(self) -> LabelConfig:
        """The settings for processes that run in another folder."""
        lifters = {
            name: {key: file and str(Path(file).absolute()) for key, file in files.items()}
            for name, files in self.lifters.items()
        }
        return replace(
            self, lifters=lifters, label_models=self.label_models and str(Path(self.label_models).absolute())
        )

    def lifter_files(self, keypoint_set: str) -> tuple[Path, Path]:
        """Config and checkpoint of a lifter.

        Raises:
            ValueError: If there is none for the keypoint set, or a file is missing.
        """
        if keypoint_set not in self.lifters:
            raise ValueError(f'lifters has none for {keypoint_set!r} keypoints, has {sorted(self.lifters)}')
        own = self.lifters[keypoint_set]
        config, checkpoint = shipped_lifter(keypoint_set)
        files = Path(own.get('config') or config), Path(own.get('checkpoint') or checkpoint)
        if bool(own.get('config')) != bool(own.get('checkpoint')):
            raise ValueError(f'lifters.{keypoint_set} takes both config and checkpoint, or neither')
        for file in files:
            if not file.is_file():
                raise ValueError(f'lifters.{keypoint_set}: no such file: {file}')
        return files

    @property
    def label_model_file(self) -> Path:
        """Calibration of quality and bodies."""
        return Path(self.label_models or MODEL_FILE)

    def settings(self) -> dict:
        """All that labels depend on, as JSON can hold it: files are told by their checksums, not their places."""
        told = {f.name: getattr(self, f.name) for f in fields(self)}
        told['lifters'] = {
            name: [file_checksum(file) for file in self.lifter_files(name)] for name in sorted(self.lifters)
        }
        told['label_models'] = file_checksum(self.label_model_file)
        told['camera'] = {f.name: getattr(self.camera, f.name) for f in fields(CameraPrior)}
        told['camera']['given'] = _camera_numbers(self.camera.given)
        told['thresholds'] = asdict(self.thresholds)
        return json.loads(json.dumps(told))


def load_label_config(path: str | Path) -> LabelConfig:
    """Read settings from a Python file, as MMEngine's configs.

    Raises:
        ValueError: If it cannot be read or has an unknown or wrong entry; names the file and the key.
    """
    try:
        content = Config.fromfile(str(path)).to_dict()
    except Exception as error:  # a config is Python code: anything may go wrong in it
        raise ValueError(f'{path}: no readable config: {error}') from error
    try:
        content = _known(content, LabelConfig, '')
        for name, kind in (('camera', CameraPrior), ('thresholds', GateThresholds)):
            if name in content:
                if not isinstance(content[name], Mapping):
                    raise ValueError(f'{name} takes a dict, got {content[name]!r}')
                content[name] = kind(**_known(content[name], kind, f'{name}.'))
        return LabelConfig(**content)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f'{path}: {error}') from error


def config_hash(settings: Mapping) -> str:
    """Sixteen hexadecimal digits of :meth:`LabelConfig.settings`."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _known(content: Mapping, kind: type, where: str) -> dict:
    takes = [f.name for f in fields(kind) if f.name != 'given']
    if unknown := sorted(set(content) - set(takes)):
        raise ValueError(f'{where}{unknown[0]} is no setting; takes {takes}')
    return {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}


def _is_size(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(type(v) is int and 0 < v < 2**31 for v in value)


def _are_files(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and set(value) <= {'config', 'checkpoint'}
        and all(isinstance(file, str | None) for file in value.values())
    )


def _camera_numbers(camera: Camera | None) -> list | None:
    if camera is None:
        return None
    lens = [] if camera.distortion is None else camera.distortion.tolist()
    return [camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height, lens]
