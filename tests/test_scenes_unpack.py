"""Archives: what is wanted, once, and nothing of what hostile or damaged ones try."""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene_files_s2 import tar_of

from pipeline.errors import DiskFullError
from pipeline.scenes.scene import SceneError
from pipeline.scenes.unpack import is_archive, unpack, without_suffix

CONTENTS = {"a/one.jp2": b"1" * 700, "a/b/two.xml": b"22" * 500, "three": b"3", "a/empty": b""}
MOST = 2**30


def zip_of(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in contents.items():
            target.writestr(name, content)
    return buffer.getvalue()


def plain_tar_of(contents: dict[str, bytes]) -> bytes:
    return tar_of(*((tarfile.TarInfo(name), content) for name, content in contents.items()))


def tgz_of(contents: dict[str, bytes]) -> bytes:
    return gzip.compress(plain_tar_of(contents), mtime=0)


PACKERS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    ".zip": zip_of, ".tar": plain_tar_of, ".tar.gz": tgz_of, ".tgz": tgz_of,
}  # fmt: skip


def everything(name: str) -> bool:  # noqa: ARG001
    return True


def written(folder: Path, content: bytes, suffix: str = ".zip") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"archive{suffix}"
    archive.write_bytes(content)
    return archive


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".unpacked.json"
    }


def assert_refused(archive: Path, into: Path, reason: str, why: str, most: int = MOST) -> None:
    """One line with the archive's name and the reason, and nothing left behind."""
    with pytest.raises(SceneError, match=why) as caught:
        unpack(archive, into, everything, most=most)
    assert caught.value.reason == reason
    assert str(archive) in str(caught.value)
    assert list(into.parent.iterdir()) == []


# what is wanted, once


@pytest.mark.parametrize("suffix", PACKERS)
def test_all_that_is_wanted_comes_out(suffix: str, tmp_path: Path) -> None:
    archive = written(tmp_path / "in", PACKERS[suffix](CONTENTS), suffix)
    into = unpack(archive, tmp_path / "w" / "out", everything, most=MOST)
    assert into == tmp_path / "w" / "out"
    assert files_of(into) == CONTENTS
    assert [p.name for p in into.parent.iterdir()] == ["out"]
    some = unpack(archive, tmp_path / "w" / "some", lambda name: name.endswith("2"), most=MOST)
    assert files_of(some) == {"a/one.jp2": CONTENTS["a/one.jp2"]}


@pytest.mark.parametrize("suffix", PACKERS)
def test_what_was_unpacked_is_used_again(suffix: str, tmp_path: Path) -> None:
    archive = written(tmp_path / "in", PACKERS[suffix](CONTENTS), suffix)
    into = unpack(archive, tmp_path / "w" / "out", everything, most=MOST)
    first = (into / "three").stat()
    assert first.st_mtime_ns == archive.stat().st_mtime_ns
    unpack(archive, into, everything, most=MOST)
    assert (into / "three").stat().st_ino == first.st_ino


def test_it_is_unpacked_anew_where_anything_changed(tmp_path: Path) -> None:
    archive = written(tmp_path / "in", zip_of(CONTENTS))
    into = tmp_path / "w" / "out"

    def again(wanted: Callable[[str], bool] = everything) -> bool:
        before = (into / "three").stat().st_ino if (into / "three").exists() else None
        keep = (into / "three").open("rb") if before else None  # else its inode comes again
        unpack(archive, into, wanted, most=MOST)
        if keep:
            keep.close()
        return (into / "three").stat().st_ino != before

    assert again()
    assert not again()
    (into / "a/one.jp2").unlink()
    assert again()
    assert files_of(into) == CONTENTS
    (into / "a/one.jp2").write_bytes(b"short")
    assert again()
    assert again(lambda name: "/" not in name)
    assert files_of(into) == {"three": b"3"}
    assert again()
    archive.write_bytes(zip_of(CONTENTS | {"three": b"4"}))
    os.utime(archive, (1, 1))
    assert again()
    assert (into / "three").read_bytes() == b"4"
    (into / ".unpacked.json").write_text("{")
    assert again()


def test_what_a_killed_run_left_goes(tmp_path: Path) -> None:
    archive = written(tmp_path / "in", zip_of(CONTENTS))
    left = tmp_path / "w" / ".out.abcdefgh"
    (left / "a").mkdir(parents=True)
    unpack(archive, tmp_path / "w" / "out", everything, most=MOST)
    assert [p.name for p in (tmp_path / "w").iterdir()] == ["out"]


