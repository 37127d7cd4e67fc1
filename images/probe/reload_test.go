package main

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestReloadWaitsForTwoEqualLooksAndSignalsOnce(t *testing.T) {
	live, proc := t.TempDir(), t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stat := func(pid, name, parent string) {
		write(filepath.Join(proc, pid, "stat"), pid+" ("+name+") S "+parent+" 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 77 0")
	}
	stat("1", "docker-init", "0")
	stat("7", "haproxy", "1")
	stat("9", "probe", "0")
	var sent []int
	restarts := &restarter{proc: proc, self: 9, kill: func(pid int, signal syscall.Signal) error {
		if signal != syscall.SIGUSR2 {
			t.Fatalf("signal %v", signal)
		}
		sent = append(sent, pid)
		return nil
	}}
	reload := &reloader{dir: live, signal: "USR2", state: filepath.Join(t.TempDir(), "state")}
	write(filepath.Join(live, "maps", "apps.map"), "one")
	for range 3 {
		reload.note(restarts)
	}
	if len(sent) != 0 {
		t.Fatalf("unchanged files signalled %v", sent)
	}
	write(filepath.Join(live, "maps", "apps.map"), "two")
	reload.note(restarts)
	if len(sent) != 0 {
		t.Fatal("signalled at the first sight of a change")
	}
	reload.note(restarts)
	reload.note(restarts)
	if len(sent) != 1 || sent[0] != 7 {
		t.Fatalf("want one signal to the service (7), got %v", sent)
	}
}

func TestReloadKeepsWhatTheServiceAnswers(t *testing.T) {
	dir := t.TempDir()
	reload := &reloader{socket: filepath.Join(dir, "socket"), ask: "show state", answer: filepath.Join(dir, "kept")}
	if err := reload.keep(); err == nil {
		t.Fatal("no error without a service")
	}
	listener, err := net.Listen("unix", reload.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(connection).ReadString('\n')
			connection.Write([]byte("heard " + strings.TrimSpace(line)))
			connection.Close()
		}
	}()
	if err := reload.keep(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(reload.answer)
	if err != nil || string(text) != "heard show state" {
		t.Fatalf("kept %q, %v", text, err)
	}
}
