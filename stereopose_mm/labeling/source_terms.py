# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""On what terms the sources of labels may be used, as far as their own pages tell."""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN = 'unknown: ask its authors'


@dataclass(frozen=True)
class SourceTerms:
    """A data set's terms.

    Attributes:
        title: Its name, with a link where it has a page.
        annotations: Terms of the annotations.
        pictures: Terms of the pictures.
    """

    title: str
    annotations: str = UNKNOWN
    pictures: str = UNKNOWN


_FLICKR = "Flickr's terms; each picture has its own licence, which COCO's file names"
_FROM_FLICKR = 'from Flickr, belong to their authors'
_HUMAN_ART = '[Human-Art](https://github.com/IDEA-Research/HumanArt)'
_OF_AUTHORS = 'belong to their authors, whom its file names'
_ON_REQUEST = (
    "a Creative Commons licence that its page does not name, non-commercial, on request; the repository's Apache "
    'licence is that of the code'
)
#: By name of the source, as labels have it. Where no licence is known, that is said.
SOURCE_TERMS = {
    'coco': SourceTerms('[COCO](https://cocodataset.org)', 'CC BY 4.0', _FLICKR),
    'coco_wholebody': SourceTerms(
        '[COCO-WholeBody](https://github.com/jin-s13/COCO-WholeBody)',
        'research and non-commercial use only; its page names CC BY 4.0 and links to CC BY-NC 4.0',
        "COCO's",
    ),
    'mpii': SourceTerms(
        '[MPII Human Pose](http://human-pose.mpi-inf.mpg.de)',
        'simplified BSD, its page says; an earlier version of the page allowed research only',
        'from YouTube, belong to their authors',
    ),
    'lsp': SourceTerms('Leeds Sports Pose, Johnson and Everingham, BMVC 2010', pictures=_FROM_FLICKR),
    'lspet': SourceTerms('Leeds Sports Pose Extended, Johnson and Everingham, CVPR 2011', pictures=_FROM_FLICKR),
    'mpii_lsp': SourceTerms(
        '[the release of Wang et al.](https://github.com/llcshappy/Monocular-3D-Human-Pose)',
        'names no licence, which means no permission: ask its authors',
        'as of MPII and LSP',
    ),
    'aic': SourceTerms('AI Challenger, Wu et al., arXiv 1711.06475'),
    'crowdpose': SourceTerms(
        '[CrowdPose](https://github.com/Jeff-sjtu/CrowdPose)',
        pictures='as of MPII, COCO and AI Challenger, which they are from',
    ),
    'posetrack18': SourceTerms(
        'PoseTrack 2018, Andriluka et al., CVPR 2018', pictures="frames of videos, many of them MPII's"
    ),
    'ochuman': SourceTerms(
        '[OCHuman](https://github.com/liruilong940607/OCHumanApi)',
        f"{UNKNOWN}; its repository's MIT licence is that of the code",
    ),
    'humanart': SourceTerms(f'{_HUMAN_ART}, photographs', _ON_REQUEST, _OF_AUTHORS),
    'humanart_virtual': SourceTerms(f'{_HUMAN_ART}, paintings and sculptures', _ON_REQUEST, _OF_AUTHORS),
    'halpe': SourceTerms(
        '[Halpe](https://github.com/Fang-Haoshu/Halpe-FullBody)',
        pictures='as of HICO-DET and COCO, which they are from',
    ),
    'coco_results': SourceTerms('detections', 'yours, if the detector is; its weights may have terms', 'yours to know'),
}


def terms_of(source: str) -> SourceTerms:
    """Terms of a source; those of one that is not in the table are unknown."""
    return SOURCE_TERMS.get(source, SourceTerms(source))
