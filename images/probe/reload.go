package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// reloader asks the service to reload when its live files have changed since it started.
//
// Live files are rewritten in a running container's volume (a token added, a certificate renewed). The
// signal comes from inside: `docker kill` would disarm the container's restart policy.
type reloader struct {
	dir    string
	signal string
	state  string

	// What the service would forget over a reload: it is asked at the socket, and finds its answer in the file.
	socket, ask, answer string
}

// keep asks the service what it would forget and leaves the answer where it reads it at the reload.
func (l *reloader) keep() error {
	if l.socket == "" {
		return nil
	}
	connection, err := net.DialTimeout("unix", l.socket, time.Second)
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(connection, l.ask+"\n"); err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(connection, 1<<20))
	if err != nil {
		return err
	}
	if len(text) == 0 {
		return errors.New("no answer")
	}
	return replace(l.answer, text)
}

// replace puts a file in place in one step: a reader finds the old text or the new one, whole.
func replace(path string, text []byte) error {
	draft := path + ".new"
	if err := os.WriteFile(draft, text, 0o600); err != nil {
		return err
	}
	return os.Rename(draft, path)
}

var reloadSignals = map[string]syscall.Signal{"HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2}

// digest is over the names and contents of every file below dir.
func (l *reloader) digest() (string, error) {
	sum := sha256.New()
	err := filepath.WalkDir(l.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%s\x00%d\x00", path, len(text))
		sum.Write(text)
		return nil
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// note signals the service if its live files are not those it last took up, and says so.
//
// The state holds the start of PID 1, the digest taken up and the digest last seen: files are taken up
// only when two probes in a row saw the same, so never half-written.
func (l *reloader) note(restarts *restarter) string {
	if l.dir == "" {
		return ""
	}
	first, err := restarts.read(1)
	if err != nil {
		return "reload impossible: " + err.Error()
	}
	now, err := l.digest()
	if err != nil {
		return "reload impossible: " + err.Error()
	}
	life := fmt.Sprint(first.started)
	text, _ := os.ReadFile(l.state)
	fields := strings.Fields(string(text))
	if len(fields) != 3 || fields[0] != life {
		return l.save(life, now, now, "")
	}
	taken, seen := fields[1], fields[2]
	switch {
	case now == taken:
		return ""
	case now != seen:
		return l.save(life, taken, now, "live files changed")
	}
	own, err := restarts.ownNamespace()
	if err != nil || !own {
		return "reload refused: process ids are not the container's own"
	}
	targets := []process{first}
	if inits[first.name] {
		if targets, err = restarts.children(); err != nil {
			return "reload impossible: " + err.Error()
		}
	}
	said := ""
	if err := l.keep(); err != nil {
		// The new files matter more than what is forgotten.
		said = "; its state was not kept: " + err.Error()
	}
	for _, target := range targets {
		if err := restarts.kill(target.pid, reloadSignals[l.signal]); err != nil {
			return fmt.Sprintf("reload failed: %s (%d): %v", target.name, target.pid, err)
		}
	}
	return l.save(life, now, now, "live files changed: sent SIG"+l.signal+said)
}

func (l *reloader) save(life, taken, seen, note string) string {
	if err := replace(l.state, []byte(life+" "+taken+" "+seen)); err != nil {
		return "reload state can't be written: " + err.Error()
	}
	return note
}
