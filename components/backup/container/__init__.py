"""What runs in the backup's container: the Python of its image, with the standard library alone."""
