package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bodyLimit bounds what is read of an answer, in bytes.
const bodyLimit = 1 << 20

type httpOptions struct {
	urls, headers          list
	ca, serverName, status string
	basicFile, bearerFile  string
	contains, liveURL      string
}

func (o *httpOptions) register(flags *flag.FlagSet) {
	flags.Var(&o.urls, "url", "URL that must answer; may be given several times; http:// only to loopback")
	flags.StringVar(&o.ca, "ca", "", "PEM file with the certificate authorities to trust (needed for https)")
	flags.StringVar(&o.serverName, "server-name", "", "name that the certificate must carry, where it is not the URL's host")
	flags.StringVar(&o.status, "status", "200", "expected status; several: 200,204")
	flags.StringVar(&o.basicFile, "basic-auth-file", "", "file with user:password")
	flags.StringVar(&o.bearerFile, "bearer-file", "", "file with a bearer token")
	flags.Var(&o.headers, "header", "'Name: value'; may be given several times")
	flags.StringVar(&o.contains, "body-contains", "", "text that the answer must contain")
	flags.StringVar(&o.liveURL, "live-url", "", "only failures of this URL count towards a restart (alive but not ready is no reason)")
}

// check validates the options and returns the probe. Files are read at each probe: they may be live.
func (o *httpOptions) check() (func(context.Context) verdict, error) {
	if len(o.urls) == 0 {
		return nil, errors.New("`probe http` needs --url")
	}
	if o.basicFile != "" && o.bearerFile != "" {
		return nil, errors.New("--basic-auth-file and --bearer-file exclude each other")
	}
	for _, raw := range append(append(list{}, o.urls...), o.liveURL) {
		if raw == "" {
			continue
		}
		if err := o.allowed(raw); err != nil {
			return nil, err
		}
	}
	statuses := map[int]bool{}
	for _, word := range strings.Split(o.status, ",") {
		code, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || code < 100 || code > 599 {
			return nil, fmt.Errorf("--status %q is not a list of HTTP statuses", o.status)
		}
		statuses[code] = true
	}
	for _, header := range o.headers {
		if name, _, found := strings.Cut(header, ":"); !found || strings.TrimSpace(name) == "" {
			return nil, errors.New("--header wants 'Name: value'")
		}
	}
	return func(ctx context.Context) verdict { return o.run(ctx, statuses) }, nil
}

// allowed refuses what would send credentials or trust an answer without TLS over a network.
func (o *httpOptions) allowed(raw string) error {
	target, err := url.Parse(raw)
	if err != nil || target.Host == "" {
		return fmt.Errorf("--url %q is not a URL", raw)
	}
	if target.User != nil {
		return errors.New("--url must not hold credentials: use --basic-auth-file")
	}
	host := target.Hostname()
	address := net.ParseIP(host)
	loopback := host == "localhost" || (address != nil && address.IsLoopback())
	switch {
	case target.Scheme == "https" && o.ca == "":
		return fmt.Errorf("%s needs --ca FILE", raw)
	case target.Scheme == "http" && !loopback:
		return fmt.Errorf("%s: plain http is allowed to loopback only", raw)
	case target.Scheme != "https" && target.Scheme != "http":
		return fmt.Errorf("%s: the scheme must be https (or http to loopback)", raw)
	}
	return nil
}

func (o *httpOptions) run(ctx context.Context, statuses map[int]bool) verdict {
	client, err := o.client()
	if err != nil {
		return sick(err)
	}
	details := make([]string, 0, len(o.urls))
	for _, target := range o.urls {
		detail, err := o.get(ctx, client, target, statuses, o.contains)
		if err != nil {
			return o.alive(ctx, client, err)
		}
		details = append(details, detail)
	}
	return healthy(strings.Join(details, ", "))
}

