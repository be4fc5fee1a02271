"""Images in a folder. Nothing leaves its root, whatever a catalogue says."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from jobs.images.source import MAX_IMAGE_BYTES, Address, ImageAddressError, Images, ListedImage, fetch_fault


class FolderImages(Images):
    """Images in a folder. The fingerprint is size and modification time: no byte is read to list them."""

    def __init__(self, root: Path, max_bytes: int = MAX_IMAGE_BYTES) -> None:
        self.root = root.resolve()
        self.max_bytes = max_bytes
        self._inside = str(self.root).rstrip("/") + "/"
        self._folders: dict[str, str] = {}  # part of an address before its last "/" → that folder, links followed

    def list(self, addresses: Sequence[Address]) -> list[ListedImage | ImageAddressError]:
        """Refuses addresses with a scheme and paths that leave the root."""
        out: list[ListedImage | ImageAddressError] = []
        for address in addresses:
            try:
                out.append(self._list(address.image))
            except ImageAddressError as e:
                out.append(e)
        return out

    def fetch(self, uri: str, fingerprint: str | None) -> bytes:
        """Judges the file that is open, not its name: a link put there since the listing leads nowhere."""
        try:
            # Without O_NONBLOCK a FIFO would hang the thread that opens it.
            fd = os.open(uri, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError as e:
            raise fetch_fault("missing", f"{uri}: no such file") from e
        except OSError as e:
            if e.errno in (errno.ELOOP, errno.EMLINK):
                raise fetch_fault("forbidden", f"{uri}: has become a link since it was listed") from e
            raise fetch_fault("unreadable", f"{uri}: {e.strerror or e}") from e
        try:
            about = os.fstat(fd)
            if not stat.S_ISREG(about.st_mode):
                kind = "is a folder" if stat.S_ISDIR(about.st_mode) else "is no plain file"
                raise fetch_fault("not_a_file", f"{uri}: {kind}, not an image")
            if not _where(fd, uri).startswith(self._inside):
                raise fetch_fault("forbidden", f"{uri}: leads out of the catalogue's folder {self.root.name}/")
            if about.st_size > self.max_bytes:
                raise fetch_fault("too_large", f"{uri}: {about.st_size:,} bytes; at most {self.max_bytes:,} are read")
            return _read(fd, self.max_bytes, about.st_size)
        except OSError as e:
            raise fetch_fault("unreadable", f"{uri}: {e.strerror or e}") from e
        finally:
            os.close(fd)

    def _list(self, address: str) -> ListedImage:
        if "://" in address or address.startswith(("file:", "data:")):
            scheme = address.split(":", 1)[0]
            raise ImageAddressError(f"images by {scheme}: are not supported; give a path below {self.root.name}/")
        if "\ufffd" in address or any(ord(c) < 32 for c in address):
            raise ImageAddressError("the path has control characters")
        if len(address) > 1024:
            raise ImageAddressError("the path is longer than 1,024 characters")
        path = self._real(address)
        if not path.startswith(self._inside) and path != str(self.root):
            raise ImageAddressError(f"the path leads out of the catalogue's folder {self.root.name}/")
        try:
            about = os.stat(path)
        except FileNotFoundError:
            return ListedImage(path, None)
        except OSError as e:
            return ListedImage(path, f"error-{e.errno}")
        return ListedImage(path, f"{about.st_size:x}-{about.st_mtime_ns:x}")

    def _real(self, address: str) -> str:
        """The path with all links followed; each folder's only once, for a catalogue has thousands of images in it."""
        folder, name = os.path.split(address)
        if name in ("", ".", ".."):
            return os.path.realpath(self.root / address)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(self.root / folder)
        path = os.path.join(self._folders[folder], name)
        return os.path.realpath(path) if os.path.islink(path) else path


def _where(fd: int, path: str) -> str:
    """Where an open file lies, links followed; the path's own answer where the system does not tell."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return os.path.realpath(path)


def _read(fd: int, most: int, size: int) -> bytes:
    """A file that grows while it is read is cut at the limit."""
    out = bytearray()
    while len(out) < most and (data := os.read(fd, min(most - len(out), max(size + 1 - len(out), 65536)))):
        out += data
    return bytes(out)
