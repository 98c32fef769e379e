"""Strings and numbers that carry a rule.

Every string is bounded: the API server charges CEL rules by the largest value that a field could hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field

LOCATION_PATTERN: Final = "^((file|s3|gs|az)://.+|[^:]+)$"
URL_PATTERN: Final = "^https?://.+$"
IMPORT_PATTERN: Final = "^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$"
LETTERS_PATTERN: Final = "^[A-Z]+$"
MEANINGS: Final[Mapping[str, str]] = {
    LOCATION_PATTERN: "must be a path without a colon, or begin with file://, s3://, gs:// or az://",
    URL_PATTERN: "must begin with http:// or https://",
    IMPORT_PATTERN: "must have the form package.module:function",
    LETTERS_PATTERN: "must be capital letters without spaces, such as ABCD",
}
"""What a pattern means to a person."""

Word = Annotated[str, Field(min_length=1, max_length=253)]
"""A name of something: a field, a revision, a class."""
Text = Annotated[str, Field(max_length=8192)]
"""Prose: a template, a system prompt, a message."""
Location = Annotated[str, Field(max_length=1024, pattern=LOCATION_PATTERN)]
"""A local path or a URI."""
Url = Annotated[str, Field(max_length=1024, pattern=URL_PATTERN)]
"""Where a service listens."""
Pattern = Annotated[str, Field(min_length=1, max_length=512)]
"""A regular expression or a literal marker."""
Timestamp = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]
"""RFC 3339, UTC."""

Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Positive = Annotated[int, Field(ge=1, le=2**31 - 1)]
Tally = Annotated[int, Field(ge=0, le=2**53 - 1)]
"""A number that grows for as long as a job runs."""
Seed = Annotated[int, Field(ge=0, le=2**53 - 1)]
Share = Annotated[float, Field(ge=0, le=1)]
"""Zero to one."""
NonNegative = Annotated[float, Field(ge=0)]
Temperature = Annotated[float, Field(ge=0, le=10)]

FreeForm = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
"""An object whose keys are checked elsewhere."""
PodTemplate = FreeForm
"""A PodTemplateSpec: `metadata` and `spec` as in a Deployment.  The API server checks it when pods are made."""
