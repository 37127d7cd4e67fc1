package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticksPerSecond is the unit of process start times in /proc (USER_HZ, 100 on every Linux that Docker runs on).
const ticksPerSecond = 100

var signals = map[string]syscall.Signal{
	"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "HUP": syscall.SIGHUP,
}

// inits are the programs that `docker run --init` and images put in place of the service as PID 1.
var inits = map[string]bool{"docker-init": true, "tini": true, "tini-static": true, "dumb-init": true, "catatonit": true}

// restarter counts failures between probes and ends the service when there are too many in a row.
//
// Docker restarts a container when its PID 1 ends, which an init does when its child ends. From inside
// a container PID 1 itself can't be killed (the kernel protects it), so it is the init's children that
// get the signal; without an init it is PID 1, which heeds SIGTERM only if it handles it.
type restarter struct {
	after  int
	grace  time.Duration
	signal string
	state  string

	proc string
	self int
	kill func(pid int, signal syscall.Signal) error
}

// count is the content of the state file. Started ties it to one life of the container.
type count struct {
	Started  uint64 `json:"started"`
	Failures int    `json:"failures"`
	Healthy  bool   `json:"healthy"`
}

// process is what /proc/PID/stat says.
type process struct {
	pid, parent int
	name        string
	state       byte
	started     uint64
}

func newRestarter(proc string) *restarter {
	return &restarter{proc: proc, self: os.Getpid(), kill: syscall.Kill}
}

func (r *restarter) valid() error {
	if r.after < 0 {
		return errors.New("--restart-after must be 0 or more")
	}
	if _, known := signals[r.signal]; !known {
		return fmt.Errorf("--signal %q is none of TERM, INT, QUIT, HUP", r.signal)
	}
	return nil
}

// note records the verdict, acts on it, and says what was done.
func (r *restarter) note(result verdict) string {
	if r.after == 0 {
		return ""
	}
	first, err := r.read(1)
	if err != nil {
		return "restart impossible: " + err.Error()
	}
	was := r.load(first.started)
	if !result.sick {
		r.save(count{Started: first.started, Healthy: was.Healthy || result.healthy})
		return ""
	}
	if age, err := r.age(first); !was.Healthy && err == nil && age < r.grace {
		r.save(count{Started: first.started})
		return fmt.Sprintf("still starting (%d s of %d s)", int(age.Seconds()), int(r.grace.Seconds()))
	}
	was.Failures++
	if err := r.save(was); err != nil {
		return "failures can't be counted: " + err.Error()
	}
	if was.Failures < r.after {
		return fmt.Sprintf("failure %d of %d before a restart", was.Failures, r.after)
	}
	return r.end(first, was.Failures)
}

// end signals the service: the asking signal first, SIGKILL to what ignored it or is stopped.
func (r *restarter) end(first process, failures int) string {
	own, err := r.ownNamespace()
	if err != nil {
		return "restart impossible: " + err.Error()
	}
	if !own {
		return "restart refused: this container shares the host's process ids"
	}
	targets := []process{first}
	if inits[first.name] {
		if targets, err = r.children(); err != nil {
			return "restart impossible: " + err.Error()
		}
	}
	done := make([]string, 0, len(targets))
	for _, target := range targets {
		name, signal := "SIG"+r.signal, signals[r.signal]
		if failures > r.after || target.state == 'T' || target.state == 't' {
			name, signal = "SIGKILL", syscall.SIGKILL
		}
		word := fmt.Sprintf("%s to %s (%d)", name, target.name, target.pid)
		if err := r.kill(target.pid, signal); err != nil {
			word += ": " + err.Error()
		}
		done = append(done, word)
	}
	if len(done) == 0 {
		return fmt.Sprintf("failure %d: no process to restart", failures)
	}
	return fmt.Sprintf("failure %d: sent %s", failures, strings.Join(done, ", "))
}

// ownNamespace tells whether process ids are the container's own: then the probe descends from no
// process in sight (its topmost ancestor has parent 0 and isn't PID 1). Where the host's ids are
// shared, PID 1 is the host's init and nothing may be signalled.
func (r *restarter) ownNamespace() (bool, error) {
	for pid := r.self; ; {
		one, err := r.read(pid)
		if err != nil {
			return false, err
		}
		if one.parent == 0 {
			return pid != 1, nil
		}
		pid = one.parent
	}
}

func (r *restarter) children() ([]process, error) {
	entries, err := os.ReadDir(r.proc)
	if err != nil {
		return nil, err
	}
	var found []process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if one, err := r.read(pid); err == nil && one.parent == 1 && one.state != 'Z' && pid != r.self {
			found = append(found, one)
		}
	}
	return found, nil
}

func (r *restarter) read(pid int) (process, error) {
	text, err := os.ReadFile(filepath.Join(r.proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return process{}, err
	}
	// pid (name) state ppid ...: the name may hold anything, so the last ")" ends it.
	opened, closed := strings.IndexByte(string(text), '('), strings.LastIndexByte(string(text), ')')
	if opened < 0 || closed < opened {
		return process{}, fmt.Errorf("/proc/%d/stat can't be read", pid)
	}
	fields := strings.Fields(string(text[closed+1:]))
	if len(fields) < 20 {
		return process{}, fmt.Errorf("/proc/%d/stat can't be read", pid)
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return process{}, err
	}
	started, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return process{}, err
	}
	return process{pid: pid, parent: parent, name: string(text[opened+1 : closed]), state: fields[0][0], started: started}, nil
}

// age is how long a process has run.
func (r *restarter) age(one process) (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join(r.proc, "uptime"))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) == 0 {
		return 0, errors.New("/proc/uptime is empty")
	}
	up, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return 0, err
	}
	return time.Duration((up - float64(one.started)/ticksPerSecond) * float64(time.Second)), nil
}

// load returns the count of this life of the container: none of an earlier one, none that is unreadable.
func (r *restarter) load(started uint64) count {
	text, err := os.ReadFile(r.state)
	if err != nil {
		return count{Started: started}
	}
	var was count
	if json.Unmarshal(text, &was) != nil || was.Started != started {
		return count{Started: started}
	}
	return was
}

// save replaces the file in one step: a probe that is killed half-way leaves the old count.
func (r *restarter) save(now count) error {
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	draft := fmt.Sprintf("%s.%d", r.state, r.self)
	if err := os.WriteFile(draft, text, 0o600); err != nil {
		return err
	}
	return os.Rename(draft, r.state)
}
