"""`python -m agentstack` is the console script `agentstack`."""

from agentstack.cli import app

if __name__ == "__main__":
    app()
