package main

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// ranks orders the organisation roles: a higher one may do what a lower one may.
var ranks = map[string]int{"Viewer": 1, "Editor": 2, "Admin": 3}

const hashRounds = 10000

var errExists = errors.New("user already exists")

// user is one account. Server admins are those with Admin here: the stand-in has one organisation.
type user struct {
	ID    int    `json:"id"`
	Login string `json:"login"`
	Email string `json:"email"`
	Name  string `json:"name"`
	Role  string `json:"role"`
	Admin bool   `json:"admin"`
	Salt  string `json:"salt"`
	Hash  string `json:"hash"`
}

// store keeps users, and dashboards that were saved by hand, in one file of the data folder.
type store struct {
	path  string
	mutex sync.Mutex
	data  struct {
		Users      []*user                   `json:"users"`
		Dashboards map[string]map[string]any `json:"dashboards"`
	}
}

// openStore reads the file; as in Grafana, the admin's password is taken at the first start only.
func openStore(folder, login, password string) (*store, error) {
	s := &store{path: filepath.Join(folder, "stand-in.json")}
	s.data.Dashboards = map[string]map[string]any{}
	text, err := os.ReadFile(s.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if _, err := s.add(user{Login: login, Email: login + "@localhost", Name: login, Role: "Admin", Admin: true}, password); err != nil {
			return nil, fmt.Errorf("GF_PATHS_DATA: %s must be writable for uid %d: %w", folder, os.Getuid(), err)
		}
		return s, nil
	case err != nil:
		return nil, fmt.Errorf("GF_PATHS_DATA: %w", err)
	}
	if err := json.Unmarshal(text, &s.data); err != nil {
		return nil, fmt.Errorf("%s is broken (%w); remove it to start anew", s.path, err)
	}
	return s, nil
}

func (s *store) save() error {
	text, err := json.Marshal(s.data)
	if err != nil {
		return err
	}
	draft := s.path + ".new"
	if err := os.WriteFile(draft, text, 0o600); err != nil {
		return err
	}
	return os.Rename(draft, s.path)
}

func (s *store) count() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return len(s.data.Users)
}

func (s *store) add(one user, password string) (user, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, other := range s.data.Users {
		if other.Login == one.Login || other.Email == one.Email {
			return user{}, errExists
		}
		one.ID = max(one.ID, other.ID)
	}
	one.ID++
	if err := one.setPassword(password); err != nil {
		return user{}, err
	}
	s.data.Users = append(s.data.Users, &one)
	return one, s.save()
}

// change applies an edit to one user and keeps it; false: there is none of that id.
func (s *store) change(id int, edit func(*user) error) (bool, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, one := range s.data.Users {
		if one.ID == id {
			if err := edit(one); err != nil {
				return true, err
			}
			return true, s.save()
		}
	}
	return false, nil
}

func (s *store) remove(id int) (bool, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for index, one := range s.data.Users {
		if one.ID == id {
			s.data.Users = append(s.data.Users[:index], s.data.Users[index+1:]...)
			return true, s.save()
		}
	}
	return false, nil
}

func (s *store) users() []user {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	found := make([]user, 0, len(s.data.Users))
	for _, one := range s.data.Users {
		found = append(found, *one)
	}
	return found
}

// login returns the account of a login name or e-mail address with this password.
func (s *store) login(name, password string) (user, bool) {
	for _, one := range s.users() {
		if one.Login == name || one.Email == name {
			return one, one.hasPassword(password)
		}
	}
	// The same work as for a known name: the time of the answer tells nothing.
	(&user{Salt: "00"}).hasPassword(password)
	return user{}, false
}

func (s *store) saved() map[string]map[string]any {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	found := make(map[string]map[string]any, len(s.data.Dashboards))
	for uid, content := range s.data.Dashboards {
		found[uid] = content
	}
	return found
}

func (s *store) saveDashboard(uid string, content map[string]any) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.data.Dashboards[uid] = content
	return s.save()
}

func (u *user) setPassword(password string) error {
	if len(password) < 4 {
		return errors.New("password is too short")
	}
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return err
	}
	u.Salt = hex.EncodeToString(salt)
	hash, err := hashed(password, u.Salt)
	u.Hash = hex.EncodeToString(hash)
	return err
}

func (u *user) hasPassword(password string) bool {
	hash, err := hashed(password, u.Salt)
	kept, decodeErr := hex.DecodeString(u.Hash)
	return err == nil && decodeErr == nil && hmac.Equal(hash, kept)
}

func hashed(password, salt string) ([]byte, error) {
	return pbkdf2.Key(sha256.New, password, []byte(salt), hashRounds, 32)
}
