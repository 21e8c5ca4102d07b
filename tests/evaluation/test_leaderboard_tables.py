# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import csv
import io
import json
import re
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stereopose_mm.evaluation.leaderboard import write_leaderboard
from stereopose_mm.evaluation.leaderboard_tables import group_tables, leaderboard_tables, results_page, sort_groups
from stereopose_mm.evaluation.pose_errors import POSE_ERRORS
from stereopose_mm.evaluation.predictions_file import read_predictions
from stereopose_mm.evaluation.protocols import PROTOCOLS
from stereopose_mm.evaluation.tables import Column, Interval, Table

from .leaderboard_runs import ACTIONS, make_run


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('leaderboard')


@pytest.fixture(scope='module')
def results(folder):
    """Results of the metric, whose predictions a leaderboard was made of."""
    results = make_run(folder / 'predictions.npz')
    write_leaderboard(folder, 'Ours_2 & co', dict(config='c.py', overrides={}, versions=dict(torch='2.0')))
    return results


def read(folder, name):
    return json.loads((folder / 'tables' / f'{name}.json').read_text())


def test_tables_hold_the_results_of_the_metric(folder, results):
    (overall,) = read(folder, 'overall')['rows']
    labels = [row.label for row in POSE_ERRORS.values()]
    assert list(overall) == ['method', *labels, 'poses']
    assert overall['poses'] == results['poses'] - results['invalid'] and results['invalid'] == 1
    groups = dict(action=('Avg (actions)', ACTIONS), subject=('Avg (subjects)', ('S9', 'S11')))
    for label in labels:
        assert overall[label] == pytest.approx(results[label], rel=1e-12)
        for key, (average, names) in groups.items():
            (row,) = read(folder, f'{key}_{label}')['rows']
            assert row['Avg (frames)'] == pytest.approx(results[label], rel=1e-12)
            assert row[average] == pytest.approx(results[f'{label}_mean-over-{key}'], rel=1e-12)
            for name in names:
                assert row[name] == pytest.approx(results[f'{label}_{name}'], rel=1e-12)
    (row,) = read(folder, 'action_MPJPE')['rows']
    assert tuple(row) == ('method', *ACTIONS, 'Avg (actions)', 'Avg (frames)')


def test_every_form_says_the_same(folder, results):
    path = folder / 'tables' / 'action_P-MPJPE'
    (row,) = read(folder, 'action_P-MPJPE')['rows']
    head, values = csv.reader(io.StringIO(path.with_suffix('.csv').read_text()))
    assert head == list(row) and values[0] == 'Ours_2 & co'
    assert [float(value) for value in values[1:]] == list(row.values())[1:]
    rounded = [f'{value:.1f}' for value in list(row.values())[1:]]
    line = path.with_suffix('.md').read_text().splitlines()[-1]
    assert line == f'| Ours_2 & co | {" | ".join(rounded)} |'
    latex = path.with_suffix('.tex').read_text()
    assert r'Ours\_2 \& co & ' + ' & '.join(rounded) + r' \\' in latex
    assert 'Dir. & Disc. & Eat & ' in latex and r'\shortstack{Avg\\(actions)}' in latex


def test_index_says_what_ran_and_links_to_files_that_are_there(folder, results):
    text = (folder / 'index.md').read_text()
    links = re.findall(r'\]\(([^)]+)\)', text)
    assert len(links) > 4 * 2 * len(POSE_ERRORS)
    assert all((folder / link).is_file() for link in links)
    assert f'| MPJPE | {results["MPJPE"]:.1f} mm | Protocol 1' in text
    assert '| invalid | 1 |' in text and '| config | c.py |' in text and 'torch 2.0' in text
    assert 'Not here' not in text
    record = json.loads((folder / 'run.json').read_text())
    assert record['metrics']['MPJPE'] == pytest.approx(results['MPJPE'])
    assert record['groups'] == dict(action=15, subject=2)
    assert not list(folder.rglob('.*'))


def test_what_is_absent_is_said(tmp_path):
    make_run(tmp_path / 'predictions.npz', groups=(), sequences=False, absolute=False)
    record = write_leaderboard(tmp_path, 'ours', {}, {row.label for row in POSE_ERRORS.values()} - {'MRPE-z'})
    absent = '\n'.join(record['absent'])
    assert 'MRPE, 3DPCK-abs, 3DAUC-root, MRPE-x, MRPE-y: the ground truth is not in front' in absent
    assert "MRPE-z: the configuration's MPJPEMetric has `metrics` without it." in absent
    assert 'MPJVE: the configuration' in absent and 'no `group_by`' in absent
    assert 'Error by distance from the camera: the ground truth is not in front' in absent
    assert set(record['plots']) == {'pck_curve', 'joints', 'joint_depth'}
    assert [path.stem for path in sorted((tmp_path / 'tables').iterdir())] == ['overall'] * 4
    assert all(line in (tmp_path / 'index.md').read_text() for line in record['absent'])


def test_a_leaderboard_is_replaced_file_by_file(folder, results, tmp_path, monkeypatch):
    other = tmp_path / 'copy'
    shutil.copytree(folder, other)
    make_run(other / 'predictions.npz', noise=0.02, groups=())
    # One that is stopped before its end leaves no page that says otherwise.
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(Table, 'write', lambda *_: 1 / 0)
        write_leaderboard(other, 'stopped', {})
    assert not (other / 'run.json').exists() and not (other / 'index.md').exists()
    record = write_leaderboard(other, 'second', {})
    assert json.loads((other / 'run.json').read_text()) == record and record['name'] == 'second'
    assert record['metrics']['MPJPE'] < results['MPJPE'] and read(other, 'overall')['rows'][0]['method'] == 'second'
    assert 'action' not in (other / 'index.md').read_text()


