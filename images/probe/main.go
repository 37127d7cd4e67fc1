// Command probe is the health check of every container of the stack.
//
// It is one static binary without dependencies, so that images without a shell, or without a
// client that verifies TLS, can be probed too. It also ends a service that stays sick, from the
// inside, so that Docker's restart policy starts it again: Docker itself only marks a container
// unhealthy. No container needs the Docker socket for that.
//
//	probe http --url https://localhost:6006/readyz --ca /etc/agentstack/tls/ca.crt
//	probe tcp  --address 127.0.0.1:5432
//	probe exec -- pg_isready --quiet
//
// It prints one line (Docker keeps it in the health log) and exits 0 for healthy, 1 for not;
// `exec` passes the exit code of its command on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// version is stamped at build time (-X main.version=...).
var version = "development"

const usage = `usage: probe http --url URL [--url URL ...] [flags]
       probe tcp --address HOST:PORT [flags]
       probe exec [flags] -- COMMAND [ARGUMENTS ...]
       probe version`

// verdict is what one probe found. detail goes into the health log, so it never holds a secret.
type verdict struct {
	healthy bool
	// sick: this failure counts towards a restart. It is false where the service is alive and
	// merely not ready.
	sick   bool
	detail string
	code   int
}

func healthy(detail string) verdict { return verdict{healthy: true, detail: detail} }
func sick(err error) verdict        { return verdict{sick: true, detail: err.Error(), code: 1} }

// list is a flag that may be given several times.
type list []string

func (l *list) String() string         { return strings.Join(*l, ",") }
func (l *list) Set(value string) error { *l = append(*l, value); return nil }

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, newRestarter("/proc")))
}

// run is main without the process: it returns the exit code.
func run(arguments []string, out io.Writer, restarts *restarter) int {
	if len(arguments) == 0 {
		fmt.Fprintln(out, usage)
		return 1
	}
	mode := arguments[0]
	flags := flag.NewFlagSet("probe "+mode, flag.ContinueOnError)
	flags.SetOutput(out)
	timeout := flags.Duration("timeout", 4*time.Second, "time for the whole probe; keep it below the health check's own timeout")
	flags.IntVar(&restarts.after, "restart-after", 0, "end the service at this many failures in a row; 0: never")
	flags.DurationVar(&restarts.grace, "grace", 0, "failures in the service's first seconds don't count, unless it was healthy before")
	flags.StringVar(&restarts.signal, "signal", "TERM", "the signal that asks the service to end: TERM, INT, QUIT or HUP")
	flags.StringVar(&restarts.state, "state", "/dev/shm/agentstack-probe", "file that counts failures between probes")

	reload := &reloader{state: restarts.state + "-reload"}
	flags.StringVar(&reload.dir, "reload-dir", "", "directory of live files: a change makes the service reload")
	flags.StringVar(&reload.signal, "reload-signal", "USR2", "the signal that asks the service to reload: HUP, USR1 or USR2")

	flags.StringVar(&reload.socket, "reload-socket", "", "Unix socket that is asked --reload-ask before the service reloads")
	flags.StringVar(&reload.ask, "reload-ask", "", "the line to send there")
	flags.StringVar(&reload.answer, "reload-answer", "", "file that keeps the answer for the service's next start")

	check, err := parse(mode, flags, arguments[1:])
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(out, "FAIL usage: %v\n", err)
		}
		return 1
	}
	if check == nil {
		fmt.Fprintf(out, "agentstack probe %s\n", version)
		return 0
	}
	if err := restarts.valid(); err != nil {
		fmt.Fprintf(out, "FAIL usage: %v\n", err)
		return 1
	}
	if _, known := reloadSignals[reload.signal]; !known {
		fmt.Fprintf(out, "FAIL usage: --reload-signal %q is none of HUP, USR1, USR2\n", reload.signal)
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	started := time.Now()
	result := check(ctx)
	word := "ok"
	if !result.healthy {
		word = "FAIL"
	}
	line := fmt.Sprintf("%s %s (%d ms)", word, result.detail, time.Since(started).Milliseconds())
	if note := restarts.note(result); note != "" {
		line += "; " + note
	}
	if note := reload.note(restarts); note != "" {
		line += "; " + note
	}
	fmt.Fprintln(out, line)
	if result.healthy {
		return 0
	}
	return result.code
}

// parse turns the arguments of one mode into its check; nil without an error means `version`.
func parse(mode string, flags *flag.FlagSet, arguments []string) (func(context.Context) verdict, error) {
	switch mode {
	case "version", "--version":
		return nil, nil
	case "http":
		var options httpOptions
		options.register(flags)
		if err := flags.Parse(arguments); err != nil {
			return nil, err
		}
		if flags.NArg() > 0 {
			return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
		}
		return options.check()
	case "tcp":
		address := flags.String("address", "", "host:port to connect to")
		if err := flags.Parse(arguments); err != nil {
			return nil, err
		}
		if *address == "" || flags.NArg() > 0 {
			return nil, errors.New("`probe tcp` takes --address HOST:PORT and nothing else")
		}
		return func(ctx context.Context) verdict { return checkTCP(ctx, *address) }, nil
	case "exec":
		if err := flags.Parse(arguments); err != nil {
			return nil, err
		}
		if flags.NArg() == 0 {
			return nil, errors.New("`probe exec` needs a command after --")
		}
		return func(ctx context.Context) verdict { return checkExec(ctx, flags.Args()) }, nil
	default:
		return nil, fmt.Errorf("unknown mode %q\n%s", mode, usage)
	}
}
