"""What every settings model shares: camelCase keys, no unknown keys, immutable values."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
"""An application's or project-like name: lower case letters, digits and dashes, at most 40."""

Ratio = Annotated[float, Field(ge=0.0, le=1.0)]
HostPort = Annotated[int, Field(ge=1, le=65535)]


class Model(BaseModel):
    """A part of the stack file."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=False)
