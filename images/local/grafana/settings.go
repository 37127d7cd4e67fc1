package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// settings are Grafana's own environment variables (GF_SECTION_KEY, and GF_SECTION_KEY__FILE for any of them).
type settings struct {
	address, port     string
	certFile, certKey string
	adminUser         string
	adminPassword     string
	provisioning      string
	data              string
	newUserRole       string
	metrics           bool
	metricsUser       string
	metricsPassword   string
	hsts              bool

	environment map[string]string
}

func readSettings(environ []string) (*settings, error) {
	s := &settings{environment: map[string]string{}}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		s.environment[name] = value
	}
	var findings []error
	read := func(name, otherwise string) string {
		value, err := s.value(name)
		if err != nil {
			findings = append(findings, err)
		}
		if value == "" {
			return otherwise
		}
		return value
	}
	s.address = read("GF_SERVER_HTTP_ADDR", "")
	s.port = read("GF_SERVER_HTTP_PORT", "3000")
	s.certFile = read("GF_SERVER_CERT_FILE", "")
	s.certKey = read("GF_SERVER_CERT_KEY", "")
	s.adminUser = read("GF_SECURITY_ADMIN_USER", "admin")
	s.adminPassword = read("GF_SECURITY_ADMIN_PASSWORD", "")
	s.provisioning = read("GF_PATHS_PROVISIONING", "/etc/grafana/provisioning")
	s.data = read("GF_PATHS_DATA", "/var/lib/grafana")
	s.newUserRole = read("GF_USERS_AUTO_ASSIGN_ORG_ROLE", "Viewer")
	s.metrics = read("GF_METRICS_ENABLED", "true") == "true"
	s.metricsUser = read("GF_METRICS_BASIC_AUTH_USERNAME", "")
	s.metricsPassword = read("GF_METRICS_BASIC_AUTH_PASSWORD", "")
	s.hsts = read("GF_SECURITY_STRICT_TRANSPORT_SECURITY", "false") == "true"

	protocol := read("GF_SERVER_PROTOCOL", "http")
	secure := protocol == "https" || protocol == "h2"
	switch {
	case !secure && protocol != "http":
		findings = append(findings, fmt.Errorf("GF_SERVER_PROTOCOL is %q; allowed: https, h2, http", protocol))
	case secure && (s.certFile == "" || s.certKey == ""):
		findings = append(findings, fmt.Errorf("GF_SERVER_PROTOCOL=%s needs GF_SERVER_CERT_FILE and GF_SERVER_CERT_KEY", protocol))
	case !secure:
		s.certFile, s.certKey = "", ""
	}
	if s.adminPassword == "" {
		findings = append(findings, errors.New("GF_SECURITY_ADMIN_PASSWORD__FILE is missing: there is no default password"))
	}
	if read("GF_AUTH_ANONYMOUS_ENABLED", "false") == "true" {
		findings = append(findings, errors.New("GF_AUTH_ANONYMOUS_ENABLED=true: the stand-in has no anonymous access; set it to false"))
	}
	if _, known := ranks[s.newUserRole]; !known {
		findings = append(findings, fmt.Errorf("GF_USERS_AUTO_ASSIGN_ORG_ROLE is %q; allowed: Viewer, Editor, Admin", s.newUserRole))
	}
	return s, errors.Join(findings...)
}

// value is the variable's value, or the content of the file that NAME__FILE names.
func (s *settings) value(name string) (string, error) {
	direct, file := s.environment[name], s.environment[name+"__FILE"]
	if file == "" {
		return s.expand(direct)
	}
	if direct != "" {
		return "", fmt.Errorf("both %s and %s__FILE are set; set one", name, name)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s__FILE: %w", name, err)
	}
	return strings.TrimSpace(string(text)), nil
}

var (
	fileReference        = regexp.MustCompile(`^\$__file\{([^}]*)\}$`)
	environmentReference = regexp.MustCompile(`\$\$|\$__env\{([^}]*)\}|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)`)
)

// expand resolves $__file{path} (a whole value), $NAME, ${NAME} and $__env{NAME}; $$ is a dollar sign.
func (s *settings) expand(text string) (string, error) {
	if match := fileReference.FindStringSubmatch(text); match != nil {
		content, err := os.ReadFile(match[1])
		if err != nil {
			return "", err
		}
		return strings.TrimSpace(string(content)), nil
	}
	return environmentReference.ReplaceAllStringFunc(text, func(word string) string {
		if word == "$$" {
			return "$"
		}
		match := environmentReference.FindStringSubmatch(word)
		return s.environment[match[1]+match[2]+match[3]]
	}), nil
}
