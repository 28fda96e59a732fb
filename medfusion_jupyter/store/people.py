"""Who does something, and what is whose."""

from __future__ import annotations

import getpass
import os

from medfusion_jupyter.store.errors import NotYours


def current_person() -> str:
    """The person this process works for: JupyterHub's user where there is one, else the user of the system."""
    hub = os.environ.get("JUPYTERHUB_USER")
    if hub:
        return hub
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"user {os.getuid()}"


def configured_admins() -> frozenset[str]:
    """The people of MEDFUSION_ADMINS, separated by commas: they may change what others own."""
    return frozenset(name.strip() for name in os.environ.get("MEDFUSION_ADMINS", "").split(",") if name.strip())


def refuse_stranger(owner: str | None, by: str, admins: frozenset[str], what: str) -> None:
    """Raise NotYours where `by` is neither the owner of a row nor an admin; a row without an owner is everyone's."""
    if owner is not None and by != owner and by not in admins:
        raise NotYours(what, owner=owner, by=by)
