"""The file of a backup: a tar with a header, files, tables, a manifest with the digest of each, and the manifest's digest.

The digests come last, so that a file that was cut off lacks them.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from medfusion_jupyter.store.durable_files import TEMPORARY, lock, write_durably
from medfusion_jupyter.store.errors import StoreError

FORMAT = 1
FOLDERS = ("jobs", "models", "datasets")
"""What is carried of the folders under the home: not the cache, which is made again, and not the trash."""

HEADER = "medfusion-backup.json"
MANIFEST = "manifest.json"
SEAL = "manifest.sha256"
CHUNK = 1 << 20


class BadArchive(StoreError):
    """A file that cannot be restored from."""


@dataclass(frozen=True)
class Manifest:
    """What an archive says of itself.

    revision: schema of its rows; homes: where its files lay, as it may stand in rows; with_files: False where it holds rows
    alone; columns, rows: names of the columns and number of rows by table; given_ids: highest id that each table ever gave.
    """

    revision: str
    homes: list[str]
    with_files: bool
    columns: dict[str, list[str]]
    rows: dict[str, int]
    given_ids: dict[str, int]
    made_at: str


def below(path: str, homes: list[str]) -> PurePosixPath | None:
    """The part of `path` after one of `homes`; None where it does not lie in any."""
    if ".." in PurePosixPath(path).parts:
        return None
    for home in homes:
        if PurePosixPath(path).is_relative_to(home) and PurePosixPath(path) != PurePosixPath(home):
            return PurePosixPath(path).relative_to(home)
    return None


class ArchiveWriter:
    """Fills the archive at `path`; it is one once `finish` has returned."""

    def __init__(self, path: Path) -> None:
        # they are closed by `close`: what writes a part of it may fail
        self._file = open(path, "wb")  # noqa: SIM115
        lock(self._file)
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._digests: dict[str, str] = {}
        self._add_json(HEADER, {"format": FORMAT})
        self._file.flush()  # by its header and its lock `delete_unfinished` knows it

    def add_file(self, relative: str, file: IO[bytes], size: int) -> None:
        """Carry a file that lies at `relative` under the home."""
        self._add(f"files/{relative}", file, size)

    def add_table(self, name: str, lines: IO[bytes]) -> None:
        """Carry the rows of a table, one JSON list a line."""
        size = lines.seek(0, io.SEEK_END)
        lines.seek(0)
        self._add(f"tables/{name}.jsonl", lines, size)

    def finish(self, manifest: Manifest) -> None:
        """Say what the archive holds."""
        self._add_json(MANIFEST, {**asdict(manifest), "sha256": dict(self._digests)})
        seal = self._digests[MANIFEST].encode()
        self._add(SEAL, io.BytesIO(seal), len(seal))
        self._tar.close()
        self._file.flush()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _add_json(self, name: str, value: Mapping[str, Any]) -> None:
        data = json.dumps(value).encode()
        self._add(name, io.BytesIO(data), len(data))

    def _add(self, name: str, file: IO[bytes], size: int) -> None:
        member = tarfile.TarInfo(name)
        member.size = size
        reader = _Digesting(file)
        self._tar.addfile(member, reader)
        self._digests[name] = reader.digest.hexdigest()


def delete_unfinished(folder: Path) -> None:
    """Delete the archives in `folder` whose writers were killed: they have their temporary names still, and nobody's lock."""
    for path in folder.glob(".*.tmp"):
        if TEMPORARY.fullmatch(path.name):
            with suppress(OSError), open(path, "rb") as file:
                if file.read(len(HEADER)) == HEADER.encode() and lock(file):
                    path.unlink()


class _Digesting(io.RawIOBase):
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


