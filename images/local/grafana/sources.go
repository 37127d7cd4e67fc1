package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sort"
	"strings"
	"time"
)

// writable are the paths that Grafana's Prometheus data source lets POST requests through to.
var writable = map[string]bool{
	"api/v1/query": true, "api/v1/query_range": true, "api/v1/series": true, "api/v1/labels": true, "api/v1/query_exemplars": true,
}

// public is what the API shows of a data source: never secureJsonData, only which of its fields are set.
func (d *dataSource) public() map[string]any {
	fields := map[string]bool{}
	for name := range d.SecureJSONData {
		fields[name] = true
	}
	data := d.JSONData
	if data == nil {
		data = map[string]any{}
	}
	return map[string]any{
		"id": d.id, "uid": d.UID, "orgId": 1, "name": d.Name, "type": d.Type, "access": d.Access, "url": d.URL,
		"user": d.User, "database": d.Database, "basicAuth": d.BasicAuth, "basicAuthUser": d.BasicAuthUser,
		"isDefault": d.IsDefault, "readOnly": !d.Editable, "jsonData": data, "secureJsonFields": fields,
	}
}

func (s *server) listSources(w http.ResponseWriter, _ *http.Request) {
	found := []map[string]any{}
	for _, one := range s.provisioned.sources {
		found = append(found, one.public())
	}
	sort.Slice(found, func(i, j int) bool { return found[i]["name"].(string) < found[j]["name"].(string) })
	answer(w, http.StatusOK, found)
}

func (s *server) showSource(w http.ResponseWriter, r *http.Request) {
	if one := s.source(w, r); one != nil {
		answer(w, http.StatusOK, one.public())
	}
}

func (s *server) showSourceByName(w http.ResponseWriter, r *http.Request) {
	for _, one := range s.provisioned.sources {
		if one.Name == r.PathValue("name") {
			answer(w, http.StatusOK, one.public())
			return
		}
	}
	fail(w, http.StatusNotFound, "Data source not found")
}

func (s *server) source(w http.ResponseWriter, r *http.Request) *dataSource {
	one := s.provisioned.sources[r.PathValue("uid")]
	if one == nil {
		fail(w, http.StatusNotFound, "Data source not found")
	}
	return one
}

func (d *dataSource) transport() *http.Transport {
	return &http.Transport{TLSClientConfig: d.tls.Clone(), ResponseHeaderTimeout: 60 * time.Second, DisableKeepAlives: true}
}

// authorize does what the data source says, and nothing of what the browser sent.
func (d *dataSource) authorize(r *http.Request) {
	r.Header.Del("Authorization")
	r.Header.Del("Cookie")
	if d.BasicAuth {
		r.SetBasicAuth(d.BasicAuthUser, d.SecureJSONData["basicAuthPassword"])
	}
	for key, value := range d.JSONData {
		number, isHeader := strings.CutPrefix(key, "httpHeaderName")
		if name, isText := value.(string); isHeader && isText {
			r.Header.Set(name, d.SecureJSONData["httpHeaderValue"+number])
		}
	}
}

// proxy passes a query on to the data source.
func (s *server) proxy(w http.ResponseWriter, r *http.Request) {
	one := s.source(w, r)
	if one == nil {
		return
	}
	path := r.PathValue("path")
	if r.Method != http.MethodGet && !(r.Method == http.MethodPost && writable[path]) {
		fail(w, http.StatusForbidden, "non allow-listed "+r.Method+"s not allowed on proxied "+one.Type+" datasource")
		return
	}
	target, err := url.Parse(strings.TrimSuffix(one.URL, "/") + "/")
	if err != nil {
		fail(w, http.StatusInternalServerError, "the data source's URL is broken")
		return
	}
	forward := &httputil.ReverseProxy{
		Transport: one.transport(),
		Rewrite: func(request *httputil.ProxyRequest) {
			request.Out.URL = target.JoinPath(path)
			request.Out.URL.RawQuery = request.In.URL.RawQuery
			request.Out.Host = target.Host
			one.authorize(request.Out)
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			fail(w, http.StatusBadGateway, "data source "+one.Name+": "+err.Error())
		},
	}
	forward.ServeHTTP(w, r)
}

// sourceHealth asks the data source a question that it must answer, as Grafana does.
func (s *server) sourceHealth(w http.ResponseWriter, r *http.Request) {
	one := s.source(w, r)
	if one == nil {
		return
	}
	var err error
	var message string
	switch one.Type {
	case "prometheus":
		message = "Successfully queried the Prometheus API."
		err = one.ask(r, "api/v1/query", url.Values{"query": {"1+1"}}, `"status":"success"`)
	case "alertmanager":
		message = "Health check passed."
		err = one.ask(r, "api/v2/status", nil, `"cluster"`)
	default:
		err = fmt.Errorf("the stand-in can't check a data source of type %q", one.Type)
	}
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"status": "ERROR", "message": err.Error()})
		return
	}
	answer(w, http.StatusOK, map[string]string{"status": "OK", "message": message})
}

func (d *dataSource) ask(r *http.Request, path string, query url.Values, wanted string) error {
	target, err := url.Parse(d.URL)
	if err != nil {
		return err
	}
	target = target.JoinPath(path)
	target.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, target.String(), nil)
	if err != nil {
		return err
	}
	d.authorize(request)
	client := &http.Client{Transport: d.transport(), Timeout: 10 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, bodyLimit))
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s answered %s", d.URL, response.Status)
	case !json.Valid(body) || !strings.Contains(string(body), wanted):
		return fmt.Errorf("%s answered something else than a %s would", d.URL, d.Type)
	}
	return nil
}
