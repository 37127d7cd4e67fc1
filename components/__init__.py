"""What is provisioned: one ComponentResource per thing, one module or folder each."""
