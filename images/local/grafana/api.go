package main

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

const organisationName = "Main Org."

func (s *server) organisation(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"id": 1, "name": organisationName, "address": map[string]string{}})
}

func (s *server) self(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, profile(self(r)))
}

func (s *server) ownOrganisations(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, []map[string]any{{"orgId": 1, "name": organisationName, "role": self(r).Role}})
}

func profile(one user) map[string]any {
	return map[string]any{
		"id": one.ID, "uid": fmt.Sprintf("u%d", one.ID), "login": one.Login, "email": one.Email, "name": one.Name,
		"orgId": 1, "isGrafanaAdmin": one.Admin, "isDisabled": false, "isExternal": false, "theme": "",
	}
}

func (s *server) listUsers(w http.ResponseWriter, _ *http.Request) {
	found := []map[string]any{}
	for _, one := range s.store.users() {
		found = append(found, map[string]any{
			"id": one.ID, "login": one.Login, "email": one.Email, "name": one.Name, "isAdmin": one.Admin, "isDisabled": false,
		})
	}
	answer(w, http.StatusOK, found)
}

func (s *server) lookUpUser(w http.ResponseWriter, r *http.Request) {
	wanted := r.URL.Query().Get("loginOrEmail")
	s.findUser(w, func(one user) bool { return one.Login == wanted || one.Email == wanted })
}

func (s *server) showUser(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.Atoi(r.PathValue("id"))
	s.findUser(w, func(one user) bool { return one.ID == id })
}

func (s *server) findUser(w http.ResponseWriter, fits func(user) bool) {
	for _, one := range s.store.users() {
		if fits(one) {
			answer(w, http.StatusOK, profile(one))
			return
		}
	}
	fail(w, http.StatusNotFound, "user not found")
}

func (s *server) listMembers(w http.ResponseWriter, _ *http.Request) {
	found := []map[string]any{}
	for _, one := range s.store.users() {
		found = append(found, map[string]any{
			"orgId": 1, "userId": one.ID, "login": one.Login, "email": one.Email, "name": one.Name, "role": one.Role,
		})
	}
	answer(w, http.StatusOK, found)
}

func (s *server) createUser(w http.ResponseWriter, r *http.Request) {
	var form struct {
		Name, Email, Login, Password string
		OrgID                        int `json:"OrgId"`
	}
	if !decode(w, r, &form) {
		return
	}
	if form.Login == "" {
		form.Login = form.Email
	}
	if form.Login == "" {
		fail(w, http.StatusBadRequest, "Validation error, need specify either username or email")
		return
	}
	if form.Email == "" {
		form.Email = form.Login
	}
	created, err := s.store.add(user{Login: form.Login, Email: form.Email, Name: form.Name, Role: s.settings.newUserRole}, form.Password)
	switch {
	case errors.Is(err, errExists):
		fail(w, http.StatusPreconditionFailed, fmt.Sprintf("User with email '%s' or username '%s' already exists", form.Email, form.Login))
	case err != nil:
		fail(w, http.StatusBadRequest, err.Error())
	default:
		answer(w, http.StatusOK, map[string]any{"id": created.ID, "uid": fmt.Sprintf("u%d", created.ID), "message": "User created"})
	}
}

func (s *server) changeRole(w http.ResponseWriter, r *http.Request) {
	var form struct{ Role string }
	if !decode(w, r, &form) {
		return
	}
	if _, known := ranks[form.Role]; !known {
		fail(w, http.StatusBadRequest, "Invalid role specified")
		return
	}
	s.edit(w, r, "Organization user updated", func(one *user) error { one.Role = form.Role; return nil })
}

func (s *server) changePassword(w http.ResponseWriter, r *http.Request) {
	var form struct{ Password string }
	if decode(w, r, &form) {
		s.edit(w, r, "User password updated", func(one *user) error { return one.setPassword(form.Password) })
	}
}

func (s *server) edit(w http.ResponseWriter, r *http.Request, done string, change func(*user) error) {
	id, _ := strconv.Atoi(r.PathValue("id"))
	s.report(w, done)(s.store.change(id, change))
}

func (s *server) deleteUser(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.Atoi(r.PathValue("id"))
	if id == self(r).ID {
		fail(w, http.StatusBadRequest, "You cannot delete yourself")
		return
	}
	s.report(w, "User deleted")(s.store.remove(id))
}

func (s *server) report(w http.ResponseWriter, done string) func(bool, error) {
	return func(found bool, err error) {
		switch {
		case !found:
			fail(w, http.StatusNotFound, "user not found")
		case err != nil:
			fail(w, http.StatusBadRequest, err.Error())
		default:
			fail(w, http.StatusOK, done)
		}
	}
}

func (s *server) changeOwnPassword(w http.ResponseWriter, r *http.Request) {
	var form struct{ OldPassword, NewPassword string }
	if !decode(w, r, &form) {
		return
	}
	account := self(r)
	if _, right := s.store.login(account.Login, form.OldPassword); !right {
		fail(w, http.StatusUnauthorized, "invalid old password")
		return
	}
	s.report(w, "User password changed")(s.store.change(account.ID, func(one *user) error { return one.setPassword(form.NewPassword) }))
}

