# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from stereopose_mm.geometry import H36M_17
from stereopose_mm.visualization.canvas import bgr
from stereopose_mm.visualization.contact_sheet import SheetCell, draw_contact_sheet
from stereopose_mm.visualization.lift_picture import LEFT, RIGHT

rng = np.random.default_rng(0)


def cell(**changes):
    points = rng.uniform(100, 300, (17, 2))
    pose = rng.normal(size=(17, 3)) * 0.4 + [0, 0, 4]
    options = dict(keypoints=points, projected=points, pose=pose, image=None, caption=('a.jpg', '0.1 px'))
    return SheetCell(**options | changes)


def count(picture, colour):
    return int((np.abs(picture.astype(int) - colour).max(-1) < 12).sum())


def test_grid_has_a_place_for_every_cell():
    sizes = {n: draw_contact_sheet([cell() for _ in range(n)], H36M_17, 'title').shape for n in (1, 4, 5, 8, 9)}
    assert all(shape[2] == 3 for shape in sizes.values())
    heights = [shape[0] for shape in sizes.values()]
    assert heights[0] == heights[1] < heights[2] == heights[3] < heights[4]
    assert sizes[5][1] == sizes[4][1] > sizes[1][1]


def test_limbs_have_the_colours_of_their_side():
    picture = draw_contact_sheet([cell()], H36M_17, 'title')
    assert count(picture, LEFT) > 200 and count(picture, RIGHT) > 200
    nothing = cell(projected=np.full((17, 2), np.nan), pose=np.full((17, 3), np.nan))
    empty = draw_contact_sheet([nothing], H36M_17, 'title')
    assert count(empty[66:], LEFT) == 0


def test_image_is_cut_to_the_person_and_may_end():
    image = np.full((400, 400, 3), (40, 200, 90), np.uint8)
    inside = draw_contact_sheet([cell(image=image)], H36M_17, 'title')
    outside = draw_contact_sheet([cell(image=image[:200])], H36M_17, 'title')
    beyond = draw_contact_sheet([cell(image=image[:90])], H36M_17, 'title')
    greens = [count(picture, (40, 200, 90)) for picture in (inside, outside, beyond)]
    assert greens[0] > greens[1] > greens[2] and greens[0] > 20000


def test_flagged_cells_are_red():
    red = bgr('#ff6b6b')
    plain, flagged = (draw_contact_sheet([cell(flagged=flag)], H36M_17, 'title') for flag in (False, True))
    assert count(flagged, red) > count(plain, red) == 0


def test_no_cell_is_an_error():
    with pytest.raises(ValueError, match='at least one pair'):
        draw_contact_sheet([], H36M_17, 'title')
