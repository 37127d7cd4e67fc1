#!/bin/sh
# Writes main.go, components.go, go.mod and go.sum anew from manifest.yaml, by the OpenTelemetry Collector builder.
# Run it after a change of the manifest; the builder is a Go module itself.
set -eu
cd "$(dirname "$0")"
GOPROXY=$(go env GOPROXY | sed 's/[,|]direct$//')
export GOPROXY CGO_ENABLED=0 GOFLAGS=-buildvcs=false
go run go.opentelemetry.io/collector/cmd/builder@v0.161.0 --config manifest.yaml --skip-compilation
rm -f main_windows.go
gofmt -w main.go components.go
