# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stereopose_mm.labeling.annotation_files import json_stream, read_annotations
from stereopose_mm.labeling.annotation_files.json_stream import stream_json
from stereopose_mm.labeling.annotations import Annotations
from tests.labeling.annotation_files.made_files import coco, record, write

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def _collect(path: Path) -> object:
    """What the events of a file add up to."""
    whole, top = {}, {}
    for key, index, value in stream_json(path):
        if index is None:
            (top if key is None else whole)[key] = value
        else:
            held = (top if key is None else whole)[key]
            assert len(held) == index
            held.append(value)
    return top[None] if top else whole


@given(
    st.lists(_values) | st.dictionaries(st.text(), _values),
    st.integers(1, 9),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_streaming_is_parsing(tmp_path_factory, content: object, chunk: int, indent: int | None, ascii: bool):
    path = tmp_path_factory.getbasetemp() / 'streamed.json'
    path.write_text(json.dumps(content, indent=indent, ensure_ascii=ascii), encoding='utf-8')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, '_CHUNK', chunk)
        assert _collect(path) == content


@given(st.data())
def test_any_part_of_a_file_is_refused(tmp_path_factory, data: st.DataObject):
    text = json.dumps(coco([record(1), record(2)]))
    path = tmp_path_factory.getbasetemp() / 'part.json'
    path.write_text(text[: data.draw(st.integers(0, len(text) - 1))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, '_CHUNK', data.draw(st.sampled_from([7, 64, 4096])))
        with pytest.raises(ValueError, match=r'part\.json'):
            read_annotations(path)


def test_batches_are_parts_of_the_whole(tmp_path: Path):
    rng = np.random.default_rng(0)
    records = [
        record(n, keypoints=np.c_[rng.uniform(0, 400, (17, 2)), rng.integers(0, 3, 17)].ravel().tolist())
        for n in range(100)
    ]
    # The lists in another order: COCO's comes last here.
    content = dict(reversed(coco(records).items()))
    path = write(tmp_path / 'a.json', content)
    whole = list(read_annotations(path))
    assert len(whole) == 1
    file = read_annotations(path, batch_size=7)
    parts = list(file)
    assert [len(part) for part in parts] == [7] * (len(whole[0]) // 7) + [len(whole[0]) % 7]
    for again in (parts, list(file)):  # as often as wanted
        joined = Annotations.concatenate(again)
        for name in ('record', 'keypoints', 'visibility', 'scores', 'bbox', 'problem', 'image_size'):
            np.testing.assert_array_equal(getattr(joined, name), getattr(whole[0], name))
    flags = np.array([r['keypoints'] for r in records]).reshape(-1, 17, 3)
    marked = flags[..., 2] > 0
    assert marked.sum(1).min() >= 4
    np.testing.assert_allclose(joined.keypoints[marked], flags[..., :2][marked], rtol=1e-6)


def test_values_of_any_length(tmp_path: Path):
    long = record(1, segmentation={'counts': 'x' * 3_500_000})
    path = write(tmp_path / 'long.json', coco([long, record(2)], info={'thumbnail': 'y' * 3_000_000}))
    assert [batch.record.tolist() for batch in read_annotations(path)] == [['1', '2']]
    path.write_text(path.read_text()[:-3_000_000])
    with pytest.raises(ValueError, match='cut short'):
        read_annotations(path)


def test_a_long_value_is_not_decoded_again_and_again(tmp_path: Path, monkeypatch):
    path = write(tmp_path / 'long.json', {'images': {str(n): n for n in range(20_000)}})
    monkeypatch.setattr(json_stream, '_CHUNK', 64)
    seen = []

    class Window(json_stream._Window):
        def _more(self):
            seen.append(len(self.text) - self.pos)
            super()._more()

    monkeypatch.setattr(json_stream, '_Window', Window)
    assert len(_collect(path)['images']) == 20_000
    assert sum(seen) < 4 * path.stat().st_size


def test_memory_is_that_of_a_batch(tmp_path: Path):
    entry = record(0, caption='x' * 10000)
    path = tmp_path / 'large.json'
    with path.open('w') as file:
        head, tail = json.dumps(coco([0])).split('"annotations": [0]')
        file.write(head + '"annotations": [')
        file.write(', '.join(json.dumps({**entry, 'id': n}) for n in range(4000)))
        file.write(']' + tail)
    assert path.stat().st_size > 40e6
    tracemalloc.start()
    try:
        people = sum(len(batch) for batch in read_annotations(path, batch_size=64))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert people == 4000
    assert peak < path.stat().st_size / 2
