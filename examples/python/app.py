"""The guide's Python integration, as an application runs it: LiteLLM traced by OpenInference, sent to this stack.

Where to send, with which token, and which CA to trust: from the environment, as `agentstack connect` prints it.
"""

import os

import litellm
from phoenix.otel import register

# Configure the Phoenix tracer. Every instrumentation that is installed is switched on.
tracer_provider = register(project_name="agentstack-production", auto_instrument=True)

# The fake in ../fake_openai takes any key. A real one belongs in the environment, not in here.
os.environ.setdefault("OPENAI_API_KEY", "any-key-for-the-fake")


def main() -> None:
    """One question to the model."""
    response = litellm.completion(model="gpt-4", messages=[{"role": "user", "content": "Hello!"}])
    print(response.choices[0].message.content)
    # Spans wait in memory: without this a short program ends before they are sent.
    tracer_provider.force_flush()
    tracer_provider.shutdown()


if __name__ == "__main__":
    main()
