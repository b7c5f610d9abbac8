//! From a folder with C files to a component.

use std::{fs, path::Path};

use guildhall_policy_build::{build_c, c_header};
use wit_component::DecodedWasm;

const ROUND_ROBIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../round-robin-c");

/// The smallest policy.
const NOWHERE: &str = r#"
#include "placement.h"
bool exports_policy_configure(
    exports_policy_list_setting_t *settings, exports_policy_inputs_t *inputs, placement_string_t *error
) {
    (void)error;
    exports_policy_list_setting_free(settings);
    *inputs = 0;
    return true;
}
void exports_policy_observe(exports_policy_list_change_t *changes) {
    exports_policy_list_change_free(changes);
}
bool exports_policy_place(
    exports_policy_request_t *request, exports_policy_list_choice_t *choices, exports_policy_refusal_t *refusal
) {
    (void)choices;
    exports_policy_request_free(request);
    *refusal = (exports_policy_refusal_t){0};
    placement_string_dup(&refusal->reason, "nowhere");
    return false;
}
"#;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, contents) in files {
        fs::write(folder.path().join(name), contents).unwrap();
    }
    folder
}

/// What it imports, and what it exports.
fn interfaces(component: &[u8]) -> (Vec<String>, Vec<String>) {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component).unwrap() else {
        panic!("not a component");
    };
    let world = &resolve.worlds[world];
    let names =
        |keys: Vec<&wit_parser::WorldKey>| keys.into_iter().map(|key| resolve.name_world_key(key)).collect();
    (names(world.imports.keys().collect()), names(world.exports.keys().collect()))
}

/// What is wrong with the policy that these files are.
fn refused(files: &[(&str, &str)]) -> String {
    format!("{:#}", build_c(folder(files).path()).unwrap_err())
}

#[test]
fn round_robin_exports_what_it_defines_and_imports_nothing() {
    let component = build_c(Path::new(ROUND_ROBIN)).unwrap();
    let (imports, exports) = interfaces(&component);
    assert_eq!(imports, [""; 0]);
    assert_eq!(exports, ["guildhall:placement/policy@0.2.0", "guildhall:placement/settings@0.2.0"]);
    assert!(component.len() < 32 << 10, "{} bytes", component.len());
}

#[test]
fn the_bytes_depend_on_the_sources_alone() {
    let here = build_c(Path::new(ROUND_ROBIN)).unwrap();
    assert_eq!(build_c(Path::new(ROUND_ROBIN)).unwrap(), here);
    let source = fs::read_to_string(Path::new(ROUND_ROBIN).join("policy.c")).unwrap();
    let elsewhere = folder(&[("policy.c", &source), ("README.md", "not compiled")]);
    assert_eq!(build_c(elsewhere.path()).unwrap(), here);

    let named_file = source.replace("append(&reason, \" hosts\");", "append(&reason, __FILE__);");
    assert_ne!(named_file, source);
    let named = build_c(folder(&[("policy.c", &named_file)]).path()).unwrap();
    assert_eq!(build_c(folder(&[("policy.c", &named_file)]).path()).unwrap(), named);
}

#[test]
fn what_is_optional_may_be_left_out_or_be_in_a_file_of_its_own() {
    let policy = "guildhall:placement/policy@0.2.0";
    let chosen = r#"
#include "placement.h"
void exports_scoring_score(
    exports_scoring_request_t *request, uint32_t first, uint32_t count, exports_scoring_scores_t *scores
) {
    (void)first, (void)count;
    exports_scoring_request_free(request);
    *scores = (exports_scoring_scores_t){0};
}
"#;
    let rest = "void exports_scoring_chosen(placement_string_t *host) { placement_string_free(host); }";
    let (_, exports) = interfaces(&build_c(folder(&[("policy.c", NOWHERE)]).path()).unwrap());
    assert_eq!(exports, [policy]);
    let files = [("policy.c", NOWHERE), ("scoring.c", &format!("{chosen}{rest}"))];
    let (_, exports) = interfaces(&build_c(folder(&files).path()).unwrap());
    assert_eq!(exports, [policy, "guildhall:placement/scoring@0.2.0"]);
    let half = refused(&[("policy.c", NOWHERE), ("scoring.c", chosen)]);
    assert!(half.contains("undefined symbol: exports_scoring_chosen"), "{half}");
}

#[test]
fn what_is_wrong_is_told_in_the_words_of_clang() {
    let unknown_name = "int puts_in(void) { return missing; }\n";
    let today = "const char *built_at(void) { return __DATE__; }\n";
    let prints = format!(
        "{NOWHERE}
#include <stdio.h>
__attribute__((constructor)) static void greet(void) {{ printf(\"hello\"); }}
"
    );
    for (files, wanted) in [
        (&[("policy.c", unknown_name)][..], "policy.c:1:28: error: use of undeclared identifier 'missing'"),
        (&[("policy.c", today)], "not reproducible"),
        (&[("policy.c", "int nothing;\n")], "undefined symbol: exports_policy_configure"),
        (&[("policy.c", &prints)], "the module imports wasi_snapshot_preview1.fd_"),
        (&[], "no C file in "),
    ] {
        let said = refused(files);
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn the_header_declares_every_function_that_a_policy_may_have() {
    let header = c_header().unwrap();
    for function in [
        "policy_place(",
        "settings_schema(",
        "guilds_place_guild(",
        "scoring_score(",
        "rebalancing_propose_moves(",
    ] {
        assert!(header.contains(&format!("exports_{function}")), "{function}");
    }
}
