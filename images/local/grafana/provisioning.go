package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"

	"gopkg.in/yaml.v3"
)

// provisioning is what Grafana would read at start: data sources and dashboards from files.
type provisioning struct {
	sources    map[string]*dataSource
	dashboards map[string]*dashboard
}

// dataSource is one entry of provisioning/datasources/*.yaml, in Grafana's own keys.
type dataSource struct {
	Name            string            `yaml:"name"`
	UID             string            `yaml:"uid"`
	Type            string            `yaml:"type"`
	Access          string            `yaml:"access"`
	OrgID           int               `yaml:"orgId"`
	URL             string            `yaml:"url"`
	User            string            `yaml:"user"`
	Database        string            `yaml:"database"`
	BasicAuth       bool              `yaml:"basicAuth"`
	BasicAuthUser   string            `yaml:"basicAuthUser"`
	WithCredentials bool              `yaml:"withCredentials"`
	IsDefault       bool              `yaml:"isDefault"`
	Editable        bool              `yaml:"editable"`
	Version         int               `yaml:"version"`
	JSONData        map[string]any    `yaml:"jsonData"`
	SecureJSONData  map[string]string `yaml:"secureJsonData"`
	Correlations    []any             `yaml:"correlations"`

	id  int
	tls *tls.Config
}

type sourceFile struct {
	APIVersion        int           `yaml:"apiVersion"`
	Prune             bool          `yaml:"prune"`
	DeleteDatasources []any         `yaml:"deleteDatasources"`
	Datasources       []*dataSource `yaml:"datasources"`
}

// provider is one entry of provisioning/dashboards/*.yaml.
type provider struct {
	Name                  string `yaml:"name"`
	OrgID                 int    `yaml:"orgId"`
	Type                  string `yaml:"type"`
	Folder                string `yaml:"folder"`
	FolderUID             string `yaml:"folderUid"`
	DisableDeletion       bool   `yaml:"disableDeletion"`
	AllowUIUpdates        bool   `yaml:"allowUiUpdates"`
	Editable              bool   `yaml:"editable"`
	UpdateIntervalSeconds int    `yaml:"updateIntervalSeconds"`
	Options               struct {
		Path                      string `yaml:"path"`
		FoldersFromFilesStructure bool   `yaml:"foldersFromFilesStructure"`
	} `yaml:"options"`
}

type providerFile struct {
	APIVersion int        `yaml:"apiVersion"`
	Providers  []provider `yaml:"providers"`
}

// dashboard is one dashboard in the classic schema.
type dashboard struct {
	id          int
	uid, title  string
	tags        []string
	folder      string
	provisioned bool
	file        string
	content     map[string]any
}

var uidPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

// readProvisioning reads everything and returns all findings at once, each with its file.
func readProvisioning(root string, expand func(string) (string, error)) (*provisioning, error) {
	p := &provisioning{sources: map[string]*dataSource{}, dashboards: map[string]*dashboard{}}
	var findings []error
	report := func(file, format string, arguments ...any) {
		findings = append(findings, fmt.Errorf("provisioning: %s: %s", file, fmt.Sprintf(format, arguments...)))
	}
	for _, file := range yamlFiles(filepath.Join(root, "datasources")) {
		var content sourceFile
		if err := readYAML(file, expand, &content); err != nil {
			report(file, "%v", err)
			continue
		}
		if content.APIVersion != 1 {
			report(file, "apiVersion is %d; must be 1", content.APIVersion)
		}
		for index, source := range content.Datasources {
			for _, finding := range p.addSource(source) {
				report(file, "datasources[%d]: %s", index, finding)
			}
		}
	}
	names := map[string]bool{}
	for _, file := range yamlFiles(filepath.Join(root, "dashboards")) {
		var content providerFile
		if err := readYAML(file, expand, &content); err != nil {
			report(file, "%v", err)
			continue
		}
		if content.APIVersion != 1 {
			report(file, "apiVersion is %d; must be 1", content.APIVersion)
		}
		for index, one := range content.Providers {
			if err := one.check(names); err != nil {
				report(file, "providers[%d]: %v", index, err)
				continue
			}
			findings = append(findings, p.readDashboards(one)...)
		}
	}
	return p, errors.Join(findings...)
}

