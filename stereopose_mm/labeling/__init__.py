# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The Wild-3D label generator: any 2D-annotated image set becomes a 3D-labelled one."""

from .annotation_files import AnnotationFile, read_annotations
from .annotations import Annotations
from .config import CameraPrior, LabelConfig, load_label_config
from .data_card import write_data_card
from .generate import GenerationSummary, generate_labels
from .lifters import Labeller, load_labellers
from .pipeline import LabelledShard, label_shard
from .plan import GenerationPlan, plan_labels
from .verify import verify_labels
from .webdataset import write_webdataset

__all__ = [
    'AnnotationFile',
    'Annotations',
    'CameraPrior',
    'GenerationPlan',
    'GenerationSummary',
    'LabelConfig',
    'LabelledShard',
    'Labeller',
    'generate_labels',
    'label_shard',
    'load_label_config',
    'load_labellers',
    'plan_labels',
    'read_annotations',
    'verify_labels',
    'write_data_card',
    'write_webdataset',
]
