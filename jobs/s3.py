"""Faults of an S3 store, told and borne in one way by all that reads from one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from jobs.errors import SettingsError, TransientError

T = TypeVar("T")

# Waits between tries of a read that broke off on the way; botocore tries a request again, but not its body.
AGAIN_S = (0.1, 0.3, 1.0, 3.0)
BAD_CREDENTIALS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
_REFUSED = {"AccessDenied", "403", *BAD_CREDENTIALS}


def code_of(e: Exception) -> str:
    """The S3 error code of botocore's ClientError, such as NoSuchKey; "" where it has none."""
    return str(getattr(e, "response", {}).get("Error", {}).get("Code", ""))


def whole(read: Callable[[], T]) -> T:
    """A request and the reading of its body, asked again where that came broken off or with a wrong checksum."""
    from botocore.exceptions import FlexibleChecksumError, IncompleteReadError, ReadTimeoutError
    from botocore.exceptions import ResponseStreamingError as Broken

    for wait in AGAIN_S:
        try:
            return read()
        except (Broken, FlexibleChecksumError, IncompleteReadError, ReadTimeoutError):
            time.sleep(wait)
    return read()


@contextmanager
def told(where: str, setting: str) -> Iterator[None]:
    """The client's errors as ours: one line that names the object and, where the bucket is wrong, the setting."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as e:
        raise SettingsError(
            f"{where}: no credentials; give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role"
        ) from e
    except ClientError as e:
        code = code_of(e)
        if code == "NoSuchBucket":
            bucket = where.removeprefix("s3://").partition("/")[0]
            raise SettingsError(f"{where}: there is no bucket {bucket}; make it, or mend `{setting}`") from e
        if code in _REFUSED:
            raise SettingsError(f"{where}: refused ({code}); check the credentials and their policy") from e
        raise TransientError(f"{where}: {code or e}; run the command again later") from e
    except BotoCoreError as e:
        raise TransientError(
            f"{where}: {' '.join(str(e).split())}; check that the store answers (s3_endpoint_url), run it again"
        ) from e
