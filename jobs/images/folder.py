"""Images in a folder. Nothing leaves its root, whatever a catalogue says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from jobs.images.source import MAX_IMAGE_BYTES, Address, FetchError, ImageAddressError, Images, ListedImage


class FolderImages(Images):
    """Images in a folder. The fingerprint is size and modification time: no byte is read to list them."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
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
        path = Path(uri)
        try:
            if path.is_dir():
                raise FetchError("not_a_file", f"{uri}: is a folder, not an image", passing=False)
            if (size := path.stat().st_size) > MAX_IMAGE_BYTES:
                raise FetchError(
                    "too_large", f"{uri}: {size:,} bytes; at most {MAX_IMAGE_BYTES:,} are read", passing=False
                )
            return path.read_bytes()
        except OSError as e:
            raise FetchError("unreadable", f"{uri}: {e.strerror or e}", passing=False) from e

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
