"""The certificates of an edge: taken from folders and Secrets, kept in the state folder, and brought to HAProxy.

In the state folder each lies under its name and a digest of its content, and the file `list.txt` says which are served. So
HAProxy's own list of files says what it holds; a renewed one is added before the old one is taken out, and whoever is
killed in between, the next look finishes it. HAProxy starts with what the list says when all else is away.
"""

import logging
import os
import re
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from shopset.core.errors import ShopsetError
from shopset.edge.certificates import (
    Bundle,
    Certificate,
    CertificateError,
    Remark,
    bundle,
    digest,
    owners,
    remarks_of_owners,
    remarks_of_time,
    shadowed,
)
from shopset.edge.hostmap import hosts_in
from shopset.edge_agent.certificate_sources import Item, Source
from shopset.edge_agent.runtime import MAX_PAYLOAD, HaproxyAwayError, Runtime, RuntimeApiError

LIST: Final = "list.txt"
"""The file that HAProxy's `crt-list` names, in the folder of certificates."""
AT_ONCE: Final = 1000
"""Certificates that are added at run time, each of which holds HAProxy up for a millisecond or two; more take a reload."""
_NAME: Final = re.compile(r"[A-Za-z0-9_*@-][A-Za-z0-9._*@-]*\Z")
_COPY: Final = re.compile(r"(?P<name>.+)\.(?P<digest>[0-9a-f]{16})\.pem\Z")
_NEW: Final = ".new"
_GRACE: Final = 900.0
"""Seconds that a file stays which is served no longer: HAProxy may be starting with the list of before."""
_JUDGE: Final = timedelta(minutes=1)
"""After which time alone is looked at."""
_SYNC_ONE_BY_ONE: Final = 16
"""More files than that are brought to the disk at one stroke: each by itself takes some milliseconds."""
_MANY: Final = 100
"""Certificates that may go away at once, or a tenth of all where that is more. All of several never do."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Served:
    """A certificate as it lies in the state folder."""

    file: str
    certificate: Certificate


@dataclass(slots=True)
class _Entry:
    """What is known of a certificate."""

    stamp: object = None
    """Of what was looked at last; None is looked at again."""
    trouble: str = ""
    """Why what the source has is not served."""
    served: Served | None = None
    """What was good last."""
    before: Served | None = None
    """What HAProxy took last, where it has not been told of `served` yet."""


@dataclass(frozen=True)
class Brought:
    """What was done to HAProxy."""

    added: int = 0
    removed: int = 0
    needs_reload: bool = False
    """Something can't be done at run time; HAProxy's next start does it."""


@dataclass
class Certificates:
    """The certificates of one edge. Used by one thread at a time."""

    folder: Path
    """In the state folder."""
    sources: Sequence[Source]
    clock: Callable[[], float] = time.monotonic
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _remarks: tuple[Remark, ...] = ()
    _of_owners: tuple[Remark, ...] = ()
    _of_sources: tuple[Remark, ...] = ()
    _judged: datetime | None = None
    """When all was judged and written last; None where that is to be done."""
    _unsynced: list[Path] = field(default_factory=list)
    _openssl: ssl.SSLContext = field(default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    _leftovers: dict[str, float] = field(default_factory=dict)
    """Files that are served no longer -> since when."""

    def __post_init__(self) -> None:
        """Take up what was served before. Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in self._listed():
            if (match := _COPY.match(file)) and (served := _copy(self.folder / file, match["digest"])):
                self._entries[match["name"]] = _Entry(served=served)

    # -- the steps

    def look(self, now: datetime) -> bool:
        """Take what is new in the sources, and write what HAProxy is to serve. Returns whether that has changed.

        Raises OSError where the state folder can't be written; HAProxy goes on with what it has.
        """
        remarks: list[Remark] = []
        items, is_whole = self._scan(remarks)
        present = self._present()
        is_news = LIST not in present
        for name, item in items.items():
            entry = self._entries.setdefault(name, _Entry())
            has_lost_copy = entry.served is not None and entry.served.file not in present
            if item.stamp is None or item.stamp != entry.stamp or has_lost_copy:
                is_news = True
                self._take(name, item, entry, now)
        if is_whole:
            is_news |= self._drop(self._entries.keys() - items.keys(), present, remarks)
        is_news |= tuple(remarks) != self._of_sources
        if self._judged and not is_news and now - self._judged < _JUDGE:
            return False
        self._of_sources, self._judged = tuple(remarks), None
        self._sync()
        has_changed = self._write_list(now, remarks)
        remarks += [Remark(name, "Refused", each.trouble) for name, each in self._entries.items() if each.trouble]
        remarks += remarks_of_time(self.served(), now)
        self._remarks, self._judged = tuple(remarks), now
        self._tidy()
        return has_changed

    def bring(self, runtime: Runtime, now: datetime) -> Brought:
        """Make HAProxy serve what the list says: what is new first, so that no name is without one meanwhile.

        Raises HaproxyAwayError; RuntimeApiError where HAProxy has no such list; OSError.
        """
        listing = self.folder / LIST
        held = _held(runtime, listing)
        missing = sorted(set(self._listed()) - held)
        if len(missing) > AT_ONCE:
            return Brought(needs_reload=True)
        known = _settled(runtime)
        too_large = [file for file in missing if not self._add(runtime, file, str(self.folder / file) in known)]
        # One that HAProxy refused has made way for the one before it.
        self._write_list(now, [])
        wanted = set(self._listed())
        # What is too large to be added must not cost the one before it.
        going = [] if too_large else sorted(held - wanted)
        for file in going:
            path = self.folder / file
            _tell(runtime, f"del ssl crt-list {listing} {path}", "deleted")
            runtime.ask(f"del ssl cert {path}")
        for each in map(Path, known):
            if each.parent == self.folder and each.name not in held | wanted:
                # Somebody took it out of the list, and did not come to the end.
                runtime.ask(f"del ssl cert {each}")
        for entry in self._entries.values():
            entry.before = entry.before if too_large else None
        return Brought(len(wanted.intersection(missing)) - len(too_large), len(going), bool(too_large))

    def check_owners(self, maps: Iterable[Path]) -> None:
        """Compare the names with the hosts that are routed, by the maps of hosts, the later ones last.

        That reads a million lines, so it is for when something changed, not for every look. Raises OSError.
        """
        served = self.served()
        names = {name for each in served.values() for name in each.names}
        self._of_owners = tuple(remarks_of_owners(served, owners(names, _hosts(maps))))

    # -- telling

    def served(self) -> dict[str, Certificate]:
        """Return the certificates that are good, by name, also those that others stand before."""
        return {name: each.served.certificate for name, each in self._entries.items() if each.served}

    def remarks(self) -> list[Remark]:
        """Return what a person should know."""
        of_owners = [each for each in self._of_owners if each.name in self._entries]
        return sorted([*self._remarks, *of_owners], key=lambda each: (each.name, each.reason, each.message))

    def counts(self) -> dict[str, int]:
        """Count the certificates by state: `served`, and of those `expiring` and `expired`; `refused`."""
        reasons = [each.reason for each in self._remarks]
        return {
            "served": len(self.served()),
            "expiring": reasons.count("Expiring"),
            "expired": reasons.count("Expired"),
            "refused": reasons.count("Refused"),
        }

    def first_expiry(self) -> datetime | None:
        """Return when the first of those that HAProxy is given expires."""
        behind = {each.name for each in self._remarks if each.reason == "Shadowed"}
        return min((each.not_after for name, each in self.served().items() if name not in behind), default=None)

    # -- taking

    def _scan(self, remarks: list[Remark]) -> tuple[dict[str, Item], bool]:
        """Return what the sources have, and whether all could say so."""
        found: dict[str, Item] = {}
        is_whole = True
        for source in self.sources:
            try:
                items = source.scan()
            except ShopsetError as error:
                remarks.append(Remark(source.name, "Unread", f"{error}. Its certificates stay as they are"))
                is_whole = False
                continue
            for name, item in items.items():
                if not _NAME.match(name):
                    remarks.append(Remark(name, "Refused", "a name has letters, digits and ._-*@ only"))
                elif name in found:
                    remarks.append(Remark(name, "Refused", f"{source.name} has one whose name another source has too"))
                else:
                    found[name] = item
        return found, is_whole

    def _take(self, name: str, item: Item, entry: _Entry, now: datetime) -> None:
        """Take what a source has, or note why not: then what was good last stays. Raises OSError for the state folder."""
        # What is not judged to its end is looked at again, and so is what time may mend.
        entry.stamp = None
        try:
            made = _made(item)
            file = f"{name}.{made.digest}.pem"
            is_new = entry.served is None or entry.served.file != file
            entry.trouble = _untimely(made.certificate, now) if is_new else ""
            if entry.trouble:
                return
            self._keep(file, made)
        except CertificateError as error:
            entry.trouble, entry.stamp = str(error), item.stamp
            return
        entry.stamp = item.stamp
        if is_new:
            entry.before = entry.before or entry.served
            entry.served = Served(file, made.certificate)

    def _keep(self, file: str, made: Bundle) -> None:
        """Write a copy, of which OpenSSL finds that the key is the certificate's. Raises CertificateError, OSError."""
        path, new = self.folder / file, self.folder / _NEW
        if path.exists() and digest(path.read_bytes()) == made.digest:
            return
        try:
            _write(new, made.text)
            _check(self._openssl, new)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        new.replace(path)
        self._unsynced.append(path)

    def _sync(self) -> None:
        """Have the copies on the disk before the list names them: HAProxy would not start with half of one."""
        if len(self._unsynced) > _SYNC_ONE_BY_ONE:
            os.sync()
        else:
            for path in self._unsynced:
                with suppress(FileNotFoundError), path.open("rb") as file:
                    os.fsync(file.fileno())
        self._unsynced.clear()

    def _drop(self, gone: Iterable[str], present: set[str], remarks: list[Remark]) -> bool:
        """Forget what no source has any more, but where that are suspiciously many. Returns whether anything was.

        An unmounted volume is an empty folder. Whoever means it removes the copies in the state folder as well.
        """
        served = self.served()
        lost = {name for name in gone if name in served}
        suspicious = len(lost) > max(_MANY, len(served) // 10) or (len(lost) == len(served) and len(lost) > 1)
        kept = {name for name in lost if suspicious and self._file(name) in present}
        if kept:
            message = (
                f"{len(lost)} of {len(served)} certificates are gone from their sources at once, and still served."
                f" Where that is meant, remove their files from {self.folder}"
            )
            remarks.append(Remark(str(self.folder), "Kept", message))
        going = set(gone) - kept
        for name in going:
            del self._entries[name]
        return bool(going)

    def _file(self, name: str) -> str:
        served = self._entries[name].served
        return served.file if served else ""

    # -- the state folder

    def _listed(self) -> list[str]:
        """Return the files that are served, as HAProxy's next start would find them."""
        try:
            lines = (self.folder / LIST).read_text().splitlines()
        except FileNotFoundError:
            return []
        return [Path(line).name for line in lines if line and not line.startswith("#")]

    def _present(self) -> set[str]:
        with os.scandir(self.folder) as entries:
            return {entry.name for entry in entries}

    def _write_list(self, now: datetime, remarks: list[Remark]) -> bool:
        """Write which are served. Returns whether that has changed. Raises OSError."""
        behind = shadowed(self.served(), now)
        remarks += [
            Remark(name, "Shadowed", f"{other} has all its names, and is served") for name, other in behind.items()
        ]
        files = [self._file(name) for name in sorted(self.served()) if name not in behind]
        text = "".join(f"{self.folder / file}\n" for file in files)
        path, new = self.folder / LIST, self.folder / _NEW
        if path.exists() and path.read_text() == text:
            return False
        _write(new, text)
        self._unsynced.append(new)
        self._sync()
        new.replace(path)
        return True

    def _tidy(self) -> None:
        """Remove files that have not been served for a while."""
        copies = [copy for entry in self._entries.values() for copy in (entry.served, entry.before) if copy]
        needed = {LIST, *(copy.file for copy in copies)}
        now = self.clock()
        unneeded = self._present() - needed
        self._leftovers = {file: self._leftovers.get(file, now) for file in unneeded}
        for file, since in self._leftovers.items():
            if now - since >= _GRACE:
                with suppress(OSError):
                    (self.folder / file).unlink()

    # -- HAProxy

    def _add(self, runtime: Runtime, file: str, is_known: bool) -> bool:
        """Add a certificate, or make way where HAProxy refuses it. Returns False where it is too large for that."""
        path = self.folder / file
        text = path.read_text()
        if len(text) > MAX_PAYLOAD:
            return False
        try:
            if is_known:
                # Whoever began to add it did not come to the end.
                runtime.ask(f"del ssl cert {path}")
            _tell(runtime, f"new ssl cert {path}", "New empty")
            _tell(runtime, f"set ssl cert {path}", "Transaction", text.splitlines())
            _tell(runtime, f"commit ssl cert {path}", "Success!")
            _tell(runtime, f"add ssl crt-list {self.folder / LIST} {path}", "Success!")
        except HaproxyAwayError:
            raise
        except RuntimeApiError as error:
            runtime.ask(f"abort ssl cert {path}")
            runtime.ask(f"del ssl cert {path}")
            self._refuse(file, error.words)
        return True

    def _refuse(self, file: str, words: str) -> None:
        """Go back to what was served before: HAProxy would not start with a list that has what it refuses."""
        self._judged = None
        for entry in self._entries.values():
            if entry.served and entry.served.file == file:
                entry.trouble = f"HAProxy refuses it: {words}"
                entry.served, entry.before = entry.before, None


def _made(item: Item) -> Bundle:
    """Read a certificate of a source. Raises CertificateError."""
    try:
        return bundle(*item.read())
    except OSError as error:
        raise CertificateError(f"can't be read: {error.strerror}") from error
    except ShopsetError as error:
        raise CertificateError(str(error)) from error


def _untimely(certificate: Certificate, now: datetime) -> str:
    """Return why a certificate that is not served yet is not valid now; nothing where it is."""
    remarks = remarks_of_time({"": certificate}, now)
    return next((each.message for each in remarks if each.reason in {"Expired", "NotYetValid"}), "")


def _held(runtime: Runtime, listing: Path) -> set[str]:
    """Return the files that HAProxy serves by a list. Raises RuntimeApiError, HaproxyAwayError."""
    command = f"show ssl crt-list {listing}"
    lines = runtime.ask(command).splitlines()
    if not lines or lines[0] != f"# {listing}":
        raise RuntimeApiError(command, lines[0] if lines else "no answer")
    return {Path(line.split()[0]).name for line in lines[1:] if line.strip()}


def _settled(runtime: Runtime) -> set[str]:
    """Return the files that HAProxy knows, after an end to what somebody began and did not finish."""
    lines = [line for line in runtime.ask("show ssl cert").splitlines() if line and not line.startswith("#")]
    for line in lines:
        if line.startswith("*"):
            runtime.ask(f"abort ssl cert {line[1:]}")
    return {line for line in lines if not line.startswith("*")}


def _tell(runtime: Runtime, command: str, good: str, payload: Sequence[str] = ()) -> None:
    """Send a command whose answer has a word where all is well. Raises RuntimeApiError, HaproxyAwayError."""
    answer = runtime.ask(command, payload)
    if good not in answer:
        raise RuntimeApiError(command, " ".join(answer.split()))


def _copy(path: Path, wanted: str) -> Served | None:
    """Return a copy that is whole; None for any other."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if digest(content) != wanted:
        _log.warning("%s is damaged, and made anew from its source", path)
        return None
    try:
        return Served(path.name, bundle(content).certificate)
    except CertificateError:
        return None


def _check(context: ssl.SSLContext, path: Path) -> None:
    """Let OpenSSL load a certificate and its key in the place of those before. Raises CertificateError."""
    try:
        context.load_cert_chain(path)
    except ssl.SSLError as error:
        raise CertificateError(_told(error)) from error


def _told(error: ssl.SSLError) -> str:
    if "VALUES_MISMATCH" in (error.reason or "") or "TYPE_MISMATCH" in (error.reason or ""):
        return "has a key that is not that of its first certificate"
    return f"can't be used: {(error.reason or str(error)).replace('_', ' ').lower()}"


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner may read. Raises OSError."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _hosts(maps: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for path in maps:
        with path.open() as file:
            yield from hosts_in(file)
