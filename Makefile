# Every task of the project; `make` alone lists them.
#
# One profile serves all of them (see [profile.release] in Cargo.toml), so that
# wasmtime is not built again for each.

CARGO ?= cargo
ARGS ?=
# What `make test-kubernetes` runs on.
KUBERNETES_VERSION ?= 1.37.2

.DEFAULT_GOAL := help
.PHONY: help demo test bench survival chaos fuzz model policies envtest test-kubernetes image wheel test-rustic bench-rustic dev-certs setup lint unit doc deny clean

help: ## List the tasks
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS='	' read -r task what; do printf '  make %-15s %s\n' "$$task" "$$what"; done

demo: ## Run a guild on an embedded fleet. ARGS="--spec PATH --policy NAME|PATH.wasm --hosts N --json"
	@$(CARGO) build --release -p guildhall-demo -p echo-runner
	@exec $(TARGET)/release/demo $(ARGS)

test: setup lint unit doc policies ## Set up what the tests need, and run all checks

bench: redis ## Measure, print a table of ratios, write target/bench.json
	$(CARGO) build --release -p guildhall-bench -p guildhall-host -p guildhall-cli -p echo-runner
	$(TARGET)/release/bench $(ARGS)

survival: redis ## Measure failover, drain and outages, write target/survival.json. ARGS="failover drain steady outage --outage SECONDS --write-docs"
	$(BUILD) --bin bench --bin agent-host --bin echo-runner
	$(TARGET)/release/bench --survival $(ARGS)

model: ## Check the protocol's model exhaustively, and that it finds planted flaws
	$(CARGO) run --release -p guildhall-model -- $(ARGS)

chaos: redis tools ## Inject faults into real processes, write target/chaos.json. ARGS="--seed N --faults N --registry KIND --planted BUG --write-docs"
	$(BUILD) --bin agent-host --features guildhall-host/planted-bugs
	@mkdir -p $(TARGET)/planted && cp $(TARGET)/release/agent-host $(TARGET)/planted/agent-host
	$(BUILD) --bin agent-host --bin chaos --bin echo-runner
	$(TARGET)/release/chaos $(ARGS)

fuzz: libfuzzer ## Fuzz the decoders and parsers, and policies' answers. ARGS="SECONDS" for each target, 60 by default
	$(call FUZZ,$(or $(ARGS),60))
	PROPTEST_CASES=4096 $(CARGO) test --release --workspace --test placement fuzz::

policies: wasm ## Rebuild the stock policies; fail when they are not what is checked in
	$(CARGO) run --release -p xtask -- policies --check

envtest: ## Build the real Kubernetes API server, etcd and controllers into a cache, once (Go, about 12 minutes)
	@KUBERNETES_VERSION=$(KUBERNETES_VERSION) kubernetes/assets.sh

test-kubernetes: redis tools ## Try the manifests, and guilds on their pods, on a real control plane (root)
	$(BUILD) --bin agent-host --bin echo-runner --example run_guild
	KUBEBUILDER_ASSETS="$$(KUBERNETES_VERSION=$(KUBERNETES_VERSION) kubernetes/assets.sh | tail -n 1)" \
	  $(CARGO) test --release --workspace --test fleet $(ARGS) -- --ignored --test-threads=1 --nocapture

image: ## Build the images agent-host, agent-host-echo and run-guild without Docker, target/image
	@{ command -v umoci && command -v skopeo && command -v bwrap && command -v strip; } >/dev/null \
	  || { $(APT) umoci skopeo bubblewrap binutils ca-certificates; }
	$(BUILD) --bin agent-host --bin echo-runner --example run_guild
	manifests/image.sh $(TARGET)/release $(TARGET)/image

wheel: python-3.13 ## Pack the Python packages, target/wheels
	$(BUILD) --lib
	@mkdir -p $(TARGET)/wheels && rm -f $(TARGET)/wheels/guildhall*.whl
	python3 bindings/python/pack.py $(TARGET) $(TARGET)/wheels
	$(PYTHON_3_13) -m pip wheel -q --no-deps -w $(TARGET)/wheels runners/python

test-rustic: redis wheel rustic-venv ## Real Rustic AI guilds, and Rustic AI's own tests, on Guildhall (Python 3.13). ARGS="-k NAME"
	$(BUILD) --bin agent-host
	cd runners/python && $(RUSTIC)/bin/python -m pytest -q $(ARGS)
	cd bindings/python && CARGO_TARGET_DIR=$(abspath $(TARGET)) $(RUSTIC)/bin/python -m pytest -q -rs $(ARGS)

bench-rustic: redis wheel rustic-venv ## Measure starts of Rustic AI agents beside Ray and multiprocess, into target/bench.json. ARGS="--times N --agents N"
	$(RUSTIC)/bin/python bench/rustic/bench.py --report $(TARGET)/bench.json $(ARGS)

dev-certs: ## Make an authority and certificates to try TLS with. ARGS="FOLDER", target/certificates unless told
	$(CARGO) run --release --workspace --bin xtask -- certificates $(or $(ARGS),$(TARGET)/certificates)

lint: ## Formatting and clippy
	$(CARGO) fmt --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings

unit: redis tools wasm c ## The tests alone. ARGS="NAME" runs some of them
	$(CARGO) test --release --workspace $(ARGS)