func yamlFiles(folder string) []string {
	var found []string
	for _, pattern := range []string{"*.yaml", "*.yml"} {
		matches, _ := filepath.Glob(filepath.Join(folder, pattern))
		found = append(found, matches...)
	}
	sort.Strings(found)
	return found
}

// readYAML decodes strictly: a misspelt key is an error. References are expanded in values only.
func readYAML(file string, expand func(string) (string, error), into any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return err
	}
	if err := expandValues(&document, expand); err != nil {
		return err
	}
	expanded, err := yaml.Marshal(&document)
	if err != nil {
		return err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(expanded))
	decoder.KnownFields(true)
	return decoder.Decode(into)
}

func expandValues(node *yaml.Node, expand func(string) (string, error)) error {
	if node.Kind == yaml.ScalarNode && node.Tag == "!!str" && strings.Contains(node.Value, "$") {
		value, err := expand(node.Value)
		if err != nil {
			return fmt.Errorf("line %d: %w", node.Line, err)
		}
		node.Value = value
		node.Style = yaml.DoubleQuotedStyle
		return nil
	}
	for index, child := range node.Content {
		if node.Kind == yaml.MappingNode && index%2 == 0 {
			continue
		}
		if err := expandValues(child, expand); err != nil {
			return err
		}
	}
	return nil
}

func (p *provisioning) addSource(source *dataSource) []string {
	var findings []string
	report := func(format string, arguments ...any) { findings = append(findings, fmt.Sprintf(format, arguments...)) }
	if source.Name == "" || source.Type == "" {
		report("`name` and `type` are needed")
	}
	if !uidPattern.MatchString(source.UID) {
		report("uid %q: 1 to 40 letters, digits, - or _ (dashboards refer to it)", source.UID)
	}
	if source.Access != "proxy" {
		report("access is %q; must be proxy (the browser never talks to the data source itself)", source.Access)
	}
	target, err := url.Parse(source.URL)
	if err != nil || target.Host == "" {
		report("url %q is not a URL with a host", source.URL)
	}
	for _, other := range p.sources {
		switch {
		case other.UID == source.UID:
			report("uid %q is used twice", source.UID)
		case other.Name == source.Name:
			report("name %q is used twice", source.Name)
		case other.IsDefault && source.IsDefault:
			report("only one data source can be the default; %q is one already", other.Name)
		}
	}
	if source.BasicAuth && (source.BasicAuthUser == "" || source.SecureJSONData["basicAuthPassword"] == "") {
		report("basicAuth needs basicAuthUser and secureJsonData.basicAuthPassword")
	}
	config, err := source.tlsConfig()
	if err != nil {
		report("%v", err)
	}
	source.tls = config
	source.id = len(p.sources) + 1
	if source.UID != "" {
		p.sources[source.UID] = source
	}
	return findings
}

