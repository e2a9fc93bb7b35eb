"""Files that are whole or not there: what an interruption, an error and a full disk leave behind."""

import ast
import errno
from pathlib import Path

import pytest
from pipeline import ROOT

from diffusion.files import whole_file, write_text
from stages.shared.outputs import write_table

WRITERS = {"write_text", "write_bytes", "savefig", "savez", "to_csv", "save_file", "save", "touch"}


@pytest.mark.parametrize("reason", [ValueError("a bug"), KeyboardInterrupt()])
def test_what_is_interrupted_never_has_the_name_of_a_result(tmp_path, reason):
    path = tmp_path / "below" / "figures.json"
    with pytest.raises(type(reason)), whole_file(path) as partial:
        partial.write_text("half")
        raise reason
    assert not path.exists()
    write_text(path, "whole")
    assert path.read_text() == "whole"
    with pytest.raises(type(reason)), whole_file(path) as partial:
        partial.write_text("half of another")
        raise reason
    assert path.read_text() == "whole" and partial.read_text() == "half of another"
    write_text(path, "another")
    assert path.read_text() == "another" and [*path.parent.iterdir()] == [path]


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "figures.json"
    (tmp_path / "figures.json.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device: .*figures.json'$") as caught:
        write_text(path, "x")
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(path)
    assert not [*tmp_path.iterdir()]


def test_a_folder_that_is_none_is_named(tmp_path):
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(OSError) as caught:
        write_text(tmp_path / "reports" / "figures.json", "x")
    assert caught.value.filename == str(tmp_path / "reports")


def test_a_table_under_way_can_be_looked_at_and_outlives_an_error(tmp_path):
    path = tmp_path / "history.csv"

    def rows():
        yield 1, 0.5
        assert path.with_name("history.csv.partial").read_text() == "step,loss\n1,0.5\n"
        yield 2, 0.25
        raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"):
        write_table(path, ["step", "loss"], rows())
    assert path.with_name("history.csv.partial").read_text() == "step,loss\n1,0.5\n2,0.25\n" and not path.exists()


def test_an_error_in_another_file_keeps_its_name(tmp_path):
    """A checkpoint that cannot be written stops the rows of history.csv: the line names the checkpoint."""

    def rows():
        yield 1, 0.5
        (tmp_path / "checkpoint.partial").symlink_to("/dev/full")
        write_text(tmp_path / "checkpoint", "x")

    with pytest.raises(OSError) as caught:
        write_table(tmp_path / "history.csv", ["step", "loss"], rows())
    assert caught.value.filename == str(tmp_path / "checkpoint")
    assert (tmp_path / "history.csv.partial").read_text() == "step,loss\n1,0.5\n"


def unguarded_writers(path):
    """Calls in a file that write outside of a `with whole_file(...)`."""

    def walk(node, guarded):
        if isinstance(node, ast.With):
            guarded = guarded or any("whole_file" in ast.unparse(item.context_expr) for item in node.items)
        if isinstance(node, ast.Call) and not guarded and writes(node):
            yield f"{path}:{node.lineno}: {ast.unparse(node)}"
        for child in ast.iter_child_nodes(node):
            yield from walk(child, guarded)

    return [*walk(ast.parse((ROOT / path).read_text()), False)]


def writes(call):
    """To a file: by a method of paths, pictures, arrays and tables, or by `open` for anything but reading."""
    name = ast.unparse(call.func).split(".")[-1]
    if name == "open":
        return any(isinstance(a, ast.Constant) and set(str(a.value)) & set("wax+") for a in call.args[1:])
    if name in ("save", "write_text"):  # ours have a method and a function of these names
        return isinstance(call.func, ast.Attribute) and any(k.arg in ("format", "encoding") for k in call.keywords)
    return name in WRITERS and bool(call.args)


@pytest.mark.parametrize("folder", ["src/diffusion", "stages"])
def test_every_writer_writes_whole_files(folder):
    found = [line for path in sorted(Path(ROOT, folder).rglob("*.py")) for line in unguarded_writers(path)]
    assert [line for line in found if "'lock'" not in line] == []
