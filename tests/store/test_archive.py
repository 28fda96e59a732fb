"""A file that is no whole backup is refused with a word on what is wrong, and nothing of it is restored."""

import io
import json
import tarfile

import pytest

from medfusion_jupyter.store.archive import FORMAT, HEADER, Archive, ArchiveWriter, BadArchive, Manifest
from medfusion_jupyter.store.backup import back_up
from medfusion_jupyter.store.errors import BackupTooNew
from medfusion_jupyter.store.restore import restore


@pytest.fixture
def archive(sqlite_store, medfusion_home, tmp_path):
    """A backup of a store with a row and a file."""
    sqlite_store.workflows.create("flow", nodes=[{"id": 1}])
    folder = medfusion_home / "datasets" / "abc"
    folder.mkdir(parents=True)
    (folder / "table.csv").write_text("a,b\n" * 1000)
    back_up(sqlite_store.engine, tmp_path / "b.tar")
    return tmp_path / "b.tar"


def members(path):
    with tarfile.open(path, "r:") as tar:
        return tar.getmembers()


def test_a_file_that_is_cut_off_anywhere_is_refused(archive):
    whole = archive.read_bytes()
    last = members(archive)[-1]
    ends = [*range(0, last.offset_data, 700), last.offset_data, last.offset_data + last.size - 1]
    for end in ends:
        archive.write_bytes(whole[:end])
        with pytest.raises(BadArchive, match=r"b\.tar (is cut off|is no backup|is damaged).*Nothing was restored"):
            Archive(archive)
    archive.write_bytes(whole)
    Archive(archive).close()


def test_a_byte_that_was_changed_is_found(archive):
    whole = archive.read_bytes()
    for member in members(archive):
        for place in (member.offset, member.offset_data + member.size // 2):
            if place == member.offset_data and not member.size:
                continue
            damaged = bytearray(whole)
            damaged[place] ^= 1
            archive.write_bytes(damaged)
            with pytest.raises(BadArchive, match=r"is damaged|is cut off or damaged|is no backup"):
                Archive(archive)


@pytest.mark.parametrize("contents", [b"", b"not a tar at all, " * 100, b"\0" * 10240])
def test_a_file_that_is_no_tar_is_no_backup(tmp_path, contents):
    (tmp_path / "notes.tar").write_bytes(contents)
    with pytest.raises(BadArchive, match=r"notes\.tar is (no backup of MedFusion|cut off or damaged)"):
        Archive(tmp_path / "notes.tar")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadArchive, match=r"none\.tar cannot be read: No such file"):
        Archive(tmp_path / "none.tar")


def test_another_tar_is_no_backup(tmp_path):
    (tmp_path / "photo.jpg").write_text("x")
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(tmp_path / "photo.jpg", "photo.jpg")
    with pytest.raises(BadArchive, match=r"photos\.tar is no backup of MedFusion: it begins with 'photo\.jpg'"):
        Archive(tmp_path / "photos.tar")


def crafted(path, member, header=None):
    with tarfile.open(path, "w") as tar:
        data = json.dumps(header or {"format": FORMAT}).encode()
        first = tarfile.TarInfo(HEADER)
        first.size = len(data)
        tar.addfile(first, io.BytesIO(data))
        tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


@pytest.mark.parametrize(
    "name",
    [
        "files/jobs/../../../evil",
        "files/../evil",
        "../evil",
        "/etc/evil",
        "files//etc/evil",
        "files/jobs/./evil",
        "files/cache/evil",
        "files/medfusion.db",
        "files/jobs",
        "tables/../evil.jsonl",
        "evil",
        HEADER,
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(tmp_path, name):
    member = tarfile.TarInfo(name)
    member.size = 4
    with pytest.raises(BadArchive, match=r"would not lie in"):
        Archive(crafted(tmp_path / "evil.tar", member))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_what_is_no_plain_file_is_refused(tmp_path, kind):
    member = tarfile.TarInfo("files/jobs/job_0001")
    member.type, member.linkname = kind, "/etc"
    with pytest.raises(BadArchive, match=r"'files/jobs/job_0001', which is not a plain file"):
        Archive(crafted(tmp_path / "evil.tar", member))


def test_a_later_format_is_refused(tmp_path):
    path = crafted(tmp_path / "later.tar", tarfile.TarInfo("new"), {"format": FORMAT + 1})
    with pytest.raises(BadArchive, match=r"has format 2.*Upgrade medfusion-jupyter"):
        Archive(path)


def test_a_backup_of_a_newer_schema_is_refused(sqlite_store, tmp_path):
    writer = ArchiveWriter(tmp_path / "new.tar")
    writer.finish(Manifest("9999", ["/home"], True, {}, {}, {}, "2026-01-01"))
    with pytest.raises(BackupTooNew, match=r"9999.*Upgrade medfusion-jupyter"):
        restore(sqlite_store.engine, tmp_path / "new.tar")
