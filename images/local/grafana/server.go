package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	sessionCookie = "grafana_session"
	sessionLife   = 12 * time.Hour
	bodyLimit     = 8 << 20
)

type server struct {
	settings    *settings
	provisioned *provisioning
	store       *store
	log         *slog.Logger
	mux         *http.ServeMux
	started     time.Time

	mutex    sync.Mutex
	sessions map[string]session
	requests sync.Map // status code -> *atomic.Int64
	refused  atomic.Int64
}

type session struct {
	user int
	ends time.Time
}

type userKey struct{}

func newServer(settings *settings, provisioned *provisioning, store *store, log *slog.Logger) *server {
	s := &server{
		settings: settings, provisioned: provisioned, store: store, log: log,
		mux: http.NewServeMux(), started: time.Now(), sessions: map[string]session{},
	}
	open := func(pattern string, handler http.HandlerFunc) { s.mux.HandleFunc(pattern, handler) }
	open("GET /api/health", s.health)
	open("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "Ok") })
	open("GET /login", s.loginPage)
	open("POST /login", s.logIn)
	open("GET /logout", s.logOut)
	open("GET /metrics", s.metrics)
	open("GET /robots.txt", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "User-agent: *\nDisallow: /\n") })

	s.allow("Viewer", "GET /api/org", s.organisation)
	s.allow("Viewer", "GET /api/org/{$}", s.organisation)
	s.allow("Viewer", "GET /api/user", s.self)
	s.allow("Viewer", "GET /api/user/orgs", s.ownOrganisations)
	s.allow("Viewer", "PUT /api/user/password", s.changeOwnPassword)
	s.allow("Admin", "GET /api/users", s.listUsers)
	s.allow("Admin", "GET /api/users/lookup", s.lookUpUser)
	s.allow("Admin", "GET /api/users/{id}", s.showUser)
	s.allow("Admin", "GET /api/org/users", s.listMembers)
	s.allow("Admin", "PATCH /api/org/users/{id}", s.changeRole)
	s.allow("Admin", "POST /api/admin/users", s.createUser)
	s.allow("Admin", "PUT /api/admin/users/{id}/password", s.changePassword)
	s.allow("Admin", "DELETE /api/admin/users/{id}", s.deleteUser)
	s.allow("Admin", "GET /api/datasources", s.listSources)
	s.allow("Admin", "GET /api/datasources/uid/{uid}", s.showSource)
	s.allow("Admin", "GET /api/datasources/name/{name}", s.showSourceByName)
	s.allow("Viewer", "GET /api/datasources/uid/{uid}/health", s.sourceHealth)
	s.allow("Viewer", "/api/datasources/proxy/uid/{uid}/{path...}", s.proxy)
	s.allow("Viewer", "GET /api/plugins", s.plugins)
	s.allow("Viewer", "GET /api/search", s.search)
	s.allow("Viewer", "GET /api/folders", s.folders)
	s.allow("Viewer", "GET /api/dashboards/uid/{uid}", s.showDashboard)
	s.allow("Editor", "POST /api/dashboards/db", s.saveDashboard)
	s.allow("Viewer", "GET /{$}", s.home)
	s.allow("Viewer", "GET /dashboards", s.home)
	s.allow("Viewer", "GET /d/{uid}/{slug}", s.home)
	s.allow("Viewer", "/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusNotFound, "Not found: the Grafana stand-in does not have this")
	})
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set(standInHeader, "grafana")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "deny")
	header.Set("Cache-Control", "no-store")
	if s.settings.hsts && r.TLS != nil {
		header.Set("Strict-Transport-Security", "max-age=86400")
	}
	r.Body = http.MaxBytesReader(w, r.Body, bodyLimit)
	recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
	s.mux.ServeHTTP(recorder, r)
	counter, _ := s.requests.LoadOrStore(recorder.status, new(atomic.Int64))
	counter.(*atomic.Int64).Add(1)
	if recorder.status >= 400 {
		s.log.Warn("request", "method", r.Method, "path", r.URL.Path, "status", recorder.status, "remote", r.RemoteAddr)
	}
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// allow registers a handler for accounts of this role and the ones above it.
func (s *server) allow(role, pattern string, handler http.HandlerFunc) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		account, known := s.account(r)
		if !known {
			if r.Method == http.MethodGet && !strings.HasPrefix(r.URL.Path, "/api/") && r.Header.Get("Authorization") == "" {
				http.Redirect(w, r, "/login", http.StatusFound)
				return
			}
			s.refused.Add(1)
			w.Header().Set("WWW-Authenticate", `Basic realm="Grafana stand-in"`)
			fail(w, http.StatusUnauthorized, "Unauthorized")
			return
		}
		if ranks[account.Role] < ranks[role] {
			answer(w, http.StatusForbidden, map[string]any{
				"title": "Access denied", "accessErrorId": "stand-in",
				"message": fmt.Sprintf("You'll need additional permissions to perform this action. Role needed: %s", role),
			})
			return
		}
		handler(w, r.WithContext(context.WithValue(r.Context(), userKey{}, account)))
	})
}

// account is who asks: by basic authentication or by the session's cookie.
func (s *server) account(r *http.Request) (user, bool) {
	if name, password, given := r.BasicAuth(); given {
		return s.store.login(name, password)
	}
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return user{}, false
	}
	s.mutex.Lock()
	found, known := s.sessions[cookie.Value]
	s.mutex.Unlock()
	if !known || time.Now().After(found.ends) {
		return user{}, false
	}
	for _, one := range s.store.users() {
		if one.ID == found.user {
			return one, true
		}
	}
	return user{}, false
}

