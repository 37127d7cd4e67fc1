package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const adminPassword = "correct horse battery staple"

// prometheus is a fake Prometheus over TLS that wants basic authentication.
func prometheus(t *testing.T) (*httptest.Server, string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, password, _ := r.BasicAuth(); name != "grafana" || password != "metrics" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.Header.Get("Cookie") != "" {
			t.Error("the browser's cookie reached the data source")
		}
		_ = r.ParseForm()
		fmt.Fprintf(w, `{"status":"success","path":%q,"query":%q}`, r.URL.Path, r.Form.Get("query"))
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const sourceYAML = `apiVersion: 1
datasources:
  - name: Prometheus
    uid: prometheus
    type: prometheus
    access: proxy
    url: %s
    isDefault: true
    basicAuth: true
    basicAuthUser: grafana
    jsonData: {httpMethod: POST, tlsAuthWithCACert: true, serverName: %s}
    secureJsonData:
      tlsCACert: $__file{%s/ca.crt}
      basicAuthPassword: $__file{%s/password}
`

const dashboardJSON = `{"uid": "overview", "title": "Overview", "tags": ["llm"], "schemaVersion": 42,
 "panels": [{"id": 1, "type": "timeseries", "datasource": {"type": "prometheus", "uid": "${datasource}"}}]}`

// world is a provisioned stand-in behind a test server.
type world struct {
	t      *testing.T
	folder string
	server *httptest.Server
	log    *bytes.Buffer
}

func newWorld(t *testing.T, serverName string) *world {
	t.Helper()
	upstream, ca := prometheus(t)
	w := &world{t: t, folder: t.TempDir(), log: &bytes.Buffer{}}
	put(t, w.folder+"/ca.crt", ca)
	put(t, w.folder+"/password", "metrics\n")
	put(t, w.folder+"/admin", adminPassword+"\n")
	put(t, w.folder+"/provisioning/datasources/a.yaml", fmt.Sprintf(sourceYAML, upstream.URL, serverName, w.folder, w.folder))
	put(t, w.folder+"/provisioning/dashboards/a.yaml", fmt.Sprintf(
		"apiVersion: 1\nproviders:\n  - {name: app, type: file, options: {path: %s/dashboards, foldersFromFilesStructure: true}}\n", w.folder))
	put(t, w.folder+"/dashboards/Phoenix/overview.json", dashboardJSON)
	w.start()
	return w
}

func (w *world) environ() []string {
	return []string{
		"GF_PATHS_PROVISIONING=" + w.folder + "/provisioning", "GF_PATHS_DATA=" + w.folder,
		"GF_SECURITY_ADMIN_USER=root", "GF_SECURITY_ADMIN_PASSWORD__FILE=" + w.folder + "/admin",
	}
}

func (w *world) start() {
	w.t.Helper()
	settings, err := readSettings(w.environ())
	if err != nil {
		w.t.Fatal(err)
	}
	provisioned, err := readProvisioning(settings.provisioning, settings.expand)
	if err != nil {
		w.t.Fatal(err)
	}
	store, err := openStore(settings.data, settings.adminUser, settings.adminPassword)
	if err != nil {
		w.t.Fatal(err)
	}
	w.server = httptest.NewServer(newServer(settings, provisioned, store, slog.New(slog.NewTextHandler(w.log, nil))))
	w.t.Cleanup(w.server.Close)
}

// ask sends one request as "user:password" ("" for nobody) and returns status and body.
func (w *world) ask(who, method, path, body string) (int, string) {
	w.t.Helper()
	request, err := http.NewRequest(method, w.server.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if who != "" {
		name, password, _ := strings.Cut(who, ":")
		request.SetBasicAuth(name, password)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.Header.Get(standInHeader) != "grafana" {
		w.t.Errorf("%s does not name the stand-in", path)
	}
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

func (w *world) expect(who, method, path, body string, status int, part string) {
	w.t.Helper()
	got, text := w.ask(who, method, path, body)
	if got != status || !strings.Contains(text, part) {
		w.t.Errorf("%s %s as %q: %d %s; want %d and %q in it", method, path, strings.Split(who, ":")[0], got, text, status, part)
	}
}

const root = "root:" + adminPassword

func TestItNamesItself(t *testing.T) {
	w := newWorld(t, "example.com")
	w.expect("", "GET", "/api/health", "", 200, `"database":"ok"`)
	w.expect("", "GET", "/api/health", "", 200, `"version":"stand-in"`)
	w.expect("", "GET", "/login", "", 200, "This is not Grafana")
	w.expect("", "GET", "/metrics", "", 200, `version="stand-in"`)
	w.expect("", "GET", "/metrics", "", 200, "process_resident_memory_bytes")
}

func TestNobodyIsRefused(t *testing.T) {
	w := newWorld(t, "example.com")
	for _, path := range []string{"/api/org", "/api/search", "/api/dashboards/uid/overview", "/api/datasources/proxy/uid/prometheus/api/v1/query?query=up"} {
		w.expect("", "GET", path, "", 401, "Unauthorized")
		w.expect("root:wrong", "GET", path, "", 401, "Unauthorized")
	}
	w.expect("", "GET", "/", "", 302, "")
}

func TestRoles(t *testing.T) {
	w := newWorld(t, "example.com")
	w.expect(root, "POST", "/api/admin/users", `{"login":"eve","password":"evepass"}`, 200, "User created")
	w.expect(root, "POST", "/api/admin/users", `{"login":"eve","password":"evepass"}`, 412, "already exists")
	w.expect(root, "POST", "/api/admin/users", `{"login":"ed","password":"edpass"}`, 200, `"id":3`)
	w.expect(root, "PATCH", "/api/org/users/3", `{"role":"Editor"}`, 200, "updated")
	w.expect(root, "PATCH", "/api/org/users/3", `{"role":"Emperor"}`, 400, "Invalid role")
	w.expect(root, "GET", "/api/org/users", "", 200, `"role":"Editor"`)

	save := `{"dashboard":{"title":"Mine","uid":"mine","panels":[]}}`
	w.expect("eve:evepass", "POST", "/api/dashboards/db", save, 403, "Access denied")
	w.expect("eve:evepass", "GET", "/api/users", "", 403, "Access denied")
	w.expect("eve:evepass", "GET", "/api/datasources", "", 403, "Access denied")
	w.expect("eve:evepass", "GET", "/api/dashboards/uid/overview", "", 200, `"canEdit":false`)
	w.expect("eve:evepass", "GET", "/api/datasources/proxy/uid/prometheus/api/v1/query?query=up", "", 200, `"query":"up"`)
	w.expect("ed:edpass", "POST", "/api/dashboards/db", save, 200, `"status":"success"`)
	w.expect("ed:edpass", "GET", "/api/dashboards/uid/mine", "", 200, "Mine")
	w.expect("ed:edpass", "POST", "/api/admin/users", `{"login":"x","password":"xxxx"}`, 403, "Access denied")
	w.expect("ed:edpass", "POST", "/api/dashboards/db", `{"dashboard":`+dashboardJSON+`}`, 400, "Cannot save provisioned dashboard")
	w.expect(root, "DELETE", "/api/admin/users/2", "", 200, "deleted")
	w.expect("eve:evepass", "GET", "/api/org", "", 401, "")
}

func TestAccountsOutliveARestart(t *testing.T) {
	w := newWorld(t, "example.com")
	w.expect(root, "POST", "/api/admin/users", `{"login":"eve","password":"evepass"}`, 200, "")
	put(t, w.folder+"/admin", "another password")
	w.start()
	w.expect("eve:evepass", "GET", "/api/user", "", 200, `"login":"eve"`)
	w.expect(root, "GET", "/api/user", "", 200, `"isGrafanaAdmin":true`)
	kept, err := os.ReadFile(w.folder + "/stand-in.json")
	if err != nil || strings.Contains(string(kept), "evepass") {
		t.Errorf("passwords must be kept as hashes: %v", err)
	}
}

func TestLoginBySession(t *testing.T) {
	w := newWorld(t, "example.com")
	w.expect("", "POST", "/login", `{"user":"root","password":"wrong"}`, 401, "Invalid username or password")
	response, err := http.Post(w.server.URL+"/login", "application/json", strings.NewReader(`{"user":"root","password":"`+adminPassword+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if len(response.Cookies()) != 1 || !response.Cookies()[0].HttpOnly {
		t.Fatalf("cookies: %v", response.Cookies())
	}
	request, _ := http.NewRequest("GET", w.server.URL+"/api/user", nil)
	request.AddCookie(response.Cookies()[0])
	answered, err := http.DefaultClient.Do(request)
	if err != nil || answered.StatusCode != 200 {
		t.Errorf("session: %v %v", answered, err)
	}
}

func TestProvisionedDashboards(t *testing.T) {
	w := newWorld(t, "example.com")
	w.expect(root, "GET", "/api/search?query=over", "", 200, `"folderTitle":"Phoenix"`)
	w.expect(root, "GET", "/api/search?tag=nothing", "", 200, "[]")
	w.expect(root, "GET", "/api/dashboards/uid/overview", "", 200, `"provisioned":true`)
	w.expect(root, "GET", "/api/dashboards/uid/missing", "", 404, "not found")
}

func TestQueriesGoAsTheDataSourceSays(t *testing.T) {
	w := newWorld(t, "example.com")
	w.expect(root, "GET", "/api/datasources/uid/prometheus/health", "", 200, `"status":"OK"`)
	proxy := "/api/datasources/proxy/uid/prometheus/"
	w.expect(root, "GET", proxy+"api/v1/query_range?query=up", "", 200, `"path":"/api/v1/query_range"`)
	w.expect(root, "POST", proxy+"api/v1/query?query=up", "", 200, `"query":"up"`)
	w.expect(root, "POST", proxy+"api/v1/admin/tsdb/delete_series", "", 403, "not allowed")
	w.expect(root, "DELETE", proxy+"api/v1/query", "", 403, "not allowed")
	w.expect(root, "GET", "/api/datasources/proxy/uid/other/api/v1/query", "", 404, "not found")
	status, text := w.ask(root, "GET", "/api/datasources", "")
	if status != 200 || strings.Contains(text, "metrics") || strings.Contains(text, "BEGIN CERTIFICATE") {
		t.Errorf("a secret is shown: %s", text)
	}
}

func TestACertificateOfAnotherNameIsRefused(t *testing.T) {
	w := newWorld(t, "prometheus")
	w.expect(root, "GET", "/api/datasources/uid/prometheus/health", "", 400, "certificate")
	w.expect(root, "GET", "/api/datasources/proxy/uid/prometheus/api/v1/query?query=up", "", 502, "certificate")
}

func TestSettingsAreChecked(t *testing.T) {
	for want, environ := range map[string][]string{
		"no default password":       {},
		"no anonymous access":       {"GF_SECURITY_ADMIN_PASSWORD=x", "GF_AUTH_ANONYMOUS_ENABLED=true"},
		"set one":                   {"GF_SECURITY_ADMIN_PASSWORD=x", "GF_SECURITY_ADMIN_PASSWORD__FILE=/x"},
		"needs GF_SERVER_CERT_FILE": {"GF_SECURITY_ADMIN_PASSWORD=x", "GF_SERVER_PROTOCOL=https"},
		"no such file":              {"GF_SECURITY_ADMIN_PASSWORD__FILE=/nowhere"},
		"allowed: https":            {"GF_SECURITY_ADMIN_PASSWORD=x", "GF_SERVER_PROTOCOL=gopher"},
	} {
		if _, err := readSettings(environ); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", environ, err, want)
		}
	}
}

func TestBrokenProvisioningStopsTheStart(t *testing.T) {
	source := func(more string) string {
		return "apiVersion: 1\ndatasources:\n  - {name: P, uid: p, type: prometheus, access: proxy, url: 'https://prometheus:9090'" + more + "}\n"
	}
	for want, files := range map[string]map[string]string{
		"field tlsSkipverify":         {"datasources/a.yaml": source(", tlsSkipverify: true")},
		"must not be true":            {"datasources/a.yaml": source(", jsonData: {tlsSkipVerify: true}")},
		"needs a PEM certificate":     {"datasources/a.yaml": source(", jsonData: {tlsAuthWithCACert: true}")},
		"is not used without":         {"datasources/a.yaml": source(", secureJsonData: {tlsCACert: x}")},
		"basicAuth needs":             {"datasources/a.yaml": source(", basicAuth: true")},
		"no such file":                {"datasources/a.yaml": source(", secureJsonData: {x: '$__file{/nowhere}'}")},
		"uid \"p\" is used twice":     {"datasources/a.yaml": source(""), "datasources/b.yaml": source("")},
		"apiVersion is 0":             {"datasources/a.yaml": "datasources: []\n"},
		"must be empty with":          {"dashboards/a.yaml": "apiVersion: 1\nproviders: [{name: a, folder: b, options: {path: /, foldersFromFilesStructure: true}}]\n"},
		"options.path is needed":      {"dashboards/a.yaml": "apiVersion: 1\nproviders: [{name: a}]\n"},
		"v2 format":                   {"dashboards/a.yaml": "apiVersion: 1\nproviders: [{name: a, options: {path: HERE}}]\n", "d.json": `{"elements": {}}`},
		"panel id 1 is used twice":    {"dashboards/a.yaml": "apiVersion: 1\nproviders: [{name: a, options: {path: HERE}}]\n", "d.json": `{"uid":"a","title":"A","schemaVersion":42,"panels":[{"id":1,"type":"stat"},{"id":1,"type":"stat"}]}`},
		"\"gone\" is not provisioned": {"dashboards/a.yaml": "apiVersion: 1\nproviders: [{name: a, options: {path: HERE}}]\n", "d.json": `{"uid":"a","title":"A","schemaVersion":42,"panels":[{"id":1,"type":"stat","datasource":{"uid":"gone"}}]}`},
		"not JSON":                    {"dashboards/a.yaml": "apiVersion: 1\nproviders: [{name: a, options: {path: HERE}}]\n", "d.json": `{`},
	} {
		folder := t.TempDir()
		for name, text := range files {
			put(t, filepath.Join(folder, name), strings.ReplaceAll(text, "HERE", folder))
		}
		s := &settings{environment: map[string]string{}}
		_, err := readProvisioning(folder, s.expand)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", files, err, want)
		}
	}
}

func TestReferencesAreExpanded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	put(t, file, "inside\n")
	s := &settings{environment: map[string]string{"HOST": "prometheus"}}
	for text, want := range map[string]string{
		"https://$HOST:9090": "https://prometheus:9090", "${HOST}": "prometheus", "$__env{HOST}": "prometheus",
		"a$$b": "a$b", "$__file{" + file + "}": "inside",
	} {
		if got, err := s.expand(text); got != want || err != nil {
			t.Errorf("%s: %q %v", text, got, err)
		}
	}
	if _, err := json.Marshal(s.environment); err != nil {
		t.Fatal(err)
	}
}
