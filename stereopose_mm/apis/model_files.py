# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Configs and weights of MMPose's and MMDet's models, by path, name or alias."""

from __future__ import annotations

import re
import socket
import warnings
from http.client import HTTPException
from pathlib import Path
from types import SimpleNamespace

import torch
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from mmpose.apis.inferencers.utils import default_det_models
from torch import nn

from .lifting import load_checkpoint

RANDOM_WEIGHTS = 'none'

# Names for MMPose's body models that its own aliases lack: `human` is the medium one, and only `rtmpose-l` has a name.
_SIZES = {f'rtmpose-{size}': f'rtmpose-{size}_8xb256-420e_body8-256x192' for size in 'tsm'}
# Seconds without an answer from a server.
_PATIENCE = 10.0


def find_model(
    model: str | Path | Config, weights: str | Path | None, scope: str, argument: str
) -> tuple[Config, Path | None]:
    """Find a model's config and its checkpoint.

    A checkpoint that has to be downloaded is looked for where torch and OpenMMLab keep them (``checkpoints`` in
    ``torch.hub.get_dir()``) and put there.

    Args:
        model: Config or its path; or a config's name or an alias of MMPose or MMDet, such as ``'human'`` or
            ``'rtmpose-m'``.
        weights: Checkpoint file or URL; ``'none'`` for random weights, with a warning. Default: those that MMPose or
            MMDet name for the model.
        scope: ``'mmpose'`` or ``'mmdet'``.
        argument: What the caller calls the model, for messages; the weights' is that with ``_weights``.

    Returns:
        The config, and the checkpoint's path; None for random weights.

    Raises:
        ValueError: If there is no such model or file, or the weights cannot be had: one line that says which file to
            fetch, where to put it, and how to pass a local one.
    """
    config, url = _find_config(model, scope, argument)
    weights = url if weights is None else str(weights)
    if weights is None:
        raise ValueError(
            f'{argument}: the config {_name(model)} comes without weights: pass its checkpoint as {argument}_weights'
            f' ({RANDOM_WEIGHTS!r} for random ones, to try the plumbing)'
        )
    if weights == RANDOM_WEIGHTS:
        warnings.warn(f'{argument}: random weights, so that what {_name(model)} finds means nothing', stacklevel=3)
        return config, None
    if re.match('https?://', weights):
        return config, _download(weights, _name(model), argument)
    if not Path(weights).is_file():
        raise ValueError(f'{argument}_weights: no such file: {weights}')
    return config, Path(weights)


def load_weights(model: nn.Module, path: Path) -> dict:
    """Load a checkpoint, with ``weights_only=True``, into a model.

    Args:
        model: The model.
        path: Of OpenMMLab's checkpoints; what it has besides the model's parameters is ignored.

    Returns:
        The checkpoint's ``meta``.

    Raises:
        ValueError: If it is none, or not the model's; names it.
    """
    loaded = load_checkpoint(path)
    state = loaded.get('state_dict', loaded)
    try:
        missing = model.load_state_dict({k.removeprefix('module.'): v for k, v in state.items()}, strict=False)[0]
    except (AttributeError, RuntimeError, TypeError) as error:
        lines = str(error).splitlines()
        raise ValueError(f'{path}: not a checkpoint of the config: {lines[min(1, len(lines) - 1)].strip()}') from error
    lacks = sorted(set(missing) & {name for name, _ in model.named_parameters()})
    if lacks:
        raise ValueError(f'{path}: not a checkpoint of the config: it has no {lacks[0]} (and {len(lacks) - 1} more)')
    return loaded.get('meta') or {}


def default_detector() -> tuple[str, str, tuple[int, ...]]:
    """MMPose's person detector: config, URL of the weights, category ids."""
    default = default_det_models['body']
    return default['model'], default['weights'], default['cat_ids']


def _find_config(model: str | Path | Config, scope: str, argument: str) -> tuple[Config, str | None]:
    """The config, and the URL of the weights where it is named in a metafile."""
    if isinstance(model, Config):
        return model.copy(), None
    path = Path(model)
    if path.is_file():
        try:
            return Config.fromfile(path), None
        except Exception as error:  # a config is Python code: anything may go wrong in it
            raise ValueError(f'{path}: no readable config: {type(error).__name__}: {error}') from error
    if path.suffix == '.py':
        raise ValueError(f'{argument}: no such config: {model}')
    name = _SIZES.get(str(model).lower(), str(model)) if scope == 'mmpose' else str(model)
    try:
        return BaseInferencer._load_model_from_metafile(SimpleNamespace(scope=scope), name)
    except ValueError as error:
        raise ValueError(
            f"{argument}: {model!r} is neither a config file nor one of {scope}'s models; "
            f'takes a path, a config name, or an alias such as {_ALIASES[scope]}'
        ) from error


_ALIASES = {'mmpose': 'human, rtmpose-m, rtmo or vitpose', 'mmdet': 'rtmdet-m'}


def _name(model: str | Path | Config) -> str:
    if isinstance(model, Config):
        return Path(model.filename).name if model.filename else 'given'
    return Path(model).name


def _download(url: str, name: str, argument: str) -> Path:
    """Path of a checkpoint, which is downloaded where it is not there yet."""
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    target = folder / url.rsplit('/', 1)[-1]
    if target.is_file():
        return target
    digest = torch.hub.HASH_REGEX.search(target.name)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Written beside it first; the name has the start of its SHA-256.
        torch.hub.download_url_to_file(url, str(target), digest and digest[1])
    except (OSError, RuntimeError, HTTPException) as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise ValueError(
            f'{argument}: cannot download the weights of {name!r} ({reason}): fetch {url} and put it into {folder}, '
            f'or pass a local checkpoint as {argument}_weights (tools/demo.py: --{argument} {name} CHECKPOINT)'
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return target