def test_runs_share_tables_and_the_best_is_bold(tmp_path):
    for name, noise in (('worse', 0.06), ('better', 0.02)):
        make_run(tmp_path / f'{name}.npz', noise=noise)
    runs = {name: read_predictions(tmp_path / f'{name}.npz') for name in ('worse', 'better')}
    tables = {table.name: table for table in leaderboard_tables(runs)}
    lower, higher = tables['action_MPJPE'].markdown(), tables['action_3DPCK'].markdown()
    for text in (lower, higher):
        worse, better = text.splitlines()[2:]
        assert '**' not in worse.replace('**100.0**', '') and better.count('**') == 2 * 17
    page = results_page('Human3.6M', runs)
    assert page.startswith('# Human3.6M\n') and lower in page and tables['overall'].markdown() in page
    assert tables['action_MPJVE'].markdown() not in page
    assert '- **P-MPJPE**: Protocol 2' in page and 'nearer than 150 mm' in page
    page = results_page('Human3.6M', runs, labels=['MPJVE'], keys=['subject'])
    assert page.count('\n## ') == 3 and tables['subject_MPJVE'].markdown() in page
    with pytest.raises(ValueError, match="worse: has no groups by 'camera'; has .'action', 'subject'"):
        group_tables(runs, 'camera', ['MPJPE'])


def test_every_error_has_a_protocol():
    assert set(PROTOCOLS) == {row.label for row in POSE_ERRORS.values()}
    for label, protocol in PROTOCOLS.items():
        assert protocol.better == (1 if 'PCK' in label or 'AUC' in label else -1)
        assert protocol.sentence.format(threshold=150).endswith('.')


def test_groups_are_in_the_order_of_the_papers():
    assert list(sort_groups(reversed(ACTIONS))) == list(ACTIONS)
    assert list(sort_groups({'Sitting', 'Sports', 'Exercising'})) == ['Exercising', 'Sitting', 'Sports']
    assert list(sort_groups(['outdoor', 'studio', 'green screen'])) == ['green screen', 'studio', 'outdoor']
    assert list(sort_groups(['TS10', 'TS2', 'TS1'])) == ['TS1', 'TS2', 'TS10']
    assert list(sort_groups(['S9', 'S11', 'other'])) == ['S9', 'S11', 'other']


@settings(deadline=None)
@given(st.sets(st.text(max_size=6), max_size=6))
def test_any_names_sort(names):
    assert set(sort_groups(names)) == names


def table(rows, **column):
    return Table('a b/c', 'Title', (Column('m'), Column('x', **column)), tuple(rows))


def test_numbers_as_papers_print_them():
    rows = (('a', -0.04), ('b', -1.25), ('c', float('nan')), ('d', Interval(1.0, -2.0, 3.0)), ('e', 7))
    lines = table(rows).markdown().splitlines()[2:]
    assert [line.split(' | ')[1].rstrip(' |') for line in lines] == ['0.0', '−1.2', '–', '1.0 [−2.0, 3.0]', '7']
    assert table(rows).csv().splitlines() == [
        'm,x,"x, low","x, high"', 'a,-0.04,,', 'b,-1.25,,', 'c,,,', 'd,1.0,-2.0,3.0', 'e,7,,'
    ]  # fmt: skip
    values = [row['x'] for row in json.loads(table(rows).json())['rows']]
    assert values == [-0.04, -1.25, None, dict(value=1.0, low=-2.0, high=3.0), 7]
    assert '$-$1.2 ' in table(rows).latex() and '& -- ' in table(rows).latex()


def test_differences_show_their_sign():
    rows = (('a', Interval(1.25, -0.01, 3.0)), ('b', 0.0), ('c', -2.0))
    lines = table(rows, signed=True).markdown().splitlines()[2:]
    assert [line.split(' | ')[1].rstrip(' |') for line in lines] == ['+1.2 [0.0, +3.0]', '0.0', '−2.0']


def test_what_looks_the_same_is_equally_good():
    lines = table((('a', 1.01), ('b', 1.02), ('c', 2.0)), better=-1).markdown()
    assert '| a | **1.0** |' in lines and '| b | **1.0** |' in lines and '**2.0**' not in lines
    assert '**' not in table((('a', 1.01),), better=-1).markdown()


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec='utf-8', exclude_categories=['Cc', 'Cs', 'Zl', 'Zp']), max_size=8)))
def test_latex_is_escaped(names):
    """Every special letter is behind a backslash or in a command of ours, and a row has its two cells."""
    text = table([(f'x{name}', 1.0) for name in names]).latex()
    rows = text.split('\\midrule\n')[1].split('\\bottomrule')[0].splitlines()
    assert len(rows) == len(names)
    for row in rows:
        bare = re.sub(r'\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater)\{\}|\\[&%$#_{}]', '', row)
        bare = bare.removesuffix(r' \\').replace('$-$', '')
        assert bare.count('&') == 1 and not re.search(r'[%$#_{}~^\\<>]', bare)


def test_a_wide_table_turns_its_headings():
    columns = (Column('method'), *(Column(f'heading {i} of many') for i in range(30)))
    latex = Table('wide', 'Wide', columns, (('ours', *np.arange(30.0).tolist()),)).latex()
    assert latex.count(r'\rotatebox{90}') == 30 and 'graphicx' in latex.splitlines()[0]
    assert latex.count('&') == 2 * 30


def test_rows_have_a_cell_for_each_column():
    with pytest.raises(ValueError, match="a b/c: row 'a' has 1 cells; takes 2"):
        table([('a',)])
