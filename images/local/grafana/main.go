// Command grafana is a stand-in for Grafana, for machines where no image registry answers.
//
// It is not Grafana and says so: in /api/health, in the header X-AgentStack-Stand-In of every answer,
// on its login page and in its log. It does what the rest of the stack needs of Grafana to be proved:
// it checks provisioning files as strictly as Grafana (errors stop the start), serves HTTPS, keeps users
// and enforces roles, hands out the provisioned dashboards, and proxies queries to Prometheus exactly as
// the provisioned data source says. It draws nothing.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

const standInHeader = "X-AgentStack-Stand-In"

func main() {
	if len(os.Args) > 1 && (os.Args[1] == "--version" || os.Args[1] == "-v" || os.Args[1] == "version") {
		fmt.Println("grafana stand-in of AgentStack (not Grafana)")
		return
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("stand_in", "grafana")
	if err := serve(log); err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			log.Error(line)
		}
		os.Exit(1)
	}
}

func serve(log *slog.Logger) error {
	settings, err := readSettings(os.Environ())
	if err != nil {
		return err
	}
	provisioned, err := readProvisioning(settings.provisioning, settings.expand)
	if err != nil {
		return err
	}
	store, err := openStore(settings.data, settings.adminUser, settings.adminPassword)
	if err != nil {
		return err
	}
	api := newServer(settings, provisioned, store, log)
	server := &http.Server{
		Handler:           api,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		IdleTimeout:       120 * time.Second,
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(settings.address, settings.port))
	if err != nil {
		return fmt.Errorf("GF_SERVER_HTTP_ADDR, GF_SERVER_HTTP_PORT: %w", err)
	}
	scheme := "http"
	if settings.certFile != "" {
		scheme = "https"
		certificate := &certificate{cert: settings.certFile, key: settings.certKey}
		if _, err := certificate.get(nil); err != nil {
			return fmt.Errorf("GF_SERVER_CERT_FILE, GF_SERVER_CERT_KEY: %w", err)
		}
		listener = tls.NewListener(listener, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate.get})
	}
	log.Info("This is a stand-in, not Grafana: it draws nothing.")
	log.Info("serving", "scheme", scheme, "address", listener.Addr().String(),
		"data_sources", len(provisioned.sources), "dashboards", len(provisioned.dashboards), "users", store.count())

	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-stop.Done():
	}
	log.Info("stopping")
	grace, done := context.WithTimeout(context.Background(), 10*time.Second)
	defer done()
	if err := server.Shutdown(grace); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// certificate is read again when its file changes, so that a renewed one needs no restart.
type certificate struct {
	cert, key string

	mutex   sync.Mutex
	changed time.Time
	current *tls.Certificate
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	info, err := os.Stat(c.cert)
	if err != nil {
		if c.current != nil {
			return c.current, nil
		}
		return nil, err
	}
	if c.current == nil || !info.ModTime().Equal(c.changed) {
		pair, err := tls.LoadX509KeyPair(c.cert, c.key)
		switch {
		case err == nil:
			c.current, c.changed = &pair, info.ModTime()
		case c.current == nil:
			return nil, err
		}
	}
	return c.current, nil
}
