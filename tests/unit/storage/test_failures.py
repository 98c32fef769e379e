import errno

import pytest

from rlvr_trainer.errors import InvalidInput, Unavailable
from rlvr_trainer.storage.failures import explain


class S3Error(OSError):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"the server says {code}")
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


class NoCredentialsError(Exception):
    """The name is what botocore's class shares with this one."""


class EndpointConnectionError(Exception):
    """Likewise."""


@pytest.mark.parametrize(
    "error",
    [
        S3Error(500, "InternalError"),
        S3Error(503, "SlowDown"),
        S3Error(429, "TooManyRequests"),
        S3Error(400, "RequestTimeout"),
        S3Error(507, "InsufficientStorage"),
        S3Error(403, "QuotaExceeded"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EIO, "Input/output error"),
        TimeoutError("timed out"),
        ConnectionResetError("reset"),
        EndpointConnectionError("refused"),
    ],
)
def test_what_may_pass_is_unavailable(error: Exception) -> None:
    assert isinstance(explain(error, action="write", uri="s3://b/k"), Unavailable)


@pytest.mark.parametrize(
    "error",
    [
        S3Error(403, "AccessDenied"),
        S3Error(403, "SignatureDoesNotMatch"),
        S3Error(404, "NoSuchBucket"),
        S3Error(400, "InvalidBucketName"),
        S3Error(301, "PermanentRedirect"),
        PermissionError(errno.EACCES, "Permission denied"),
        NotADirectoryError(errno.ENOTDIR, "Not a directory"),
        OSError(errno.EROFS, "Read-only file system"),
        ValueError("Invalid endpoint: nonsense"),
        NoCredentialsError("Unable to locate credentials"),
    ],
)
def test_what_never_passes_is_invalid_input(error: Exception) -> None:
    assert isinstance(explain(error, action="write", uri="s3://b/k"), InvalidInput)


def test_the_message_names_the_place_the_reason_and_the_way_out() -> None:
    message = str(explain(S3Error(403, "AccessDenied"), action="write", uri="s3://b/k"))

    assert "write s3://b/k" in message
    assert "403" in message
    assert "AccessDenied" in message
    assert "AWS_ACCESS_KEY_ID" in message


def test_the_status_is_found_in_the_cause() -> None:
    error = OSError(errno.EINVAL, "translated")
    error.__cause__ = S3Error(500, "InternalError")

    assert isinstance(explain(error, action="list", uri="s3://b"), Unavailable)


def test_a_full_store_is_called_full() -> None:
    error = OSError(errno.ENOSPC, "No space left on device")

    assert "full" in str(explain(error, action="write", uri="/mnt/x"))
