#!/bin/sh
# Gets kube-apiserver, etcd, kube-controller-manager, kube-scheduler and kubectl, and prints
# the folder that holds them as the last line of standard output; what it does meanwhile
# goes to standard error.
#
#   KUBEBUILDER_ASSETS   a folder that has them already: it is used as it is
#   KUBERNETES_VERSION   such as 1.29.6, or 1.29 for its newest patch; when unset, the newest
#                        minor that the installed Go can build
#   XDG_CACHE_HOME       what was built is kept in guildhall/kubernetes/<version>/ in here
#                        (default: ~/.cache)
#
# They are built from the public Go modules by one `go build`. What `newest` or a minor
# stands for is kept beside them as a link, so that a second run asks no one: remove the
# link to ask again.
set -eu

binaries='kube-apiserver etcd kube-controller-manager kube-scheduler kubectl'
oldest_go=1.21

say() { printf '%s\n' "$*" >&2; }
die() {
  say "$0: $*"
  exit 1
}

# Whether the folder $1 has each of the other arguments as an executable.
has() {
  folder=$1
  shift
  for binary; do
    [ -f "$folder/$binary" ] && [ -x "$folder/$binary" ] || return 1
  done
}

# Lines of versions in their order, and whether $1 is at most $2.
sorted() { sort -t . -k 1,1n -k 2,2n -k 3,3n; }
at_most() { [ "$(printf '%s\n' "$1" "$2" | sorted | head -n 1)" = "$1" ]; }

module() { go list -m -f "$2" "k8s.io/kubernetes@v$1"; }

# The newest release of the newest minor that can be built.
newest() {
  known=$(go list -m -f '{{range .Versions}}{{println .}}{{end}}' -versions k8s.io/kubernetes) || return
  known=$(printf '%s\n' "$known" | sed -n 's/^v\([0-9]*\.[0-9]*\.[0-9]*\)$/\1/p' | sorted)
  # Of each minor the last one, and the newest minor first.
  for candidate in $(printf '%s\n' "$known" | awk -F . '
    { last[$1 "." $2] = $0; if ($1 "." $2 != minor) order[++n] = minor = $1 "." $2 }
    END { while (n) print last[order[n--]] }'); do
    needs=$(module "$candidate" '{{.GoVersion}}') || continue
    if at_most "$needs" "$go"; then
      printf '%s\n' "$candidate"
      return
    fi
    say "passing over Kubernetes $candidate: it needs Go $needs, and $go is installed"
  done
  return 1
}

# Writes the module that everything is built in into the current folder: Kubernetes with its
# staging modules, which it expects beside itself, replaced by what was released of them,
# and a main of its own for etcd at the version that Kubernetes names.
write_module() {
  mod=$(module "$version" '{{.GoMod}}') || return
  released=v0.${version#*.}
  etcd=$(sed -n 's|^.*go\.etcd\.io/etcd/server/v3 \(v[^ ]*\).*|\1|p' "$mod")
  [ -n "$etcd" ] || die "the go.mod of Kubernetes $version names no go.etcd.io/etcd/server/v3"
  {
    printf 'module assets\n\ngo %s\n\n' "$needs"
    printf 'require k8s.io/kubernetes v%s\nrequire go.etcd.io/etcd/server/v3 %s\n\n' "$version" "$etcd"
    printf 'replace (\n'
    sed -n "s|^\(.*=> \)\./staging/src/\(k8s\.io/[^ ]*\).*|\1\2 $released|p" "$mod"
    printf ')\n'
  } >go.mod
  mkdir etcd
  cat >etcd/main.go <<'MAIN'
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
MAIN
}

build() {
  say "building Kubernetes $version and etcd $etcd with Go $go; this takes minutes"
  minor=${version#*.}
  stamp='-s -w'
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    stamp="$stamp -X $package.gitVersion=v$version -X $package.gitMajor=${version%%.*}"
    stamp="$stamp -X $package.gitMinor=${minor%%.*} -X $package.gitTreeState=clean"
  done
  set -- ./etcd
  for binary in $binaries; do
    [ "$binary" = etcd ] || set -- "$@" "k8s.io/kubernetes/cmd/$binary"
  done
  mkdir bin
  # The module is written anew each time, so go completes its go.mod and go.sum here.
  CGO_ENABLED=0 GOWORK=off go build -mod=mod -trimpath -buildvcs=false -ldflags "$stamp" -o bin/ "$@" >&2
}

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  has "$KUBEBUILDER_ASSETS" kube-apiserver etcd ||
    die "KUBEBUILDER_ASSETS is $KUBEBUILDER_ASSETS, which lacks kube-apiserver or etcd: name a folder that has them, or unset it to have them built"
  (cd "$KUBEBUILDER_ASSETS" && pwd)
  exit
fi

cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/guildhall/kubernetes
wanted=${KUBERNETES_VERSION:-newest}
wanted=${wanted#v}
case $wanted in
newest) ;;
*[!0-9.]* | .* | *. | *..* | *.*.*.*) die "KUBERNETES_VERSION is $wanted: give it as 1.29.6 or 1.29" ;;
*.*) ;;
*) die "KUBERNETES_VERSION is $wanted: give it as 1.29.6 or 1.29" ;;
esac

if has "$cache/$wanted" $binaries; then
  (cd -P "$cache/$wanted" && pwd)
  exit
fi

instead='or name a folder that has kube-apiserver and etcd in KUBEBUILDER_ASSETS'
command -v go >/dev/null ||
  die "there is no go to build Kubernetes with: install Go from https://go.dev/dl and put it on the PATH, $instead"
export GOTOOLCHAIN=local
go=$(go env GOVERSION)
go=${go#go}
go=${go%% *}
at_most "$oldest_go" "$go" ||
  die "Go $go is too old to build Kubernetes: install $oldest_go or newer from https://go.dev/dl, $instead"

case $wanted in
newest)
  version=$(newest) || die "no Kubernetes was found that Go $go builds (see above): see whether the Go modules can be reached, install a newer Go from https://go.dev/dl, $instead"
  ;;
*.*.*) version=$wanted ;;
*)
  version=$(module "$wanted" '{{.Version}}') || die "there is no Kubernetes $wanted to be had (see above)"
  version=${version#v}
  ;;
esac

if ! has "$cache/$version" $binaries; then
  needs=$(module "$version" '{{.GoVersion}}') || die "there is no Kubernetes $version to be had (see above)"
  at_most "$needs" "$go" ||
    die "Kubernetes $version needs Go $needs, and $go is installed: install that from https://go.dev/dl, set KUBERNETES_VERSION to an older one, $instead"
  mkdir -p "$cache"
  # What a build that was killed more than a day ago has left.
  find "$cache" -name '.build.*' -prune -mtime +0 -exec rm -rf {} +
  work=$(mktemp -d "$cache/.build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  (cd "$work" && write_module && build) || die "the build of Kubernetes $version failed (see above)"
  has "$work/bin" $binaries || die "the build of Kubernetes $version left not all of $binaries"
  # Another build may have been faster; if not, only the name appears, and with it all of them.
  if ! has "$cache/$version" $binaries; then
    rm -rf "${cache:?}/$version"
    mv "$work/bin" "$cache/$version"
  fi
fi
[ "$wanted" = "$version" ] || ln -sfn "$version" "$cache/$wanted"
(cd -P "$cache/$version" && pwd)
