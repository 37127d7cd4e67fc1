"""Backups from the operator's side: asking the backup's container, restoring in place, drills, the escrow file."""
