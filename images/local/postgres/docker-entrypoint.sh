#!/bin/bash
# The official image's contract, for what the stack uses of it: POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB (each
# also as *_FILE), POSTGRES_INITDB_ARGS, POSTGRES_HOST_AUTH_METHOD, PGDATA, /docker-entrypoint-initdb.d; arguments that
# start with a dash go to postgres; other commands run as they are. Starts as root (and becomes postgres) or as postgres.
set -Eeuo pipefail

fail() {
	printf 'error: %s\n' "$1" >&2
	exit 1
}

# setting NAME DEFAULT: the value of NAME, or the content of the file that NAME_FILE names.
setting() {
	local name=$1 file="$1_FILE" value=$2
	if [ -n "${!name:-}" ] && [ -n "${!file:-}" ]; then
		fail "both $name and $file are set; set one"
	fi
	if [ -n "${!file:-}" ]; then
		value=$(<"${!file}")
	elif [ -n "${!name:-}" ]; then
		value=${!name}
	fi
	export "$name"="$value"
	unset "$file"
}

# Against connections over the socket alone, so that nobody else gets in before the scripts are through.
start_for_init() {
	pg_ctl -D "$PGDATA" -w -o "$(printf '%q ' "$@" -c listen_addresses= -c ssl=off)" start
}

query() {
	PGHOST='' psql --no-psqlrc -v ON_ERROR_STOP=1 "$@"
}

run_scripts() {
	local script
	for script in /docker-entrypoint-initdb.d/*; do
		case $script in
		*.sh)
			printf 'running %s\n' "$script"
			if [ -x "$script" ]; then
				"$script"
			else
				# shellcheck source=/dev/null
				. "$script"
			fi
			;;
		*.sql)
			printf 'running %s\n' "$script"
			query -f "$script"
			;;
		*.sql.gz)
			printf 'running %s\n' "$script"
			gunzip -c "$script" | query
			;;
		*/\*) ;;
		*) printf 'ignoring %s\n' "$script" ;;
		esac
	done
}

init_cluster() {
	local auth=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256} password arguments=()
	if [ -z "$POSTGRES_PASSWORD" ] && [ "$auth" != trust ]; then
		fail 'the database is not initialized and POSTGRES_PASSWORD (or POSTGRES_PASSWORD_FILE) is not set'
	fi
	read -ra arguments <<<"${POSTGRES_INITDB_ARGS:-}"
	password=$(mktemp)
	printf '%s\n' "$POSTGRES_PASSWORD" >"$password"
	if [ -n "$POSTGRES_PASSWORD" ]; then
		arguments+=("--pwfile=$password")
	fi
	initdb --username="$POSTGRES_USER" --auth-local=trust --auth-host=scram-sha-256 "${arguments[@]}"
	rm -f "$password"
	printf '\nhost all all all %s\n' "$auth" >>"$PGDATA/pg_hba.conf"

	export PGUSER=$POSTGRES_USER
	start_for_init "$@"
	if [ "$POSTGRES_DB" != postgres ]; then
		query -d postgres -v db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
	fi
	export PGDATABASE=$POSTGRES_DB
	run_scripts
	unset PGUSER PGDATABASE
	pg_ctl -D "$PGDATA" -m fast -w stop
	printf 'PostgreSQL init process complete; ready for start up.\n'
}

main() {
	if [ "${1:0:1}" = - ]; then
		set -- postgres "$@"
	fi
	if [ "$1" != postgres ]; then
		exec "$@"
	fi
	local argument
	for argument in "$@"; do
		case $argument in
		-'?' | --help | -V | --version | --describe-config) exec "$@" ;;
		esac
	done
	# Read as root, so that secret files need not be readable by the user postgres.
	setting POSTGRES_PASSWORD ''
	setting POSTGRES_USER postgres
	setting POSTGRES_DB "$POSTGRES_USER"
	if [ "$(id -u)" = 0 ]; then
		install -d -o postgres -g postgres -m 0700 "$PGDATA"
		install -d -o postgres -g postgres -m 3775 /var/run/postgresql
		find "$PGDATA" \! -user postgres -exec chown postgres {} +
		exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
	fi
	if [ ! -s "$PGDATA/PG_VERSION" ]; then
		init_cluster "${@:2}"
	fi
	unset POSTGRES_PASSWORD
	exec "$@"
}

main "$@"