doc: ## The documentation of the public items, without a warning
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --workspace --no-deps

deny: ## Licences, duplicate versions and sources of what we depend on
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check bans licenses sources

clean: ## Remove what was built
	$(CARGO) clean

# --- fuzzing -------------------------------------------------------------------

FUZZED = requests launch_document notify guild_yaml guild_json records

# A short form for `make test`. Policies' answers are among the tests.
.PHONY: fuzz-short
fuzz-short: libfuzzer
	$(call FUZZ,5)

# Each target for so many seconds; what it finds stays in target/fuzz/.
define FUZZ
RUSTC_WORKSPACE_WRAPPER="$(CURDIR)/fuzz/rustc.sh" $(BUILD) --bin fuzz --features guildhall-fuzz/libfuzzer
@for target in $(FUZZED); do \
  mkdir -p $(TARGET)/fuzz/$$target && echo "fuzz $$target: $(1) s" \
  && FUZZ_TARGET=$$target $(TARGET)/release/fuzz -max_total_time=$(1) -timeout=10 -rss_limit_mb=1024 \
    -max_len=8192 -print_final_stats=1 -artifact_prefix=$(TARGET)/fuzz/$$target- \
    $(TARGET)/fuzz/$$target fuzz/corpus/$$target examples/specs > $(TARGET)/fuzz/$$target.log 2>&1 \
  && grep -E 'stat::(number_of_executed|average_exec|peak_rss)' $(TARGET)/fuzz/$$target.log \
  || { tail -n 40 $(TARGET)/fuzz/$$target.log; exit 1; }; \
done
endef

# --- Rustic AI -----------------------------------------------------------------

RUSTIC = $(abspath $(TARGET))/rustic
# uv brings a Python of its own where the system has none.
PYTHON_3_13 = $(shell command -v python3.13 >/dev/null && python3.13 -c 'import sys; print(sys.executable)' 2>/dev/null \
  || ls $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.13.*/bin/python 2>/dev/null | tail -n 1 \
  || uv python find 3.13 2>/dev/null)

# A virtual environment with what is pinned, and with the packages of this tree. Ray is
# compared with where it can be installed.
.PHONY: rustic-venv python-3.13
python-3.13:
	@test -n "$(PYTHON_3_13)" || { echo "Python 3.13 is needed: install python3.13, or 'uv python install 3.13', or 'pyenv install 3.13'" >&2; exit 1; }

rustic-venv: wheel
	@test -x $(RUSTIC)/bin/python || $(PYTHON_3_13) -m venv $(RUSTIC)
	$(RUSTIC)/bin/python -m pip install -q -r runners/python/requirements.txt
	@$(RUSTIC)/bin/python -m pip install -q -r runners/python/requirements-ray.txt \
	  || echo "Ray cannot be installed here: nothing is compared with it" >&2
	$(RUSTIC)/bin/python -m pip install -q --no-deps --force-reinstall $(TARGET)/wheels/guildhall-*.whl
	$(RUSTIC)/bin/python -m pip install -q --no-deps -e runners/python

# --- what the tasks need ------------------------------------------------------

# The whole workspace's features, whatever is built of it: so nothing is built twice.
BUILD = $(CARGO) build --release --workspace
TARGET = $(or $(CARGO_TARGET_DIR),target)
SUDO = $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
APT = $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends

.PHONY: redis tools wasm c libfuzzer
setup: redis tools wasm c libfuzzer ## Install what the tests need: redis-server, faketime, wasm compilers for Rust and C, libFuzzer

redis:
	@command -v redis-server >/dev/null || { $(APT) redis-server; } \
	  || { echo "redis-server is needed, and apt-get could not install it: install it by hand" >&2; exit 1; }

# For the runners that docs/runners.md shows, for a host with a wrong clock, and for the
# namespaces of the chaos suite.
tools:
	@{ command -v faketime && command -v python3 && command -v systemd-notify \
	  && command -v ip && command -v unshare && command -v bwrap; } >/dev/null \
	  || { $(APT) faketime python3-minimal systemd iproute2 util-linux bubblewrap; } \
	  || { echo "faketime, python3, systemd-notify, ip, unshare and bwrap are needed: install them by hand" >&2; exit 1; }

# Debian's compiler stands in where rustup can add no target.
wasm:
	@rustup target list --installed 2>/dev/null | grep -qx wasm32-unknown-unknown \
	  || rustup target add wasm32-unknown-unknown \
	  || { $(APT) rustc-web cargo-web rust-web-src; }

# For the policy in C.
c:
	@{ command -v clang && command -v wasm-ld && test -e "$$(clang --target=wasm32-wasi -print-file-name=libc.a)"; } >/dev/null 2>&1 \
	  || { $(APT) clang lld wasi-libc; } \
	  || { echo "clang, wasm-ld and wasi-libc are needed: install them by hand" >&2; exit 1; }

# Comes with clang, in a package of its own.
libfuzzer: c
	@ls "$$(clang -print-runtime-dir)"/libclang_rt.fuzzer*.a >/dev/null 2>&1 \
	  || { $(APT) "libclang-rt-$$(clang -dumpversion | cut -d. -f1)-dev"; } \
	  || { echo "clang's libFuzzer is needed: install it by hand" >&2; exit 1; }
