import pytest

from rlft.files.atomic import replacing


def test_a_file_is_replaced_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "new folder" / "file.txt"
    for text in ("first", "second"):
        with replacing(path) as temporary:
            temporary.write_text(text)
            assert not path.exists() or path.read_text() == "first"
    assert path.read_text() == "second"
    assert list(path.parent.iterdir()) == [path]


def test_after_an_error_everything_is_as_it_was(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")

    def interrupted():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