// alive decides whether a failure counts towards a restart: always, unless the live URL answers.
func (o *httpOptions) alive(ctx context.Context, client *http.Client, failure error) verdict {
	result := sick(failure)
	if o.liveURL == "" {
		return result
	}
	// The main probe may have used up its time; the live URL gets a second of its own.
	live, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if _, err := o.get(live, client, o.liveURL, map[int]bool{200: true, 204: true}, ""); err == nil {
		result.sick = false
		result.detail += "; alive at " + o.liveURL
	} else {
		result.detail += "; " + err.Error()
	}
	return result
}

func (o *httpOptions) client() (*http.Client, error) {
	transport := &http.Transport{Proxy: nil, DisableKeepAlives: true}
	if o.ca != "" {
		pem, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca: %s holds no PEM certificate", o.ca)
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: o.serverName}
	}
	return &http.Client{
		Transport: transport,
		// A redirect is an answer of its own: its status is compared, it is never followed.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func (o *httpOptions) get(ctx context.Context, client *http.Client, target string, statuses map[int]bool, contains string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("User-Agent", "agentstack-probe")
	for _, header := range o.headers {
		name, value, _ := strings.Cut(header, ":")
		if strings.EqualFold(strings.TrimSpace(name), "Host") {
			request.Host = strings.TrimSpace(value)
			continue
		}
		request.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if err := o.authorize(request); err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		var failure *url.Error
		if errors.As(err, &failure) {
			err = failure.Err
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = errors.New("no answer in time")
		}
		return "", fmt.Errorf("%s: %w", target, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, bodyLimit))
	if err != nil {
		return "", fmt.Errorf("%s: %d, but its body broke off: %w", target, response.StatusCode, err)
	}
	if !statuses[response.StatusCode] {
		return "", fmt.Errorf("%s: status %d, expected %s", target, response.StatusCode, o.statusText(statuses))
	}
	if contains != "" && !bytes.Contains(body, []byte(contains)) {
		return "", fmt.Errorf("%s: status %d, but the answer does not contain %q", target, response.StatusCode, contains)
	}
	return fmt.Sprintf("%s %d", target, response.StatusCode), nil
}

func (o *httpOptions) statusText(statuses map[int]bool) string {
	if len(statuses) > 1 {
		return "one of " + o.status
	}
	for code := range statuses {
		return strconv.Itoa(code)
	}
	return o.status
}

func (o *httpOptions) authorize(request *http.Request) error {
	switch {
	case o.basicFile != "":
		text, err := os.ReadFile(o.basicFile)
		if err != nil {
			return fmt.Errorf("--basic-auth-file: %w", err)
		}
		user, password, found := strings.Cut(strings.TrimRight(string(text), "\r\n"), ":")
		if !found {
			return fmt.Errorf("--basic-auth-file: %s holds no user:password", o.basicFile)
		}
		request.SetBasicAuth(user, password)
	case o.bearerFile != "":
		text, err := os.ReadFile(o.bearerFile)
		if err != nil {
			return fmt.Errorf("--bearer-file: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(text)))
	}
	return nil
}

func checkTCP(ctx context.Context, address string) verdict {
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return sick(fmt.Errorf("%s: %w", address, err))
	}
	_ = connection.Close()
	return healthy(address + " accepts connections")
}

func checkExec(ctx context.Context, words []string) verdict {
	command := exec.CommandContext(ctx, words[0], words[1:]...)
	// A group of its own: at the deadline the command's children end too.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = 500 * time.Millisecond
	output, err := command.CombinedOutput()
	said := lastLine(output)
	if err == nil {
		return healthy(strings.TrimSpace(words[0] + " " + said))
	}
	if ctx.Err() != nil {
		return sick(fmt.Errorf("%s: no answer in time", words[0]))
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return sick(fmt.Errorf("%s: %w", words[0], err))
	}
	result := sick(fmt.Errorf("%s: exit %d: %s", words[0], exit.ExitCode(), said))
	if result.code = exit.ExitCode(); result.code < 1 {
		result.code = 1
	}
	return result
}

// lastLine is the last line that a command printed, cut to what a health log bears.
func lastLine(output []byte) string {
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	line := strings.TrimSpace(lines[len(lines)-1])
	if len(line) > 200 {
		line = line[:200] + "..."
	}
	return line
}
