"""What a source of images does: list cheaply, fetch bytes, fail with a class."""

from __future__ import annotations

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


class FetchError(Exception):
    """Bytes that could not be had. `kind` is the quarantine's error_class; `passing`: a retry may help."""

    def __init__(self, kind: str, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.kind, self.passing = kind, passing


class Images(ABC):
    """A source of images. Both calls may be made from several threads."""

    @abstractmethod
    def list(self, addresses: Sequence[Address]) -> list[ListedImage | ImageAddressError]:
        """For each address, in their order: where its bytes are, or why it is refused. Reads no image."""

    @abstractmethod
    def fetch(self, uri: str, fingerprint: str | None) -> bytes:
        """The bytes of a listed image, at most MAX_IMAGE_BYTES. Raises FetchError."""

    def close(self) -> None:  # noqa: B027 - most sources hold nothing
        """Give connections back."""