def test_names_of_archives() -> None:
    names = {"S2.ZIP": "S2", "a.tar.gz": "a", "b.tgz": "b", "c.tar": "c", "d.SAFE.zip": "d.SAFE"}
    assert all(is_archive(Path(name)) for name in names)
    assert {name: without_suffix(Path(name)) for name in names} == names
    assert not is_archive(Path("a.gz"))
    assert without_suffix(Path("a.SAFE")) == "a.SAFE"


def test_the_first_bytes_tell_what_it_is(tmp_path: Path) -> None:
    archive = written(tmp_path / "in", tgz_of(CONTENTS), ".zip")
    assert files_of(unpack(archive, tmp_path / "w" / "out", everything, most=MOST)) == CONTENTS


def test_names_with_backslashes_are_paths(tmp_path: Path) -> None:
    archive = written(tmp_path / "in", zip_of({"a\\b\\c.txt": b"x"}))
    assert files_of(unpack(archive, tmp_path / "w" / "out", everything, most=MOST)) == {
        "a/b/c.txt": b"x"
    }


# malice


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tgz"])
@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/x", "..", "a/..", "C:x", "..\\x", "\\x", "./../x"]
)
def test_names_that_lead_elsewhere_are_refused(suffix: str, name: str, tmp_path: Path) -> None:
    archive = written(tmp_path / "in", PACKERS[suffix]({"first": b"1", name: b"x"}), suffix)
    assert_refused(archive, tmp_path / "w" / "out", "hostile", "a member that leads out of it")
    assert {p.name for p in tmp_path.iterdir()} == {"in", "w"}


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
)
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, tmp_path: Path) -> None:
    info = tarfile.TarInfo("a/link")
    info.type, info.linkname = kind, "/etc/passwd"
    archive = written(tmp_path / "in", tar_of((info, b"")), ".tar")
    assert_refused(archive, tmp_path / "w" / "out", "hostile", "is no file: 'a/link'")


