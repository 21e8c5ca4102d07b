# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class DatasetReport:
    """What a data set holds and what is wrong with it.

    Attributes:
        name: Config, split and kind of data set.
        records: Number of people.
        with_3d: Of them, those with a 3D label.
        counts: Number of people by value, for each key of the meta information that groups them.
        images: Different images, and how many of them are missing.
        residual_px: Mean, median, 95th percentile and maximum of the joints' 2D-3D residual, through the lens.
        residual_by_joint_px: Mean residual of each joint.
        residual_by_camera_px: Median residual of each camera, where the records name theirs.
        bone_outliers: Records with a bone a quarter longer or shorter than that person's median (where people are not
            told apart: 60 % than everybody's).
        swaps: Records with left and right exchanged: in 2D against 3D, from one frame to the next, as a whole.
        outside_image: Share of the visible keypoints that are not in the image.
        problems: What is wrong, one sentence each; empty for a sound data set.
        notes: What is worth knowing.
    """

    name: str
    records: int = 0
    with_3d: int = 0
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    residual_px: dict[str, float] = field(default_factory=dict)
    residual_by_joint_px: dict[str, float] = field(default_factory=dict)
    residual_by_camera_px: dict[str, float] = field(default_factory=dict)
    bone_outliers: int = 0
    swaps: dict[str, int] = field(default_factory=dict)
    outside_image: float = 0.0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_markdown(self) -> str:
        """The report as a page."""
        lines = [f'# {self.name}', '', f'{self.records:,} people, {self.with_3d:,} of them with a 3D label.', '']
        lines += [f'- **Problem:** {text}' for text in self.problems] or ['No problem found.']
        lines += [f'- {text}' for text in self.notes]
        rows = [(key, f'{value:.4g} px') for key, value in self.residual_px.items()]
        tables = {'2D-3D residual': rows}
        tables['Residual by joint'] = [(key, f'{value:.4g} px') for key, value in self.residual_by_joint_px.items()]
        tables['Residual by camera'] = [(key, f'{value:.4g} px') for key, value in self.residual_by_camera_px.items()]
        tables |= {f'By {key}': [(k, f'{v:,}') for k, v in table.items()] for key, table in self.counts.items()}
        for title, rows in tables.items():
            if rows:
                lines += ['', f'## {title}', '', '| | |', '| --- | ---: |', *(f'| {a} | {b} |' for a, b in rows)]
        return '\n'.join(lines) + '\n'
