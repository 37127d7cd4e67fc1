#!/bin/sh
# The supervisor touches the file at every tick. Whether the backups themselves are well is the alerts' business.
age=$(($(date +%s) - $(stat -c %Y /tmp/agentstack-alive 2>/dev/null || echo 0)))
[ "$age" -lt 30 ] || { echo "the supervisor has not ticked for $age s"; exit 1; }
echo "the supervisor ticked $age s ago"
