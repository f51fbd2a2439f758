import json

import pytest

from xaicli.errors import InputError
from xaicli.models.assemble import names_for
from xaicli.models.classes import read_classes


@pytest.fixture
def write(tmp_path):
    def written(text, name="classes.txt"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


def test_one_name_a_line_may_hold_synonyms(write):
    assert read_classes(write("tench, Tinca tinca\ngoldfish\n")) == ("tench, Tinca tinca", "goldfish")


def test_a_byte_order_mark_windows_line_ends_and_blanks_do_not_count(write):
    assert read_classes(write(b"\xef\xbb\xbfcat \r\n dog\r\n\r\n")) == ("cat", "dog")


def test_a_csv_file_with_an_index_is_put_in_order(write):
    text = 'index,wnid,name\n1,n2,goldfish\n0,n1,"tench, Tinca tinca"\n'
    assert read_classes(write(text, "classes.csv")) == ("tench, Tinca tinca", "goldfish")


def test_a_csv_file_without_an_index_counts_its_rows(write):
    assert read_classes(write("name\ncat\ndog\n", "classes.csv")) == ("cat", "dog")


def test_csv_is_known_by_its_header_whatever_the_file_is_called(write):
    assert read_classes(write("Name,Index\ncat,1\ndog,0\n", "classes.txt")) == ("dog", "cat")


@pytest.mark.parametrize(
    "content",
    [
        ["cat", "dog"],
        {"0": "cat", "1": "dog"},
        {"1": "dog", "0": "cat"},
        {"cat": 0, "dog": 1},
        {"0": ["n1", "cat"], "1": ["n2", "dog"]},
        [["n1", "cat"], ["n2", "dog"]],
    ],
)
def test_json_may_be_a_list_or_names_by_index_or_indices_by_name(write, content):
    assert read_classes(write(json.dumps(content), "classes.json")) == ("cat", "dog")


@pytest.mark.parametrize(
    ("text", "name", "complaint"),
    [
        ("", "a.txt", "is empty"),
        (" \n \n", "a.txt", "is empty"),
        ("cat\n\ndog\n", "a.txt", "line 2 is empty"),
        (b"\xff\xfe\x00c", "a.txt", "is not UTF-8 text"),
        (bytes(64), "a.txt", "is not a text"),
        ("index,label\n0,cat\n", "a.csv", "no column called name: index, label"),
        ("index,name\n0,cat\n0,dog\n", "a.csv", "index 0 occurs twice .line 3."),
        ("index,name\n0,cat\n2,dog\n", "a.csv", "index 1 is missing; expected each index from 0 to 2 once"),
        ("index,name\n-1,cat\n", "a.csv", 'line 2 has the index "-1"'),
        ("index,name\n0,cat,extra\n", "a.csv", "line 2 has 3 cells"),
        ("index,name\n0,\n", "a.csv", "line 2 has 2 cells or no name"),
        ("name\n", "a.csv", "holds no names"),
        ("{", "a.json", "is not JSON"),
        ("[]", "a.json", "holds no names"),
        ("{}", "a.json", "holds no names"),
        ("[1, 2]", "a.json", "entry 0 has no name"),
        ('{"x": "cat"}', "a.json", 'entry 0 has the index "x"'),
        ("[" * 100_000, "a.json", "is not JSON"),
    ],
)
def test_a_file_that_is_no_list_of_names_is_refused_with_the_place(write, text, name, complaint):
    with pytest.raises(InputError, match=complaint):
        read_classes(write(text, name))


def test_a_file_that_is_absent_or_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        read_classes(tmp_path / "absent.txt")
    with pytest.raises(InputError, match="is a folder"):
        read_classes(tmp_path)


@pytest.mark.real
def test_the_names_of_imagenet_are_read(assets):
    names = read_classes(assets / "classes" / "imagenet1k.csv")
    assert len(names) == 1000
    assert names[0] == "tench, Tinca tinca"
    assert names[386].startswith("African elephant")


def test_half_a_character_in_a_name_is_spelled_out(write):
    """JSON may hold one, and no record, store or page could be written."""
    names = read_classes(write('["cat\\ud83d", "dog"]', "classes.json"))
    assert names_for(2, names, (), "net", print) == names_for(2, None, names, "net", print) == ("cat\\ud83d", "dog")
