package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// probe runs the command line and returns its exit code and its line.
func probe(t *testing.T, restarts *restarter, arguments ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	if restarts == nil {
		restarts = newRestarter("/proc")
	}
	code := run(arguments, &out, restarts)
	return code, strings.TrimSpace(out.String())
}

func expect(t *testing.T, code int, line string, wantCode int, want string) {
	t.Helper()
	if code != wantCode || !strings.Contains(line, want) {
		t.Errorf("got exit %d, %q; want exit %d and %q in it", code, line, wantCode, want)
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tlsServer answers by path and demands what the path says; its CA file is returned too.
func tlsServer(t *testing.T) (*httptest.Server, string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch r.URL.Path {
		case "/basic":
			if user != "prometheus" || password != "pass:word" {
				w.WriteHeader(http.StatusUnauthorized)
			}
		case "/bearer":
			if r.Header.Get("Authorization") != "Bearer token" {
				w.WriteHeader(http.StatusUnauthorized)
			}
		case "/header":
			if r.Header.Get("X-Test") != "yes" || r.Host != "elsewhere.example" {
				w.WriteHeader(http.StatusBadRequest)
			}
		case "/redirect":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/sick":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/slow":
			<-r.Context().Done()
		}
		fmt.Fprint(w, "all is well")
	}))
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return server, write(t, "ca.crt", string(ca))
}

func TestHTTPVerdicts(t *testing.T) {
	server, ca := tlsServer(t)
	basic := write(t, "basic", "prometheus:pass:word\n")
	wrong := write(t, "wrong", "prometheus:wrong")
	bearer := write(t, "bearer", "token\n")
	for name, test := range map[string]struct {
		arguments []string
		code      int
		want      string
	}{
		"healthy":              {[]string{"--url", server.URL + "/"}, 0, "ok " + server.URL},
		"two urls":             {[]string{"--url", server.URL + "/", "--url", server.URL + "/x"}, 0, "/x 200"},
		"one of two":           {[]string{"--url", server.URL + "/", "--url", server.URL + "/sick"}, 1, "status 503, expected 200"},
		"expected status":      {[]string{"--url", server.URL + "/sick", "--status", "200,503"}, 0, "503"},
		"redirect not taken":   {[]string{"--url", server.URL + "/redirect"}, 1, "status 302"},
		"basic":                {[]string{"--url", server.URL + "/basic", "--basic-auth-file", basic}, 0, "200"},
		"wrong password":       {[]string{"--url", server.URL + "/basic", "--basic-auth-file", wrong}, 1, "401"},
		"no such file":         {[]string{"--url", server.URL + "/basic", "--basic-auth-file", "/nowhere"}, 1, "--basic-auth-file"},
		"bearer":               {[]string{"--url", server.URL + "/bearer", "--bearer-file", bearer}, 0, "200"},
		"headers":              {[]string{"--url", server.URL + "/header", "--header", "X-Test: yes", "--header", "Host: elsewhere.example"}, 0, "200"},
		"body":                 {[]string{"--url", server.URL + "/", "--body-contains", "is well"}, 0, "200"},
		"wrong body":           {[]string{"--url", server.URL + "/", "--body-contains", "is ill"}, 1, "does not contain"},
		"server name":          {[]string{"--url", server.URL + "/", "--server-name", "example.com"}, 0, "200"},
		"foreign server name":  {[]string{"--url", server.URL + "/", "--server-name", "phoenix"}, 1, "certificate"},
		"deadline":             {[]string{"--url", server.URL + "/slow", "--timeout", "50ms"}, 1, "no answer in time"},
		"plain http elsewhere": {[]string{"--url", "http://phoenix:6006/"}, 1, "loopback only"},
		"credentials in url":   {[]string{"--url", "https://user:secret@localhost/"}, 1, "must not hold credentials"},
		"unknown status":       {[]string{"--url", server.URL + "/", "--status", "2xx"}, 1, "not a list of HTTP statuses"},
		"no url":               {nil, 1, "needs --url"},
	} {
		t.Run(name, func(t *testing.T) {
			code, line := probe(t, nil, append([]string{"http", "--ca", ca}, test.arguments...)...)
			expect(t, code, line, test.code, test.want)
			if strings.Contains(line, "secret") || strings.Contains(line, "pass:word") {
				t.Errorf("the line shows a secret: %q", line)
			}
		})
	}
}

