#!/bin/sh
# Builds the images `agent-host`, `agent-host-echo` and `run-guild` without Docker and without
# root, and prints the folder they are in.
#
#   manifests/image.sh PROGRAMS FOLDER
#
#   PROGRAMS   where agent-host, echo-runner and examples/run_guild are, such as target/release
#   FOLDER     gets an OCI layout, `oci`, with all of them as tags, and for each an archive that
#              `docker load`, `podman load` and `kind load image-archive` take, under the
#              project's version and as `dev`
#
# They are what the Dockerfile's targets of these names are, put together from this machine's
# Debian instead of a registry's: the program, the shared libraries that it names, authorities
# for TLS, and a user. So they need this machine's glibc or none, and are built where Debian is.
# umoci makes them, skopeo reads them back, and each is unpacked and run.
set -eu

programs=$1
folder=$2
user=65532
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# The same commit gives the same files.
epoch=$(git log -1 --format=%ct 2>/dev/null || date +%s)
created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)

die() {
  printf '%s: %s\n' "$0" "$*" >&2
  exit 1
}
for tool in umoci skopeo bwrap strip; do
  command -v $tool >/dev/null || die "$tool is needed: apt-get install umoci skopeo bubblewrap binutils"
done
for program in agent-host echo-runner examples/run_guild; do
  [ -x "$programs/$program" ] || die "$programs/$program is not built"
done

rm -rf "$folder"
mkdir -p "$folder"
oci=$folder/oci
umoci init --layout "$oci"
umoci new --image "$oci:agent-host"
umoci new --image "$oci:run-guild"

# Whatever `ldd` names, where it names it.
libraries() { ldd "$1" | sed -n 's/^[^/]*\(\/[^ ]*\) (0x.*/\1/p'; }

# Puts a program and what it needs into a root.
add() {
  root=$1
  program=$2
  name=$(basename "$program")
  install -D -m 755 "$programs/$program" "$root/usr/local/bin/$name"
  strip --strip-debug "$root/usr/local/bin/$name"
  for library in $(libraries "$programs/$program"); do
    install -D -m 755 "$library" "$root$library"
  done
}

furnish() {
  root=$1
  mkdir -p "$root/etc/ssl/certs" "$root/tmp" "$root/proc" "$root/dev"
  chmod 1777 "$root/tmp"
  printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:%s:%s:nonroot:/:/sbin/nologin\n' $user $user > "$root/etc/passwd"
  printf 'root:x:0:\nnonroot:x:%s:\n' $user > "$root/etc/group"
  printf 'hosts: files dns\n' > "$root/etc/nsswitch.conf"
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
}

# One more layer on an image, as another image, which begins with a program.
layer() {
  from=$1
  to=$2
  begin=$3
  bundle=$folder/bundle
  umoci unpack --rootless --image "$oci:$from" "$bundle"
  [ "$from" != "$to" ] || furnish "$bundle/rootfs"
  shift 3
  for program; do add "$bundle/rootfs" "$program"; done
  find "$bundle/rootfs" -exec touch -h -d "@$epoch" {} +
  umoci repack --image "$oci:$to" "$bundle"
  umoci config --image "$oci:$to" --created "$created" --config.user "$user:$user" \
    --config.entrypoint "/usr/local/bin/$begin" \
    --config.label "org.opencontainers.image.title=$to" \
    --config.label "org.opencontainers.image.version=$version" \
    --config.label org.opencontainers.image.licenses=Apache-2.0
  rm -rf "$bundle"
}

# Unpacks an image and runs a host in it, as its user, with a root that cannot be written to.
check() {
  tag=$1
  bundle=$folder/check
  umoci unpack --rootless --image "$oci:$tag" "$bundle"
  printf '[runner.any]\ncommand = "echo-runner"\nclass_name = "*"\n' > "$bundle/runners.toml"
  status=0
  timeout --signal=TERM --kill-after=30 5 \
    bwrap --unshare-all --die-with-parent --uid $user --gid $user --clearenv \
    --ro-bind "$bundle/rootfs" / --proc /proc --dev /dev --tmpfs /tmp \
    --ro-bind "$bundle/runners.toml" /tmp/runners.toml \
    --setenv PATH /usr/local/bin --setenv HOST_ID checked --setenv RUNNERS /tmp/runners.toml \
    --setenv POLICY_CACHE '' --setenv GRPC_PORT 0 \
    /usr/local/bin/agent-host > "$bundle/log" 2>&1 || status=$?
  grep -q 'host is ready' "$bundle/log" || die "a host does not start in $tag: $(cat "$bundle/log")"
  # That of `timeout`, which ended it.
  [ $status = 124 ] || die "a host in $tag ended with $status: $(cat "$bundle/log")"
  rm -rf "$bundle"
}

layer agent-host agent-host agent-host agent-host
layer agent-host agent-host-echo agent-host echo-runner
layer run-guild run-guild run_guild examples/run_guild
umoci gc --layout "$oci"
check agent-host
check agent-host-echo
for tag in agent-host agent-host-echo run-guild; do
  skopeo --insecure-policy copy --quiet --additional-tag "guildhall/$tag:dev" \
    "oci:$oci:$tag" "docker-archive:$folder/$tag.tar:guildhall/$tag:$version"
  skopeo inspect "oci:$oci:$tag" --format "$tag {{.Digest}} {{.Os}}/{{.Architecture}} {{len .Layers}} layers" >&2
done
du -h "$folder"/*.tar >&2
printf '%s\n' "$folder"