class Archive:
    """An archive that was found whole. Raises BadArchive where it is not; nothing of it is believed before that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._members: dict[str, tarfile.TarInfo] = {}
        self._digests: dict[str, str] = {}
        try:
            self._tar = tarfile.open(path, "r:")  # noqa: SIM115 (closed by `close`)
        except tarfile.TarError as error:
            raise self._bad(f"is no backup of MedFusion: {error}") from error
        except OSError as error:
            raise self._bad(f"cannot be read: {error.strerror or error}") from error
        try:
            self.manifest = self._verify()
        except BadArchive:
            self.close()
            raise
        except tarfile.ReadError as error:
            self.close()
            raise self._bad(f"is cut off or damaged: {error}") from error
        except (tarfile.TarError, OSError, EOFError, ValueError, KeyError, TypeError) as error:
            self.close()
            raise self._bad(f"is damaged: {error!r}") from error

    def close(self) -> None:
        """Let go of the file."""
        self._tar.close()

    def files(self) -> list[str]:
        """Where the files lie under the home."""
        return [name.removeprefix("files/") for name in self._members if name.startswith("files/")]

    def is_copy(self, relative: str, file: Path) -> bool:
        """Whether `file` has the contents of the archive's file `relative`."""
        name = f"files/{relative}"
        if not file.is_file() or file.stat().st_size != self._members[name].size:
            return False
        with open(file, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() == self._digests[name]

    def extract(self, relative: str, target: Path) -> None:
        """Write the file `relative` to `target`, durably."""

        def write(temporary: Path) -> None:
            with open(temporary, "xb") as file:
                for data in self._chunks(self._members[f"files/{relative}"]):
                    file.write(data)

        write_durably(target, write)

    def lines(self, table: str) -> Iterator[list[Any]]:
        """The rows of a table."""
        member = self._tar.extractfile(self._members[f"tables/{table}.jsonl"])
        assert member is not None
        for line in member:
            yield json.loads(line)

    def _verify(self) -> Manifest:
        last = ""
        for member in self._tar:
            if not last:
                self._check_header(member)
            last = self._checked_name(member)
            digest = hashlib.sha256()
            for data in self._chunks(member):
                digest.update(data)
            self._members[last] = member
            self._digests[last] = digest.hexdigest()
        if last != SEAL:
            raise self._bad(f"is cut off or damaged: it ends after {last or 'nothing'}, not after {SEAL}")
        if MANIFEST not in self._members or self._read(SEAL).decode("ascii", "replace") != self._digests[MANIFEST]:
            raise self._bad(f"is damaged: {MANIFEST} is not as it was written")
        values = json.loads(self._read(MANIFEST))
        written = values.pop("sha256")
        there = self._digests.keys() - {MANIFEST, SEAL}
        if there != written.keys():
            raise self._bad(f"is damaged: it lacks or adds {', '.join(sorted(there ^ written.keys())[:5])}")
        changed = sorted(name for name in there if self._digests[name] != written[name])
        if changed:
            raise self._bad(f"is damaged: {', '.join(changed[:5])} not as it was written")
        manifest = Manifest(**values)
        if {f"tables/{name}.jsonl" for name in manifest.rows} != {name for name in there if name.startswith("tables/")}:
            raise self._bad("is damaged: its tables are not those that its manifest names")
        return manifest

    def _check_header(self, member: tarfile.TarInfo) -> None:
        if member.name != HEADER or not member.isreg() or member.size > CHUNK:
            raise self._bad(f"is no backup of MedFusion: it begins with {member.name!r}, not with {HEADER!r}")
        found = json.loads(b"".join(self._chunks(member)))["format"]
        if found != FORMAT:
            raise self._bad(
                f"has format {found!r}, this version of MedFusion reads {FORMAT}. Upgrade medfusion-jupyter"
            )

    def _checked_name(self, member: tarfile.TarInfo) -> str:
        # what is not a plain file could lead out of the home, as a link does
        if member.type != tarfile.REGTYPE or member.sparse is not None or member.size < 0:
            raise self._bad(f"holds {member.name!r}, which is not a plain file")
        name = member.name
        parts = name.split("/")
        sound = not {"", ".", ".."} & set(parts) and "\0" not in name and name not in self._members
        room, *rest = parts
        known = (
            name in (HEADER, MANIFEST, SEAL)
            or (room == "tables" and len(rest) == 1 and rest[0].endswith(".jsonl"))
            or (room == "files" and len(rest) > 1 and rest[0] in FOLDERS)
        )
        if not sound or not known:
            raise self._bad(f"holds {name!r}, which would not lie in {', '.join(FOLDERS)} of the home")
        return name

    def _chunks(self, member: tarfile.TarInfo) -> Iterator[bytes]:
        file = self._tar.extractfile(member)
        assert file is not None
        left = member.size
        while left:
            data = file.read(min(CHUNK, left))
            if not data:
                raise self._bad(f"is cut off: it ends within {member.name}")
            left -= len(data)
            yield data

    def _read(self, name: str) -> bytes:
        return b"".join(self._chunks(self._members[name]))

    def _bad(self, what: str) -> BadArchive:
        return BadArchive(f"{self.path} {what}. Nothing was restored.")