// tlsConfig is what jsonData and secureJsonData say about TLS, as Grafana understands it.
func (s *dataSource) tlsConfig() (*tls.Config, error) {
	flag := func(key string) bool { value, _ := s.JSONData[key].(bool); return value }
	if flag("tlsSkipVerify") {
		return nil, errors.New("jsonData.tlsSkipVerify must not be true: the certificate would not be checked")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	config.ServerName, _ = s.JSONData["serverName"].(string)
	if flag("tlsAuthWithCACert") {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(s.SecureJSONData["tlsCACert"])) {
			return nil, errors.New("jsonData.tlsAuthWithCACert needs a PEM certificate in secureJsonData.tlsCACert")
		}
	} else if s.SecureJSONData["tlsCACert"] != "" {
		return nil, errors.New("secureJsonData.tlsCACert is not used without jsonData.tlsAuthWithCACert")
	}
	if flag("tlsAuth") {
		pair, err := tls.X509KeyPair([]byte(s.SecureJSONData["tlsClientCert"]), []byte(s.SecureJSONData["tlsClientKey"]))
		if err != nil {
			return nil, fmt.Errorf("jsonData.tlsAuth: secureJsonData.tlsClientCert, tlsClientKey: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func (one provider) check(names map[string]bool) error {
	switch {
	case one.Name == "":
		return errors.New("`name` is needed")
	case names[one.Name]:
		return fmt.Errorf("name %q is used twice", one.Name)
	case one.Type != "" && one.Type != "file":
		return fmt.Errorf("type is %q; must be file", one.Type)
	case one.Options.Path == "":
		return errors.New("options.path is needed")
	case one.Options.FoldersFromFilesStructure && (one.Folder != "" || one.FolderUID != ""):
		return errors.New("folder and folderUid must be empty with options.foldersFromFilesStructure")
	}
	names[one.Name] = true
	return nil
}

func (p *provisioning) readDashboards(one provider) []error {
	var findings []error
	err := filepath.WalkDir(one.Options.Path, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() || filepath.Ext(file) != ".json" || strings.HasPrefix(entry.Name(), ".") {
			return nil
		}
		folder := one.Folder
		if one.Options.FoldersFromFilesStructure {
			if folder = filepath.Base(filepath.Dir(file)); filepath.Clean(filepath.Dir(file)) == filepath.Clean(one.Options.Path) {
				folder = ""
			}
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, finding := range p.addDashboard(file, folder, text) {
			findings = append(findings, fmt.Errorf("provisioning: %s: %s", file, finding))
		}
		return nil
	})
	if err != nil {
		findings = append(findings, fmt.Errorf("provisioning: provider %q: %w", one.Name, err))
	}
	return findings
}

func (p *provisioning) addDashboard(file, folder string, text []byte) []string {
	var content map[string]any
	if err := json.Unmarshal(text, &content); err != nil {
		return []string{"not JSON: " + err.Error()}
	}
	found, findings := parseDashboard(content)
	if found == nil {
		return findings
	}
	for _, uid := range fixedSources(content) {
		if _, known := p.sources[uid]; !known {
			findings = append(findings, fmt.Sprintf("data source uid %q is not provisioned", uid))
		}
	}
	if other, twice := p.dashboards[found.uid]; twice {
		return append(findings, fmt.Sprintf("uid %q is also that of %s", found.uid, other.file))
	}
	found.id, found.folder, found.provisioned, found.file = len(p.dashboards)+1, folder, true, file
	p.dashboards[found.uid] = found
	return findings
}

// parseDashboard checks one dashboard of the classic schema.
func parseDashboard(content map[string]any) (*dashboard, []string) {
	_, hasSpec := content["spec"]
	_, hasElements := content["elements"]
	if hasSpec || hasElements {
		return nil, []string{"dashboard appears to be in v2 format; file provisioning takes the classic schema"}
	}
	var findings []string
	found := &dashboard{content: content}
	found.uid, _ = content["uid"].(string)
	found.title, _ = content["title"].(string)
	if !uidPattern.MatchString(found.uid) {
		findings = append(findings, fmt.Sprintf("uid %q: 1 to 40 letters, digits, - or _", found.uid))
	}
	if found.title == "" {
		findings = append(findings, "title is missing")
	}
	if _, number := content["schemaVersion"].(float64); !number {
		findings = append(findings, "schemaVersion is missing")
	}
	if tags, given := content["tags"].([]any); given {
		for _, tag := range tags {
			found.tags = append(found.tags, fmt.Sprint(tag))
		}
	}
	ids := map[float64]bool{}
	for _, panel := range panels(content) {
		id, given := panel["id"].(float64)
		switch {
		case !given:
			findings = append(findings, fmt.Sprintf("panel %q has no id", panel["title"]))
		case ids[id]:
			findings = append(findings, fmt.Sprintf("panel id %v is used twice", id))
		}
		ids[id] = true
		if kind, _ := panel["type"].(string); kind == "" {
			findings = append(findings, fmt.Sprintf("panel %v has no type", panel["id"]))
		}
	}
	return found, findings
}

// panels are a dashboard's panels, those inside of collapsed rows too.
func panels(content map[string]any) []map[string]any {
	var found []map[string]any
	list, _ := content["panels"].([]any)
	for _, one := range list {
		if panel, given := one.(map[string]any); given {
			found = append(found, panel)
			found = append(found, panels(panel)...)
		}
	}
	return found
}

// fixedSources are the data source uids that panels and queries name outright (not by a variable).
func fixedSources(value any) []string {
	var found []string
	switch node := value.(type) {
	case map[string]any:
		if source, given := node["datasource"].(map[string]any); given {
			if uid, _ := source["uid"].(string); uid != "" && !strings.Contains(uid, "$") && !strings.HasPrefix(uid, "-- ") && uid != "grafana" {
				found = append(found, uid)
			}
		}
		for _, child := range node {
			found = append(found, fixedSources(child)...)
		}
	case []any:
		for _, child := range node {
			found = append(found, fixedSources(child)...)
		}
	}
	return found
}
