"""Where things are kept: MEDFUSION_HOME, the database in it, and what kind of file system that is."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smbfs", "smb3", "afs", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "fuse.sshfs", "9p"}
)


def home() -> Path:
    """The folder of everything MedFusion keeps: MEDFUSION_HOME, by default `medfusion` in Jupyter's data directory."""
    given = os.environ.get("MEDFUSION_HOME")
    if given:
        return Path(given).expanduser().absolute()
    from jupyter_core.paths import jupyter_data_dir

    return Path(jupyter_data_dir()) / "medfusion"


def database_url() -> str:
    """MEDFUSION_DATABASE_URL, by default the SQLite file `medfusion.db` under `home()`."""
    return os.environ.get("MEDFUSION_DATABASE_URL") or f"sqlite:///{home() / 'medfusion.db'}"


def queue_bell() -> Path:
    """A file whose change tells the servers of this home to look at the queue: they leave the database alone meanwhile."""
    return home() / "queue.bell"


def network_file_system(folder: Path) -> str | None:
    """The kind of network file system that `folder` lies on, or None on a local one."""
    path = str(folder.resolve())
    mounts = [
        p for p in psutil.disk_partitions(all=True) if path == p.mountpoint or path.startswith(_below(p.mountpoint))
    ]
    kind = max(mounts, key=lambda p: len(p.mountpoint)).fstype.lower() if mounts else ""
    return kind if kind in NETWORK_FILE_SYSTEMS else None


def _below(mountpoint: str) -> str:
    return mountpoint.rstrip("/") + "/"