func TestHTTPSNeedsOurAuthority(t *testing.T) {
	server, _ := tlsServer(t)
	code, line := probe(t, nil, "http", "--url", server.URL+"/")
	expect(t, code, line, 1, "needs --ca")
	empty := write(t, "empty.crt", "no certificate")
	code, line = probe(t, nil, "http", "--ca", empty, "--url", server.URL+"/")
	expect(t, code, line, 1, "holds no PEM certificate")
	code, line = probe(t, nil, "http", "--ca", foreignAuthority(t), "--url", server.URL+"/")
	expect(t, code, line, 1, "unknown authority")
}

// foreignAuthority is the file of a valid authority that signed nothing here.
func foreignAuthority(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "foreign"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "foreign.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

func TestPlainHTTPToLoopback(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer server.Close()
	code, line := probe(t, nil, "http", "--url", server.URL+"/")
	expect(t, code, line, 0, "200")
}

func TestTCP(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	code, line := probe(t, nil, "tcp", "--address", address)
	expect(t, code, line, 0, "accepts connections")
	listener.Close()
	code, line = probe(t, nil, "tcp", "--address", address)
	expect(t, code, line, 1, "refused")
}

func TestExec(t *testing.T) {
	code, line := probe(t, nil, "exec", "--", "sh", "-c", "echo first; echo accepting")
	expect(t, code, line, 0, "accepting")
	code, line = probe(t, nil, "exec", "--", "sh", "-c", "echo no response; exit 3")
	expect(t, code, line, 3, "exit 3: no response")
	code, line = probe(t, nil, "exec", "--", "/nowhere/program")
	expect(t, code, line, 1, "no such file")
	started := time.Now()
	code, line = probe(t, nil, "exec", "--timeout", "100ms", "--", "sh", "-c", "sleep 30 & wait")
	expect(t, code, line, 1, "no answer in time")
	if time.Since(started) > 5*time.Second {
		t.Error("the command's children outlived the deadline")
	}
}

func TestUsage(t *testing.T) {
	for _, arguments := range [][]string{{}, {"ping"}, {"tcp"}, {"exec"}, {"http", "--nonsense"}, {"tcp", "--address", "a:1", "--signal", "KILL"}} {
		if code, line := probe(t, nil, arguments...); code != 1 || line == "" {
			t.Errorf("%v: exit %d, %q", arguments, code, line)
		}
	}
	code, line := probe(t, nil, "version")
	expect(t, code, line, 0, "agentstack probe")
}

// container is a made-up /proc: what the restarter sees of a container.
type container struct {
	t       *testing.T
	proc    string
	state   string
	signals []string
}

func newContainer(t *testing.T) *container {
	c := &container{t: t, proc: t.TempDir(), state: filepath.Join(t.TempDir(), "state")}
	c.uptime(1000)
	c.process(1, "docker-init", 'S', 0, 90000)
	c.process(7, "a (service)", 'S', 1, 90001)
	c.process(8, "its worker", 'S', 7, 90002)
	c.process(99, "probe", 'R', 0, 99000)
	return c
}

func (c *container) uptime(seconds int) {
	if err := os.WriteFile(filepath.Join(c.proc, "uptime"), []byte(fmt.Sprintf("%d.00 0.00\n", seconds)), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *container) process(pid int, name string, state byte, parent, started int) {
	folder := filepath.Join(c.proc, strconv.Itoa(pid))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		c.t.Fatal(err)
	}
	stat := fmt.Sprintf("%d (%s) %c %d%s %d 0\n", pid, name, state, parent, strings.Repeat(" 0", 17), started)
	if err := os.WriteFile(filepath.Join(folder, "stat"), []byte(stat), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *container) restarter() *restarter {
	return &restarter{proc: c.proc, self: 99, kill: func(pid int, signal syscall.Signal) error {
		c.signals = append(c.signals, fmt.Sprintf("%v to %d", signal, pid))
		return nil
	}}
}

// fail is one failing probe, ok one that passes.
func (c *container) fail(flags ...string) string {
	_, line := probe(c.t, c.restarter(), append([]string{"exec", "--restart-after", "3", "--state", c.state}, append(flags, "--", "false")...)...)
	return line
}

func (c *container) ok() {
	if code, line := probe(c.t, c.restarter(), "exec", "--restart-after", "3", "--state", c.state, "--", "true"); code != 0 {
		c.t.Fatal(line)
	}
}

func (c *container) expectSignals(want ...string) {
	c.t.Helper()
	if strings.Join(c.signals, ", ") != strings.Join(want, ", ") {
		c.t.Errorf("signals: %v, want %v", c.signals, want)
	}
}

func TestRestartAsksThenKills(t *testing.T) {
	c := newContainer(t)
	c.fail()
	if line := c.fail(); !strings.Contains(line, "failure 2 of 3 before a restart") {
		t.Error(line)
	}
	c.expectSignals()
	if line := c.fail(); !strings.Contains(line, "sent SIGTERM to a (service) (7)") {
		t.Error(line)
	}
	c.expectSignals("terminated to 7")
	c.fail()
	c.expectSignals("terminated to 7", "killed to 7")
}

func TestSuccessResets(t *testing.T) {
	c := newContainer(t)
	c.fail()
	c.fail()
	c.ok()
	c.fail()
	c.fail()
	c.expectSignals()
	c.fail()
	c.expectSignals("terminated to 7")
}

func TestAStoppedServiceIsKilledAtOnce(t *testing.T) {
	c := newContainer(t)
	c.process(7, "service", 'T', 1, 90001)
	c.fail()
	c.fail()
	c.fail()
	c.expectSignals("killed to 7")
}

func TestAnotherAskingSignal(t *testing.T) {
	c := newContainer(t)
	c.fail("--signal", "INT")
	c.fail("--signal", "INT")
	c.fail("--signal", "INT")
	c.expectSignals("interrupt to 7")
}

func TestWithoutAnInitPID1IsAsked(t *testing.T) {
	c := newContainer(t)
	c.process(1, "service", 'S', 0, 90000)
	c.fail()
	c.fail()
	c.fail()
	c.expectSignals("terminated to 1")
}

func TestTheHostsProcessesAreNeverSignalled(t *testing.T) {
	c := newContainer(t)
	c.process(1, "docker-init", 'S', 0, 90000)
	c.process(50, "containerd-shim", 'S', 1, 90000)
	c.process(99, "probe", 'R', 50, 99000)
	var line string
	for range 5 {
		line = c.fail()
	}
	c.expectSignals()
	if !strings.Contains(line, "shares the host's process ids") {
		t.Error(line)
	}
}

func TestFailuresOfAnEarlierLifeDoNotCount(t *testing.T) {
	c := newContainer(t)
	c.fail()
	c.fail()
	c.process(1, "docker-init", 'S', 0, 95000)
	c.fail()
	c.expectSignals()
}

func TestGraceWhileStarting(t *testing.T) {
	c := newContainer(t)
	c.uptime(910) // PID 1 started at 900 s
	for range 5 {
		c.fail("--grace", "30s")
	}
	c.expectSignals()
	c.ok()
	for range 3 {
		c.fail("--grace", "30s")
	}
	c.expectSignals("terminated to 7")
}

func TestNotReadyButAliveIsNoReason(t *testing.T) {
	server, ca := tlsServer(t)
	for name, want := range map[string]int{"/": 0, "/sick": 1} {
		c := newContainer(t)
		for range 3 {
			code, _ := probe(t, c.restarter(), "http", "--ca", ca, "--url", server.URL+"/sick", "--live-url", server.URL+name,
				"--restart-after", "3", "--state", c.state)
			if code != 1 {
				t.Error("not ready must be unhealthy")
			}
		}
		if len(c.signals) != want {
			t.Errorf("live url %s: signals %v", name, c.signals)
		}
	}
}

func TestStateFileThatCannotBeWritten(t *testing.T) {
	c := newContainer(t)
	c.state = filepath.Join(t.TempDir(), "missing", "state")
	if line := c.fail(); !strings.Contains(line, "failures can't be counted") {
		t.Error(line)
	}
}

func TestFailedSignalIsSaid(t *testing.T) {
	c := newContainer(t)
	restarts := c.restarter()
	restarts.kill = func(int, syscall.Signal) error { return errors.New("not permitted") }
	_, line := probe(t, restarts, "exec", "--restart-after", "1", "--state", c.state, "--", "false")
	if !strings.Contains(line, "not permitted") {
		t.Error(line)
	}
}