def test_a_member_without_a_name_is_refused(tmp_path: Path) -> None:
    content = zip_of({"a": b"1"}).replace(b"a", b"\0")
    archive = written(tmp_path / "in", content)
    assert_refused(archive, tmp_path / "w" / "out", "hostile", "a member without a name")


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("a/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        target.writestr(info, "/etc/passwd")
    archive = written(tmp_path / "in", buffer.getvalue())
    assert_refused(archive, tmp_path / "w" / "out", "hostile", "is no file: 'a/link'")


@pytest.mark.parametrize("suffix", [".zip", ".tgz"])
def test_bombs_are_refused_before_they_are_unpacked(suffix: str, tmp_path: Path) -> None:
    archive = written(tmp_path / "in", PACKERS[suffix]({"zeros": bytes(80 * 2**20)}), suffix)
    assert_refused(archive, tmp_path / "w" / "out", "hostile", "100 times its size")
    with pytest.raises(SceneError, match="100 times its size"):  # wanted or not
        unpack(archive, tmp_path / "w" / "out", lambda name: name == "other", most=MOST)


def test_flat_images_are_no_bombs(tmp_path: Path) -> None:
    archive = written(tmp_path / "in", tgz_of({"zeros": bytes(20 * 2**20)}), ".tgz")
    into = unpack(archive, tmp_path / "w" / "out", everything, most=MOST)
    assert (into / "zeros").stat().st_size == 20 * 2**20


@pytest.mark.parametrize("suffix", PACKERS)
def test_more_than_allowed_is_refused(suffix: str, tmp_path: Path) -> None:
    archive = written(tmp_path / "in", PACKERS[suffix](CONTENTS), suffix)
    into = tmp_path / "w" / "out"
    assert_refused(archive, into, "hostile", "max_unpacked = 1700 bytes", most=1700)
    assert files_of(unpack(archive, into, everything, most=1701)) == CONTENTS


def test_a_giant_header_of_a_tar_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 40 * 2**20
    content = info.tobuf(tarfile.USTAR_FORMAT) + bytes(40 * 2**20)
    archive = written(tmp_path / "in", gzip.compress(content), ".tgz")
    assert_refused(archive, tmp_path / "w" / "out", "hostile", "a header of 41943040 bytes")


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.scenes.unpack.MEMBERS", 3)
    archive = written(tmp_path / "in", zip_of(CONTENTS))
    assert_refused(archive, tmp_path / "w" / "out", "hostile", "more than 3 members")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_cross_each_other_are_refused(tmp_path: Path) -> None:
    into = tmp_path / "w" / "out"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        target.writestr("same", "1")
        target.writestr("same", "2")
    assert_refused(written(tmp_path / "1", buffer.getvalue()), into, "hostile", "cross each other")
    archive = written(tmp_path / "2", plain_tar_of({"a": b"1", "a/b": b"2"}), ".tar")
    assert_refused(archive, into, "hostile", "cross each other")
    archive = written(tmp_path / "3", zip_of({"x" * 300: b"1"}))
    assert_refused(archive, into, "hostile", "are too long")


def test_an_encrypted_archive_is_unsupported(tmp_path: Path) -> None:
    content = bytearray(zip_of({"a": b"1"}))
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    archive = written(tmp_path / "in", bytes(content))
    assert_refused(archive, tmp_path / "w" / "out", "unsupported", "is encrypted")


def test_an_unknown_compression_is_unsupported(tmp_path: Path) -> None:
    content = bytearray(zip_of({"a": b"1"}))
    content[8] = content[content.index(b"PK\1\2") + 10] = 97
    archive = written(tmp_path / "in", bytes(content))
    assert_refused(archive, tmp_path / "w" / "out", "unsupported", "compression")


def test_a_tar_that_goes_on_after_its_end_is_refused(tmp_path: Path) -> None:
    content = gzip.compress(plain_tar_of(CONTENTS) + bytes(70 * 2**20))
    archive = written(tmp_path / "in", content, ".tgz")
    assert_refused(archive, tmp_path / "w" / "out", "hostile", "goes on for more than")


# damage


@pytest.mark.parametrize("suffix", PACKERS)
def test_what_has_not_arrived_whole_is_unreadable(suffix: str, tmp_path: Path) -> None:
    whole = PACKERS[suffix](CONTENTS)
    end = len(whole.rstrip(b"\0")) if suffix == ".tar" else len(whole)
    for left in (0, 1, 3, 100, end // 2, end - 1):
        archive = written(tmp_path / "in", whole[:left], suffix)
        assert_refused(archive, tmp_path / "w" / "out", "unreadable", "has not arrived whole")


def test_a_tar_that_ends_between_members_is_unreadable(tmp_path: Path) -> None:
    whole = plain_tar_of({"a": b"1" * 512, "b": b"2" * 512})
    archive = written(tmp_path / "in", whole[:1024], ".tar")
    assert_refused(archive, tmp_path / "w" / "out", "unreadable", "without an end mark")
    damaged = bytearray(whole)
    damaged[1024 + 150] ^= 1  # the checksum of the second header
    archive = written(tmp_path / "in", bytes(damaged), ".tar")
    assert_refused(archive, tmp_path / "w" / "out", "unreadable", "without an end mark")


def test_an_archive_that_is_gone_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    assert_refused(tmp_path / "no.zip", tmp_path / "w" / "out", "unreadable", "No such file")


def test_a_full_disk_is_no_fault_of_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:  # noqa: ARG001
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    archive = written(tmp_path / "in", zip_of(CONTENTS))
    with pytest.raises(DiskFullError, match=r"No space left on device.*make room"):
        unpack(archive, tmp_path / "w" / "out", everything, most=2**20)
    assert not list((tmp_path / "w").glob("*"))


@given(st.sampled_from(sorted(PACKERS)), st.data())
def test_damage_is_an_error_or_does_no_harm(suffix: str, data: st.DataObject) -> None:
    """Any byte may be another one: no content comes out changed, or there is one clear error.

    A plain tar has no checksum of its contents: there only the kind of error counts.
    """
    whole = bytearray(PACKERS[suffix](CONTENTS))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        archive = written(Path(folder) / "in", bytes(whole), suffix)
        try:
            into = unpack(archive, Path(folder) / "w" / "out", everything, most=2**20)
        except SceneError as error:
            reasons, left = {error.reason}, list((Path(folder) / "w").glob("*"))
            assert (reasons <= {"unreadable", "hostile", "unsupported"}, left) == (True, [])
        else:
            if suffix != ".tar":
                assert set(files_of(into).values()) <= set(CONTENTS.values())
            assert all(path.resolve().is_relative_to(folder) for path in into.rglob("*"))
