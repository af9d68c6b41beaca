"""Tables of texts: round trips, every kind of broken table, and splits that keep a group together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.course.errors import UserError
from helpers.data import texts


def table(folder, content, **options):
    path = folder / "table.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return texts.load_tsv(path, **options)


def test_a_good_table(tmp_path):
    texts = ['"quoted', "a\u2028b\x0cc", "", "이 영화 정말 재미있어요!", "naïve café", "أحب هذا الفيلم؟"]
    lines = [f'{line}\t{k % 2}\t"g{k % 3}' for k, line in enumerate(texts)]
    for start, end in (("", "\n"), ("\ufeff", "\r\n")):
        got = table(tmp_path, start + end.join(["text\tlabel\tfilm", *lines]) + end, group="film")
        assert got.texts == texts
        assert got.labels.tolist() == [k % 2 for k in range(len(lines))] and got.labels.dtype == np.int64
        assert got.groups[:3].tolist() == ['"g0', '"g1', '"g2'] and got.classes == ["0", "1"]
    part = got.rows(np.array([2, 0]))
    assert part.texts == ["", '"quoted'] and part.groups.tolist() == ['"g2', '"g0'] and len(part) == 2


def test_classes(tmp_path):
    assert table(tmp_path, "label\ttext\n10\ta\n9\tb").classes == ["9", "10"]
    assert table(tmp_path, "label\ttext\npos\ta\nneg\tb").labels.tolist() == [1, 0]
    assert table(tmp_path, "label\ttext\nneg\ta\n", classes=["pos", "neg"]).labels.tolist() == [1]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("text\tstars\na\t1", {}, "no column 'label'; its header line names text, stars"),
        ("text\tlabel\na\t1\nb\t0", {"group": "film"}, "no column 'film'"),
        ("text\tlabel\na\t1\nb", {}, "line 3: 1 columns, but the header line names 2"),
        ("text\tlabel\na\t1\nb\tc\t0", {}, "line 3: 3 columns"),
        ("text\tlabel\na\t1\nb\t2\nc\t3", {}, "must have exactly two classes; it has 3: '1', '2', '3'"),
        ("text\tlabel\na\t1\nb\t1", {}, "must have exactly two classes; it has 1: '1'"),
        ("text\tlabel\na\t1\nb\t ", {}, "line 3: the label is empty"),
        ("text\tlabel\na\t5", {"classes": ["0", "1"]}, "line 2: label '5' is neither '0' nor '1'"),
        ("text\tlabel\n", {}, "has no rows below its header line"),
        ("", {}, "is empty"),
        ("\n \n", {}, "is empty"),
        (b"text\tlabel\na\t1\nb\0\t0", {}, "line 3: a NUL byte"),
        ("text\tlabel\n영화\t1".encode("utf-16"), {}, "is UTF-16"),
        ("text\tlabel\n영화\t1".encode("cp949"), {}, "line 2: not UTF-8"),
    ],
)
def test_a_broken_table_is_named(tmp_path, content, options, message):
    with pytest.raises(UserError) as error:
        table(tmp_path, content, **options)
    assert message in str(error.value) and "table.tsv" in str(error.value) and "\n" not in str(error.value)


def test_a_missing_table_is_named(tmp_path):
    for path in (tmp_path / "none.tsv", tmp_path):
        with pytest.raises(UserError, match="cannot read"):
            texts.load_tsv(path)


@given(st.lists(st.integers(0, 6), min_size=8, max_size=60), st.floats(0.1, 0.6), st.integers(0, 5))
def test_groups_stay_together(groups, share, seed):
    groups = np.array(groups + [7, 8])
    largest = np.bincount(groups).max()
    try:
        kept, taken = texts.split_groups(groups, share, seed)
    except UserError:  # the one group left over was the last
        assert largest > (1 - share) * len(groups) - 2
        return
    assert sorted([*kept, *taken]) == list(range(len(groups)))
    assert not set(groups[kept]) & set(groups[taken])
    # whole groups are taken until the share is reached; 1e-9 because 0.1 * 10 is not 1 in binary
    assert share * len(groups) - 1e-9 <= len(taken) < share * len(groups) + largest + 1e-9
    again = texts.split_groups(groups, share, seed)
    assert (again[1] == taken).all()


def test_one_group_cannot_be_split():
    with pytest.raises(UserError, match="at least two"):
        texts.split_groups(["a"] * 9, 0.2, 0)
