"""The operator's command line, on top of a stack's outputs and the Docker engine."""