func self(r *http.Request) user {
	account, _ := r.Context().Value(userKey{}).(user)
	return account
}

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

func fail(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"message": message})
}

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		fail(w, http.StatusBadRequest, "bad request data: "+err.Error())
		return false
	}
	return true
}

func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	database, status := "ok", http.StatusOK
	if _, err := os.Stat(s.store.path); err != nil {
		database, status = "failing", http.StatusServiceUnavailable
	}
	answer(w, status, map[string]any{
		"commit": "stand-in", "database": database, "version": "stand-in",
		"standIn": true, "note": "This is AgentStack's stand-in, not Grafana.",
	})
}

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Grafana stand-in</title></head><body>
<h1>Grafana stand-in</h1>
<p><strong>This is not Grafana.</strong> No image registry answered when this stack was made, so a stand-in runs in its
place: it checks provisioning, keeps users and roles and proxies queries, but draws no dashboards. With
<code>imageSource: registry</code> the real Grafana runs here.</p>
{{if .Login}}<form method="post" action="/login"><label>User <input name="user" autocomplete="username"></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label><button>Log in</button></form>
{{else}}<p>Logged in as {{.User}}.</p><ul>{{range .Titles}}<li>{{.}}</li>{{end}}</ul>{{end}}</body></html>
`))

func (s *server) loginPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = page.Execute(w, map[string]any{"Login": true})
}

func (s *server) home(w http.ResponseWriter, r *http.Request) {
	var titles []string
	for _, one := range s.dashboards() {
		titles = append(titles, one.title)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = page.Execute(w, map[string]any{"User": self(r).Login, "Titles": titles})
}

func (s *server) logIn(w http.ResponseWriter, r *http.Request) {
	var form struct{ User, Password string }
	byForm := strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
	if byForm {
		form.User, form.Password = r.PostFormValue("user"), r.PostFormValue("password")
	} else if !decode(w, r, &form) {
		return
	}
	account, right := s.store.login(form.User, form.Password)
	if !right {
		s.refused.Add(1)
		s.log.Warn("login refused", "remote", r.RemoteAddr)
		fail(w, http.StatusUnauthorized, "Invalid username or password")
		return
	}
	token := make([]byte, 24)
	if _, err := rand.Read(token); err != nil {
		fail(w, http.StatusInternalServerError, "no random numbers")
		return
	}
	value := hex.EncodeToString(token)
	s.mutex.Lock()
	for key, one := range s.sessions {
		if time.Now().After(one.ends) {
			delete(s.sessions, key)
		}
	}
	s.sessions[value] = session{user: account.ID, ends: time.Now().Add(sessionLife)}
	s.mutex.Unlock()
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/", MaxAge: int(sessionLife.Seconds()),
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
	if byForm {
		http.Redirect(w, r, "/", http.StatusFound)
		return
	}
	answer(w, http.StatusOK, map[string]string{"message": "Logged in", "redirectUrl": "/"})
}

func (s *server) logOut(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		s.mutex.Lock()
		delete(s.sessions, cookie.Value)
		s.mutex.Unlock()
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1})
	http.Redirect(w, r, "/login", http.StatusFound)
}

// metrics are a few of Grafana's names, and the process's own.
func (s *server) metrics(w http.ResponseWriter, r *http.Request) {
	if !s.settings.metrics {
		fail(w, http.StatusNotFound, "metrics are off")
		return
	}
	if s.settings.metricsUser != "" {
		name, password, _ := r.BasicAuth()
		rightName := subtle.ConstantTimeCompare([]byte(name), []byte(s.settings.metricsUser))
		rightPassword := subtle.ConstantTimeCompare([]byte(password), []byte(s.settings.metricsPassword))
		if rightName&rightPassword != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="metrics"`)
			fail(w, http.StatusUnauthorized, "Unauthorized")
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	metric := func(name, kind, help, labels string, value float64) {
		if kind != "" {
			fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
		}
		fmt.Fprintf(w, "%s%s %s\n", name, labels, strconv.FormatFloat(value, 'g', -1, 64))
	}
	metric("grafana_build_info", "gauge", "What runs here: a stand-in, not Grafana.", `{version="stand-in",edition="stand-in"}`, 1)
	metric("grafana_stat_totals_dashboard", "gauge", "Dashboards.", "", float64(len(s.dashboards())))
	metric("grafana_stat_total_users", "gauge", "Accounts.", "", float64(s.store.count()))
	metric("grafana_stand_in_refused_logins_total", "counter", "Requests with a wrong or missing login.", "", float64(s.refused.Load()))
	var codes []int
	s.requests.Range(func(code, _ any) bool { codes = append(codes, code.(int)); return true })
	sort.Ints(codes)
	kind := "counter"
	for _, code := range codes {
		counter, _ := s.requests.Load(code)
		metric("grafana_http_response_status_total", kind, "Answers by status.", fmt.Sprintf(`{code="%d"}`, code), float64(counter.(*atomic.Int64).Load()))
		kind = ""
	}
	for _, one := range processMetrics() {
		metric(one.name, one.kind, one.help, "", one.value)
	}
}
