# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What each reported error means, for the people who read a table: unit, direction, protocol in a sentence."""

from __future__ import annotations

from dataclasses import dataclass

from .tables import Column


@dataclass(frozen=True)
class Protocol:
    """How to read one error.

    Attributes:
        unit: Unit it is reported in.
        better: -1 where lower is better, 1 where higher is.
        sentence: The protocol; ``{threshold:g}`` stands for the 3DPCKs' threshold in millimetres.
        decimals: How many are shown in tables.
    """

    unit: str = ''
    better: int = -1
    sentence: str = ''
    decimals: int = 1

    def column(self, label: str) -> Column:
        """The column of this error in a table."""
        return Column(label, self.unit, self.decimals, self.better)


def _millimetres(sentence: str) -> Protocol:
    return Protocol('mm', -1, sentence)


def _percent(sentence: str) -> Protocol:
    return Protocol('%', 1, sentence)


_JOINTS_14 = "LSP's 14 joints (ankles, knees, hips, wrists, elbows, shoulders, neck and head top)"
_JOINTS_16 = '16 joints (H36M-17 without the neck/nose, joint 9)'

PROTOCOLS = {
    'MPJPE': _millimetres('Protocol 1: mean distance of joints, poses centred on the root, which counts.'),
    'P-MPJPE': _millimetres('Protocol 2: MPJPE after the best similarity transform of each pose (Procrustes).'),
    'N-MPJPE': _millimetres('Protocol 3: MPJPE, poses centred on the root, after the best scale of each.'),
    'MRPE': _millimetres('Distance of the predicted root from the true one in the camera frame.'),
    'MRPE-x': _millimetres('Mean absolute error of the root along x (right) of the camera.'),
    'MRPE-y': _millimetres('Mean absolute error of the root along y (down) of the camera.'),
    'MRPE-z': _millimetres('Mean absolute error of the root along z (depth) of the camera.'),
    'reprojection-error-px': Protocol(
        'px', -1, 'Mean distance of the projected joints from the 2D input, of those that the search took.', 2
    ),
    'MPJPE-14': _millimetres(f'MPJPE of {_JOINTS_14}, poses centred on the root.'),
    'P-MPJPE-14': _millimetres('P-MPJPE of the 14 joints of MPJPE-14.'),
    'MPJPE-16': _millimetres(f'MPJPE of {_JOINTS_16}, poses centred on the root.'),
    'P-MPJPE-16': _millimetres('P-MPJPE of the 16 joints of MPJPE-16.'),
    '3DPCK': _percent('Share of joints nearer than {threshold:g} mm, poses centred on the root; all labelled joints.'),
    '3DAUC': _percent('Mean of the 3DPCK over the 31 thresholds 0, 5, .., 150 mm; all labelled joints.'),
    '3DPCK-14': _percent(
        'Share of the 14 joints of MPJPE-14 nearer than {threshold:g} mm, poses centred on the root: as the '
        'MPI-INF-3DHP test set counts.'
    ),
    '3DAUC-14': _percent('Mean of the 3DPCK-14 over the 31 thresholds 0, 5, .., 150 mm.'),
    '3DPCK-abs': _percent(
        'Share of the 14 joints of MPJPE-14 nearer than {threshold:g} mm in the camera frame, root not aligned '
        '(MuPoTS-3D, matched people).'
    ),
    '3DAUC-root': _percent(
        'Mean over the 31 thresholds 0, 5, .., 150 mm of the share of roots nearer than that in the camera frame.'
    ),
    'bone-length-error': _millimetres("Mean absolute error of the lengths of the skeleton's bones."),
    'MPJVE': Protocol(
        'mm/frame', -1, 'MPJPE of the first differences in time, of poses whose previous kept frame is there.', 2
    ),
}


def protocol_of(label: str) -> Protocol:
    """Look an error up; one that is not known has no unit and no sentence, and lower is better."""
    return PROTOCOLS.get(label, Protocol())
