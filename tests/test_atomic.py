"""A file is the old one or the new one, whatever happens while it is written."""

from __future__ import annotations

import mmap
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from minitransformers.files.atomic import replacing, write_text


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")
    return path


def only(path: Path) -> bool:
    """Whether nothing lies beside a file: no temporary was left."""
    return [entry.name for entry in path.parent.iterdir()] == [path.name]


def child(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )


def test_new_content_replaces_the_old(target: Path) -> None:
    with replacing(target) as temporary:
        assert temporary.parent == target.parent, "a rename needs the same file system"
        temporary.write_bytes(b"new")
        assert target.read_bytes() == b"old", "not before the block ends"
    assert target.read_bytes() == b"new"
    assert only(target)


def test_file_that_was_not_there(tmp_path: Path) -> None:
    with replacing(str(tmp_path / "fresh")) as temporary:
        assert not (tmp_path / "fresh").exists()
        temporary.write_bytes(b"new")
    assert (tmp_path / "fresh").read_bytes() == b"new"


def test_text_is_utf8_with_plain_line_ends(target: Path) -> None:
    write_text(target, "Zürich\n東京\n")
    assert target.read_bytes() == "Zürich\n東京\n".encode()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_error_in_the_block_leaves_the_old_file(target: Path, error: type[BaseException]) -> None:
    def write() -> None:
        with replacing(target) as temporary:
            temporary.write_bytes(b"half of the ne")
            raise error

    with pytest.raises(error):
        write()
    assert target.read_bytes() == b"old"
    assert only(target)


def test_text_that_cannot_be_encoded_leaves_the_old_file(target: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_text(target, "a lone surrogate \ud800")
    assert target.read_bytes() == b"old"
    assert only(target)


def test_temporary_that_the_writer_removed_leaves_the_old_file(target: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(target) as temporary:
        temporary.unlink()
    assert target.read_bytes() == b"old"
    assert only(target)


def test_killed_process_leaves_the_old_file(target: Path) -> None:
    code = (
        "import os, signal, sys; from minitransformers.files.atomic import replacing\n"
        "with replacing(sys.argv[1]) as temporary:\n"
        "    temporary.write_bytes(b'half of the ne'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert child(code, str(target)).returncode == -signal.SIGKILL
    assert target.read_bytes() == b"old"
    write_text(target, "new")  # what the dead process left behind is in nobody's way
    assert target.read_bytes() == b"new"


def test_mapped_readers_keep_the_old_bytes(target: Path) -> None:
    target.write_bytes(b"o" * 3 * mmap.PAGESIZE)
    with open(target, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        write_text(target, "new")  # much shorter: overwriting would make the pages behind it fatal to read
        assert mapped[:] == b"o" * 3 * mmap.PAGESIZE
    assert target.read_bytes() == b"new"


def test_full_disk_leaves_the_old_file_and_no_temporary(target: Path) -> None:
    code = (
        "import resource, sys; from minitransformers.files.atomic import replacing, write_text\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try: write_text(sys.argv[1], 'x' * 100_000)\n"
        "except OSError as error: print(type(error).__name__, error.errno)"
    )
    done = child(code, str(target))
    assert done.stdout.startswith("OSError"), done.stderr
    assert target.read_bytes() == b"old"
    assert only(target)


def test_symbolic_link_is_replaced_and_what_it_points_to_is_not(tmp_path: Path, target: Path) -> None:
    # As in a hub's cache: the file that a snapshot's name points to belongs to other snapshots too.
    target.chmod(0o640)
    link = tmp_path / "link.bin"
    link.symlink_to(target.name)
    write_text(link, "new")
    assert mode(link) == 0o640, "who could not read it before cannot read it now"
    assert link.read_bytes() == b"new"
    assert not link.is_symlink()
    assert target.read_bytes() == b"old"
    broken = tmp_path / "broken.bin"
    broken.symlink_to("nowhere")
    write_text(broken, "new")
    assert broken.read_bytes() == b"new"
    assert not (tmp_path / "nowhere").exists()


def test_link_to_a_directory_on_the_way_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link" / "file", "new")
    assert (tmp_path / "real" / "file").read_bytes() == b"new"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_file_has_ordinary_permissions(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.write_text("")
    write_text(tmp_path / "fresh", "new")
    assert mode(tmp_path / "fresh") == mode(ordinary)


@pytest.mark.parametrize("bits", [0o600, 0o640, 0o664, 0o444])
def test_replaced_file_hands_on_its_permissions(target: Path, bits: int) -> None:
    target.chmod(bits)
    with replacing(target) as temporary:
        assert mode(temporary) & 0o077 == bits & 0o077, "what is private is private from the start"
        temporary.write_text("new")
    assert mode(target) == bits
    assert target.read_bytes() == b"new"


def test_directory_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "model.bin").mkdir()
    with pytest.raises(IsADirectoryError, match=r"model\.bin' is a directory"):
        write_text(tmp_path / "model.bin", "new")
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "absent" / "model.bin", "new")
    assert only(tmp_path / "model.bin")


def test_names_of_every_length(tmp_path: Path) -> None:
    write_text(tmp_path / ("x" * 255), "new")
    assert (tmp_path / ("x" * 255)).read_bytes() == b"new"


def test_writers_at_once_do_not_mix(target: Path) -> None:
    texts = [str(number) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=write_text, args=(target, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_text() in texts
    assert only(target)
