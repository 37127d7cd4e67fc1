"""Who sent this: application, service, project and environment of every signal.

The edge names the application in a header (it knows the token); what a client says about that itself is overwritten.
Phoenix drops resource attributes, so what people search for is copied to the spans.
"""

from components.collector.inputs import CollectorInputs
from components.collector.text import Node, quoted
from components.names import APPLICATION_HEADER

APPLICATION = "agentstack.application"
"""Resource attribute with the application's name; set here, never believed from outside."""
PROJECT = "openinference.project.name"
COPIED = ("service.name", "deployment.environment")

_HEADER = f'otelcol.client.metadata["{APPLICATION_HEADER}"]'
_APP = f'resource.attributes["{APPLICATION}"]'
_SERVICE = 'resource.attributes["service.name"]'
_ENVIRONMENT = 'resource.attributes["deployment.environment"]'
_PROJECT = f'resource.attributes["{PROJECT}"]'


def resource_statements(inputs: CollectorInputs) -> list[str]:
    """OTTL on a resource: name the application, fill a missing service, environment and project."""
    # SDKs that are told nothing say "unknown_service" or "unknown_service:python": that is a missing name.
    return [
        f'set({_APP}, "unknown")',
        f"set({_APP}, {_HEADER}[0]) "
        f"where {_HEADER} != nil and IsMatch({_HEADER}[0], {quoted('^[a-z][a-z0-9-]{0,39}$')})",
        f"set({_SERVICE}, String({_SERVICE})) where {_SERVICE} != nil and not IsString({_SERVICE})",
        f"set({_SERVICE}, {_APP}) "
        f'where {_SERVICE} == nil or {_SERVICE} == "" or HasPrefix({_SERVICE}, "unknown_service")',
        f'set({_ENVIRONMENT}, resource.attributes["deployment.environment.name"]) '
        f'where {_ENVIRONMENT} == nil and resource.attributes["deployment.environment.name"] != nil',
        f"set({_ENVIRONMENT}, {quoted(inputs.settings.environment)}) where {_ENVIRONMENT} == nil",
    ]


def project_statements(inputs: CollectorInputs) -> list[str]:
    """OTTL on a resource: the application's project where the span's resource names none, else the stack's."""
    missing = f'{_PROJECT} == nil or {_PROJECT} == ""'
    own = [
        f"set({_PROJECT}, {quoted(application.project)}) where ({missing}) and {_APP} == {quoted(name)}"
        for name, application in sorted(inputs.applications.items())
        if application.project is not None
    ]
    return [*own, f"set({_PROJECT}, {quoted(inputs.settings.default_project)}) where {missing}"]


def copy_statements() -> list[str]:
    """OTTL on a span: what Phoenix would lose with the resource."""
    return [f'set(span.attributes["{key}"], resource.attributes["{key}"])' for key in COPIED]


def processor(inputs: CollectorInputs) -> Node:
    """The transform processor at the head of the traces' way."""
    return {
        "error_mode": "ignore",
        "trace_statements": [
            {"context": "resource", "statements": [*resource_statements(inputs), *project_statements(inputs)]},
            {"context": "span", "statements": copy_statements()},
        ],
    }
