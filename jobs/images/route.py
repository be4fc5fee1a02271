"""The source of an address, by its scheme: a path, s3://, http:// or https://."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jobs.images.folder import FolderImages
from jobs.images.source import Address, ImageAddressError, Images, ListedImage, fetch_fault
from jobs.settings import Settings

_OF_SCHEME = {"s3": "s3", "http": "web", "https": "web"}


class RoutedImages(Images):
    """Sources by name, made when the first address of theirs comes: a shop with a folder needs no S3 client."""

    def __init__(self, schemes: Sequence[str], make: Mapping[str, Callable[[], Images]]) -> None:
        self._schemes, self._make = schemes, make
        self._made: dict[str, Images] = {}

    def list(self, addresses: Sequence[Address]) -> list[ListedImage | ImageAddressError]:
        out: dict[int, ListedImage | ImageAddressError] = {}
        by_source: dict[str, list[int]] = {}
        normal = [Address(_normal(a.image.strip()), a.updated_at) for a in addresses]
        for n, address in enumerate(normal):
            scheme = _scheme(address.image)
            if scheme not in self._schemes and scheme in ("folder", *_OF_SCHEME):
                what = "images in a folder" if scheme == "folder" else f"images by {scheme}:"
                out[n] = ImageAddressError(f"{what} are not allowed here (images.schemes)")
            else:
                by_source.setdefault(_OF_SCHEME.get(scheme, "folder"), []).append(n)
        for name, places in by_source.items():
            out.update(zip(places, self._source(name).list([normal[n] for n in places]), strict=True))
        return [out[n] for n in range(len(addresses))]

    def fetch(self, uri: str, fingerprint: str | None) -> bytes:
        scheme = _scheme(uri)
        if scheme not in self._schemes:
            raise fetch_fault("forbidden", f"{uri}: images by {scheme} are not allowed here (images.schemes)")
        return self._source(_OF_SCHEME.get(scheme, "folder")).fetch(uri, fingerprint)

    def lane(self, uri: str) -> str | None:
        return self._source(_OF_SCHEME.get(_scheme(uri), "folder")).lane(uri)

    def close(self) -> None:
        for source in self._made.values():
            source.close()

    def _source(self, name: str) -> Images:
        if name not in self._made:
            # Two threads may both make one; the first that is kept serves all.
            self._made.setdefault(name, self._make[name]())
        return self._made[name]


class UnaskedImages(Images):
    """Addresses judged by their form alone; nobody is asked, nothing can be fetched."""

    def __init__(self, check: Callable[[str], str]) -> None:
        self._check = check

    def list(self, addresses: Sequence[Address]) -> list[ListedImage | ImageAddressError]:
        out: list[ListedImage | ImageAddressError] = []
        for a in addresses:
            try:
                out.append(ListedImage(self._check(a.image), "unasked"))
            except ImageAddressError as e:
                out.append(e)
        return out

    def fetch(self, uri: str, fingerprint: str | None) -> bytes:
        raise fetch_fault("refused", f"{uri}: this source only judges addresses")


def open_images(
    settings: Settings,
    root: Path,
    run_date: str,
    before: Callable[[], Mapping[str, str | None]] = dict,
    *,
    ask: bool = True,
) -> Images:
    """All sources that the settings allow; `root` is the folder that paths start from.

    `before` gives fingerprints of an earlier listing by address; only called where a source on the web is asked.
    `ask=False`, for a check of a catalogue: addresses are judged, but nothing goes over the network.
    """

    def folder() -> Images:
        return FolderImages(root, settings.images.max_bytes)

    def s3() -> Images:
        from jobs.images.s3 import S3Images, split

        if not ask:
            return UnaskedImages(lambda text: f"s3://{'/'.join(split(text))}")
        return S3Images(settings.images, run_date, settings.s3_endpoint_url)

    def web() -> Images:
        from jobs.images.addresses import checked_url, networks
        from jobs.images.web import WebImages

        if not ask:
            schemes, allowed = settings.images.schemes, networks(settings.images.allow_networks)
            return UnaskedImages(lambda text: checked_url(text, schemes, allowed).url)
        return WebImages(settings.images, run_date, before)

    return RoutedImages(settings.images.schemes, {"folder": folder, "s3": s3, "web": web})


def _scheme(address: str) -> str:
    """`folder` for what has none; other schemes stay as they are for the folder to refuse."""
    head, sep, _ = address.partition("://")
    return head.lower() if sep else "folder"


def _normal(address: str) -> str:
    """Schemes in small letters: `HTTPS://` is as good as `https://`."""
    head, sep, rest = address.partition("://")
    return f"{head.lower()}{sep}{rest}" if sep and head.lower() in _OF_SCHEME else address
