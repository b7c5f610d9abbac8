#!/bin/sh
# What cargo calls instead of rustc for the crates of this workspace when it builds the
# fuzzer (RUSTC_WORKSPACE_WRAPPER): they report to libFuzzer what an input reaches. The
# crates they depend on are not built again.
rustc=$1
shift
case " $* " in
*" --crate-name build_script_"*) exec "$rustc" "$@" ;;
esac
exec "$rustc" "$@" -Cpasses=sancov-module \
  -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares
