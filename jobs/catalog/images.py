"""Where images are. A source lists images cheaply and reads their bytes; issue-wide rule: data from outside.

Only folders so far. A source never leaves its root, whatever a catalogue says.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


class ImageAddressError(ValueError):
    """A catalogue's image address that is not allowed; the message says why."""


@dataclass(frozen=True)
class ListedImage:
    """`uri` is where the bytes are; `fingerprint` is the source's cheap identity, None where nothing is there."""

    uri: str
    fingerprint: str | None


class FolderImages:
    """Images in a folder. The fingerprint is size and modification time: no byte is read to list them."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._inside = str(self.root).rstrip("/") + "/"
        self._folders: dict[str, str] = {}  # part of an address before its last "/" → that folder, links followed

    def list(self, address: str) -> ListedImage:
        """Raises ImageAddressError for addresses with a scheme and for paths that leave the root."""
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
