"""What a source of images does: list cheaply, fetch bytes, fail with a class."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

MAX_IMAGE_BYTES = 50 * 1024 * 1024  # a product photo of 100 megapixels is below this


class ImageAddressError(ValueError):
    """A catalogue's image address that is not allowed; the message says why."""


@dataclass(frozen=True)
class Address:
    """An image as a catalogue names it, and when it says that it last changed."""

    image: str
    updated_at: str | None = None


@dataclass(frozen=True)
class ListedImage:
    """`uri` is where the bytes are; `fingerprint` is the source's cheap identity, None where nothing is there."""

    uri: str
    fingerprint: str | None


# Kinds of FetchError, for docs and checks: does a later try help?
PASSING: dict[str, bool] = {
    "missing": False,  # 404, 410, no such file or key
    "refused": False,  # 401, 403 and every other answer that is not the image
    "forbidden": False,  # an address that this job must not ask: see docs/images.md
    "redirects": False,  # too many, or in a circle
    "bad_answer": False,  # no HTTP, headers without end, an encoding nobody asked for
    "untrusted": False,  # a certificate that does not hold
    "too_large": False,
    "not_a_file": False,
    "unreadable": False,  # a file that the system does not give
    "throttled": True,  # 429, SlowDown
    "server_error": True,
    "unreachable": True,  # name not found, connection refused, reset or broken off
    "timeout": True,  # of a connection, of a read, of the item as a whole
    "incomplete": True,  # fewer bytes than were promised
    "deadline": True,  # not asked for any more: the stage's time is over, or its host is down
}


class FetchError(Exception):
    """Bytes that could not be had. `kind` is the quarantine's error_class; `passing`: a retry may help."""

    def __init__(self, kind: str, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.kind, self.passing = kind, passing


def fetch_fault(kind: str, message: str) -> FetchError:
    """A FetchError of a kind in PASSING."""
    return FetchError(kind, message, passing=PASSING[kind])


def short_hash(*parts: str) -> str:
    """16 hex digits for what would be too long, or in a wrong alphabet, for a fingerprint."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


class Images(ABC):
    """A source of images. Both calls may be made from several threads."""

    @abstractmethod
    def list(self, addresses: Sequence[Address]) -> list[ListedImage | ImageAddressError]:
        """For each address, in their order: where its bytes are, or why it is refused. Reads no image."""

    @abstractmethod
    def fetch(self, uri: str, fingerprint: str | None) -> bytes:
        """The bytes of a listed image, at most MAX_IMAGE_BYTES. Raises FetchError."""

    def lane(self, uri: str) -> str | None:
        """What limits how many of these are fetched at once, such as a host; None where nothing does."""
        return None

    def close(self) -> None:  # noqa: B027 - most sources hold nothing
        """Give connections back."""
