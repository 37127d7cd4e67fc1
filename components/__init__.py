"""What is provisioned: one ComponentResource per thing, one module (or folder, where it has configuration of its own) each."""
