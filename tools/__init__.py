"""Getting a machine ready and driving Pulumi: engine, virtual environment, command line, state, up and down."""
