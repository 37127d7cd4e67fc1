"""Backups of PostgreSQL: pgBackRest on a schedule, a restore every day to prove them, and the way back.

`component.py` is the service, `container/` what runs in it, `render.py` the configuration of pgBackRest.
"""