func (s *server) plugins(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, []map[string]any{
		{"id": "prometheus", "name": "Prometheus", "type": "datasource", "enabled": true, "info": map[string]string{"version": "stand-in"}},
	})
}

// dashboards are all of them in the order of their titles; what was saved by hand never hides a provisioned one.
func (s *server) dashboards() []*dashboard {
	var found []*dashboard
	for _, one := range s.provisioned.dashboards {
		found = append(found, one)
	}
	for uid, content := range s.store.saved() {
		if _, hidden := s.provisioned.dashboards[uid]; hidden {
			continue
		}
		if one, _ := parseDashboard(content); one != nil {
			one.id = 1000 + len(found)
			found = append(found, one)
		}
	}
	sort.Slice(found, func(i, j int) bool {
		if found[i].title != found[j].title {
			return found[i].title < found[j].title
		}
		return found[i].uid < found[j].uid
	})
	return found
}

var notInSlug = regexp.MustCompile(`[^a-z0-9]+`)

func slug(title string) string {
	return strings.Trim(notInSlug.ReplaceAllString(strings.ToLower(title), "-"), "-")
}

func (d *dashboard) url() string { return "/d/" + d.uid + "/" + slug(d.title) }

func (s *server) search(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	found := []map[string]any{}
	if kind := query.Get("type"); kind == "" || kind == "dash-folder" {
		for _, name := range s.folderNames() {
			if strings.Contains(strings.ToLower(name), strings.ToLower(query.Get("query"))) && len(query["tag"]) == 0 {
				found = append(found, map[string]any{"uid": slug(name), "title": name, "type": "dash-folder", "url": "/dashboards/f/" + slug(name), "tags": []string{}})
			}
		}
	}
	if kind := query.Get("type"); kind == "" || kind == "dash-db" {
		for _, one := range s.dashboards() {
			if !strings.Contains(strings.ToLower(one.title), strings.ToLower(query.Get("query"))) || !hasAll(one.tags, query["tag"]) {
				continue
			}
			entry := map[string]any{
				"id": one.id, "uid": one.uid, "title": one.title, "type": "dash-db", "url": one.url(),
				"uri": "db/" + slug(one.title), "slug": "", "tags": append([]string{}, one.tags...), "isStarred": false,
			}
			if one.folder != "" {
				entry["folderTitle"], entry["folderUid"] = one.folder, slug(one.folder)
			}
			found = append(found, entry)
		}
	}
	answer(w, http.StatusOK, found)
}

func hasAll(have, wanted []string) bool {
	for _, one := range wanted {
		found := false
		for _, other := range have {
			found = found || one == other
		}
		if !found {
			return false
		}
	}
	return true
}

func (s *server) folderNames() []string {
	seen := map[string]bool{}
	var names []string
	for _, one := range s.provisioned.dashboards {
		if one.folder != "" && !seen[one.folder] {
			seen[one.folder] = true
			names = append(names, one.folder)
		}
	}
	sort.Strings(names)
	return names
}

func (s *server) folders(w http.ResponseWriter, _ *http.Request) {
	found := []map[string]any{}
	for index, name := range s.folderNames() {
		found = append(found, map[string]any{"id": 100 + index, "uid": slug(name), "title": name})
	}
	answer(w, http.StatusOK, found)
}

func (s *server) showDashboard(w http.ResponseWriter, r *http.Request) {
	for _, one := range s.dashboards() {
		if one.uid != r.PathValue("uid") {
			continue
		}
		mayEdit := ranks[self(r).Role] >= ranks["Editor"]
		answer(w, http.StatusOK, map[string]any{
			"dashboard": one.content,
			"meta": map[string]any{
				"type": "db", "slug": slug(one.title), "url": one.url(), "folderTitle": one.folder, "folderUid": slug(one.folder),
				"provisioned": one.provisioned, "canSave": mayEdit && !one.provisioned, "canEdit": mayEdit, "canStar": true, "version": 1,
			},
		})
		return
	}
	fail(w, http.StatusNotFound, "Dashboard not found")
}

func (s *server) saveDashboard(w http.ResponseWriter, r *http.Request) {
	var form struct {
		Dashboard map[string]any `json:"dashboard"`
	}
	if !decode(w, r, &form) {
		return
	}
	if uid, _ := form.Dashboard["uid"].(string); uid == "" && form.Dashboard != nil {
		title, _ := form.Dashboard["title"].(string)
		form.Dashboard["uid"] = fmt.Sprintf("s-%.30s", slug(title))
	}
	if _, given := form.Dashboard["schemaVersion"]; !given && form.Dashboard != nil {
		form.Dashboard["schemaVersion"] = float64(42)
	}
	one, findings := parseDashboard(form.Dashboard)
	switch {
	case one == nil || len(findings) > 0:
		fail(w, http.StatusBadRequest, strings.Join(findings, "; "))
	case s.provisioned.dashboards[one.uid] != nil:
		fail(w, http.StatusBadRequest, "Cannot save provisioned dashboard")
	default:
		if err := s.store.saveDashboard(one.uid, form.Dashboard); err != nil {
			fail(w, http.StatusInternalServerError, err.Error())
			return
		}
		answer(w, http.StatusOK, map[string]any{"uid": one.uid, "url": one.url(), "slug": slug(one.title), "status": "success", "version": 1})
	}
}
