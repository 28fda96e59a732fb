"""What the store refuses, and why."""

from __future__ import annotations

from collections.abc import Collection


class StoreError(RuntimeError):
    """Something that the store did not do."""


class UnknownId(StoreError, LookupError):
    """Nothing is stored under that id or name."""

    def __init__(self, kind: str, wanted: object, there: Collection[str]) -> None:
        known = f"The newest: {', '.join(there)}." if there else f"No {kind} is stored yet."
        super().__init__(f"There is no {kind} {wanted!r}. {known}")
        self.kind = kind
        self.wanted = wanted


class BadValue(StoreError, ValueError):
    """Something asked for in a way that cannot be."""


class CheckpointGone(BadValue):
    """A checkpoint whose file is not there: its run may have gone on since, and deleted what it keeps no longer."""


class IllegalTransition(StoreError):
    """A move that the job's status does not allow."""

    def __init__(self, job_id: str, *, current: str, wanted: str, allowed: Collection[str], instead: str = "") -> None:
        """instead: a sentence that says what to do."""
        when = f"possible when it is {' or '.join(allowed)}" if allowed else "never possible"
        super().__init__(f"{job_id} is {current}: '{wanted}' is {when}. {instead}".rstrip())
        self.job_id = job_id
        self.current = current
        self.wanted = wanted


class RunReplaced(StoreError):
    """Another run has taken the job over; the one that wrote must stop writing."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"Another run has taken {job_id} over.")


class NameTaken(StoreError):
    """A name that must be unique is in use."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"There is a {kind} named {name!r} already: choose another name.")


class Conflict(StoreError):
    """Two changes of one thing: the later was made on what is no longer there."""

    def __init__(self, what: str, *, seen: object, now: object) -> None:
        super().__init__(
            f"{what} was changed meanwhile: you saw {seen}, it is at {now}. Load it again and repeat the change."
        )


class NotYours(StoreError):
    """A change of something that another person owns."""

    def __init__(self, what: str, *, owner: str, by: str) -> None:
        super().__init__(f"{what} belongs to {owner}: {by} may look at it, but only {owner} or an admin may change it.")


class InUse(StoreError):
    """Something that cannot be deleted, because other things stand on it."""

    def __init__(self, what: str, dependants: Collection[str]) -> None:
        depend, those = ("depends", "that") if len(dependants) == 1 else ("depend", "those")
        super().__init__(
            f"{what} cannot be deleted: {', '.join(dependants)} {depend} on it. Delete or change {those} first."
        )


class Elsewhere(StoreError):
    """Files that are not under this MEDFUSION_HOME: another server's, perhaps, that shares the database."""


class DatabaseTrouble(StoreError):
    """The database did not do its part: it is locked, full, read-only or away. Nothing was written; it may be tried again."""


class DatabaseTooNew(StoreError):
    """The database was written by a newer version of MedFusion."""

    def __init__(self, where: str, revision: str, known: str) -> None:
        super().__init__(
            f"The database {where} has schema {revision!r}, which this version of MedFusion does not know (its own is "
            f"{known!r}). Upgrade medfusion-jupyter, or set MEDFUSION_HOME to another folder."
        )


class BackupTooNew(StoreError):
    """The backup was written by a newer version of MedFusion."""

    def __init__(self, where: object, revision: str, known: str) -> None:
        super().__init__(
            f"The backup {where} has schema {revision!r}, which this version of MedFusion does not know (its own is "
            f"{known!r}). Upgrade medfusion-jupyter, and restore it then."
        )
