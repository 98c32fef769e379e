"""What a store's exception means: come back later, or never.

Pure.  Every client library has its own exception tree; what they share is an errno, an HTTP status or a class name.
"""

from __future__ import annotations

import errno
from typing import Final

from rlvr_trainer.errors import InvalidInput, Unavailable

_CONFIGURATION_ERRORS: Final = frozenset({
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "ProfileNotFound",
    "ParamValidationError",
    "InvalidRegionError",
    "UnsupportedSignatureVersionError",
    "DefaultCredentialsError",
})  # fmt: skip
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_LASTING_ERRNOS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOENT})
_PASSING_STATUS: Final = frozenset({408, 409, 423, 425, 429})
_PASSING_CODES: Final = frozenset({
    "RequestTimeout", "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "QuotaExceeded",
})  # fmt: skip


def explain(error: Exception, *, action: str, uri: str) -> InvalidInput | Unavailable:
    """`error` of `action` at `uri`, in words: Unavailable when repeating may help, InvalidInput when it cannot."""
    what = f"cannot {action} {uri}: {_words(error)}"
    if _no_space(error):
        return Unavailable(f"{what}. The store is full: free space or raise its quota; it is tried again until then.")
    if _is_lasting(error):
        return InvalidInput(f"{what}. {_way_out(error)}")
    return Unavailable(what)


def _words(error: Exception) -> str:
    code, status = _code(error), _status(error)
    facts = " ".join(str(fact) for fact in (status, code) if fact is not None and str(fact) not in str(error))
    return f"{str(error) or type(error).__name__}{f' ({facts})' if facts else ''}".replace("\n", " ")[:500]


def _no_space(error: Exception) -> bool:
    return getattr(error, "errno", None) in _NO_SPACE or _status(error) == 507


def _is_lasting(error: Exception) -> bool:
    status = _status(error)
    if status is not None:
        return 300 <= status < 500 and status not in _PASSING_STATUS and _code(error) not in _PASSING_CODES
    if isinstance(error, OSError):
        named = isinstance(error, PermissionError | FileNotFoundError | NotADirectoryError | IsADirectoryError)
        return named or error.errno in _LASTING_ERRNOS
    return isinstance(error, ValueError | ImportError) or type(error).__name__ in _CONFIGURATION_ERRORS


def _way_out(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "Create the bucket or folder, or correct the URI."
    if _status(error) == 403 or isinstance(error, PermissionError):
        return "Check the credentials (for S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) and what they may write."
    if type(error).__name__ in _CONFIGURATION_ERRORS:
        return "Give credentials in the environment (for S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)."
    return "Correct the URI, or choose a place that can be written."


def _reply(error: Exception) -> dict[str, dict[str, object]]:
    """The S3 reply behind an exception; empty when there was none."""
    for candidate in (error, error.__cause__):
        reply = getattr(candidate, "response", None)
        if isinstance(reply, dict):
            return reply
    return {}


def _status(error: Exception) -> int | None:
    status = _reply(error).get("ResponseMetadata", {}).get("HTTPStatusCode", getattr(error, "status", None))
    return status if isinstance(status, int) else None


def _code(error: Exception) -> str | None:
    code = _reply(error).get("Error", {}).get("Code")
    return str(code) if code is not None else None
