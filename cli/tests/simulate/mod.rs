//! What comes of policies on an invented fleet, and how it is shown.

use std::{fs, path::Path};

use serde_json::Value;

use super::{done, guildhall, refused};

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples");

/// What came of it, without what this machine took.
fn simulated(folder: &Path, arguments: &[&str]) -> Value {
    let said = done(&mut guildhall(folder, &[&["simulate", "--json"][..], arguments].concat()));
    let mut said: Value = serde_json::from_str(&said).unwrap();
    for policy in said["policies"].as_array_mut().unwrap() {
        let cost = policy["cost"].take();
        for part in ["decision_us", "report_us", "simulation_s"] {
            assert!(cost[part].as_f64().unwrap() > 0.0, "{cost}");
        }
    }
    said
}

/// That, without the policy's digest, which other tests know, and without curves.
fn figures(arguments: &[&str]) -> Value {
    let mut said = simulated(Path::new(SAMPLES), arguments);
    for policy in said["policies"].as_array_mut().unwrap() {
        let policy = policy.as_object_mut().unwrap();
        for field in ["policy", "settings", "cost", "looks", "end_loads", "waits_s"] {
            policy.shift_remove(field);
        }
    }
    said
}

#[test]
fn a_simulation_is_the_same_whenever_it_is_run() {
    let busy = ["--agents", "4000", "--rate", "40", "--stay", "60", "--hosts", "20", "--arrivals", "bursts"];
    let busy = [&busy[..], &["--mixed", "--deaths-every", "20", "--heavy-tail", "--sizes", "heavy"]].concat();
    let once = simulated(Path::new("."), &busy);
    assert_eq!(simulated(Path::new("."), &busy), once);
    assert_ne!(simulated(Path::new("."), &[&busy[..], &["--seed", "2"]].concat()), once);
    for policy in once["policies"].as_array().unwrap() {
        assert_eq!((&policy["placed"], &policy["given_up"]), (&4000.into(), &0.into()), "{policy}");
        assert!(policy["restarted"].as_u64().unwrap() > 0, "{policy}");
        assert!(policy["refused_by_hosts"].as_u64().unwrap() > 0, "{policy}");
        assert!(policy["fragmentation"]["max"].as_f64().unwrap() > 0.0, "{policy}");
    }
}

#[test]
fn a_trace_that_fills_a_host_makes_agents_wait() {
    let folder = tempfile::tempdir().unwrap();
    // Two fit; the third waits until the first leaves, and is started a moment later.
    let trace = "arrives_s, stays_s, agent\n0, 5, a\n0, 100, b\n1.5, 10, c\n";
    fs::write(folder.path().join("trace.csv"), trace).unwrap();
    let options = ["--trace", "trace.csv", "--hosts", "1", "--capacity", "2", "--report-every", "1"];
    let said = simulated(folder.path(), &[&options[..], &["--policy", "least-loaded"]].concat());
    let outcome = &said["policies"][0];
    assert_eq!((&said["agents"], &outcome["placed"]), (&3.into(), &3.into()));
    let longest = outcome["wait_s"]["max"].as_f64().unwrap();
    assert!((3.5..=6.0).contains(&longest), "{outcome}");
    assert_eq!(outcome["refused_by_policy_for"][0]["reason"], "full", "{outcome}");
}

#[test]
fn every_format_is_recognised_and_simulated() {
    for (format, options) in [
        ("plain", &["--hosts", "3", "--cpus", "8"][..]),
        ("azure-vm", &["--hosts", "8", "--until", "6000"]),
        ("azure-functions", &["--hosts", "3", "--stay", "60"]),
        ("google", &["--hosts", "2", "--capacity", "5", "--until", "900"]),
    ] {
        let file = format!("{format}.csv");
        let options = [&["--trace", &file, "--report-every", "5"][..], options].concat();
        let figures = figures(&options);
        assert_eq!(figures["agents"], figures["policies"][0]["placed"], "{figures}");
        insta::assert_json_snapshot!(format, figures);
        let named = simulated(Path::new(SAMPLES), &[&options[..], &["--trace-format", format]].concat());
        assert_eq!(named, simulated(Path::new(SAMPLES), &options));
    }
}

/// Agents of hosts that leave are placed elsewhere, and some move to hosts that come.
#[test]
fn a_fleet_grows_and_shrinks() {
    let options = ["--hosts", "10", "--agents", "4000", "--rate", "4", "--stay", "200", "--warm"];
    let scaled = ["--scale-out", "300:10", "--scale-in", "700:8", "--policy", "least-loaded", "--moves"];
    let figures = figures(&[&options[..], &scaled, &["30"]].concat());
    let outcome = &figures["policies"][0];
    assert!(outcome["moves"].as_u64().unwrap() > 30, "{outcome}");
    assert!(outcome["drained"].as_u64().unwrap() > 100, "{outcome}");
    insta::assert_json_snapshot!(figures);
    let unasked = simulated(Path::new("."), &[&options[..], &scaled, &["0"]].concat());
    assert_eq!(unasked["policies"][0]["moves"], 0);
}

/// One may want to see what would come of it without the draw: all engines choose the same.
#[test]
fn settings_follow_the_policy() {
    let policies = ["--policy", "least-loaded", "--policy", r#"least-loaded={"choices": 0}"#];
    let fleet = ["--hosts", "200", "--engines", "8", "--agents", "20000", "--rate", "33", "--warm"];
    let said = simulated(Path::new("."), &[&policies[..], &fleet].concat());
    let imbalance = |nth: usize| said["policies"][nth]["imbalance"]["p50"].as_f64().unwrap();
    assert_eq!(said["policies"][1]["settings"], serde_json::json!({"choices": 0}));
    assert!(imbalance(0) < 1.25 && imbalance(1) > 1.5, "{} {}", imbalance(0), imbalance(1));
}

#[test]
fn a_page_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let policy = r#"least-loaded={"weights": {"cpu": 0}}"#;
    let options =
        ["simulate", "--agents", "3000", "--capacity", "20", "--sizes", "heavy", "--policy", policy];
    let files = ["--html", "page.html", "--out", "out.json", "--json"];
    let said = done(&mut guildhall(folder.path(), &[&options[..], &files].concat()));
    assert_eq!(fs::read_to_string(folder.path().join("out.json")).unwrap(), said);
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert_eq!(page.matches("<svg").count(), 5);
    assert!(
        page.contains("least-loaded={&quot;weights&quot;: {&quot;cpu&quot;: 0}}"),
        "the label is escaped"
    );
    for part in ["<div class=\"bar\"", "no slot is free", "prefers-color-scheme: dark"] {
        assert!(page.contains(part), "{part}");
    }
    for wrong in ["NaN", "inf\"", "inf,", "http", "<script", "src=", "weights\":"] {
        assert!(!page.contains(wrong), "{wrong}");
    }
    for tag in ["figure", "svg", "text", "table", "tr", "th", "td", "div", "ul", "li", "span"] {
        let begun = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(begun, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    // Nothing happened: there is nothing to plot, and nothing that is no number either.
    fs::write(folder.path().join("trace.csv"), "arrives_s,stays_s\n0,1\n").unwrap();
    let options = ["simulate", "--trace", "trace.csv", "--html", "page.html"];
    done(&mut guildhall(folder.path(), &options));
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert!(!page.contains("NaN") && page.contains("Does not apply."));
}

#[test]
fn a_bad_trace_is_told_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let functions = "HashOwner,HashApp,HashFunction,Trigger";
    let mut said = String::new();
    for (format, trace) in [
        ("plain", "arrives_s\n1\n"),
        ("plain", ""),
        ("plain", "arrives_s,stays_s\n"),
        ("plain", "arrives_s,stays_s\n1\n"),
        ("plain", "arrives_s,stays_s\n1,soon\n"),
        ("plain", "arrives_s,stays_s\n\n-1,1\n"),
        ("plain", "arrives_s,stays_s\n1e9,1\n"),
        ("plain", "arrives_s,stays_s,agent\n1,1,a*\n"),
        ("plain", "arrives_s,stays_s,memory\n1,1,1.5\n"),
        ("azure-vm", "vm,sub,dep,0,300,9,5,8,Unknown,4\n"),
        ("azure-vm", "vm,sub,dep,600,300,9,5,8,Unknown,4,8\n"),
        ("azure-vm", "vm,sub,dep,0,300,9,5,8,Unknown,>2,8\n"),
        ("azure-functions", "HashApp,1\n"),
        ("azure-functions", &format!("{functions},1,2\no,a,f,http,1,-1\n")),
        ("azure-functions", &format!("{functions},1\no,a,f,http,90000000\n")),
        ("google", "0,,1,0,,9,u,0,0,0.1,0.1,0.1,0\n"),
        ("google", "0,,1,0,,0,u,0,0,much,0.1,0.1,0\n"),
        ("google", "0,,1,x,,0,u,0,0,0.1,0.1,0.1,0\n"),
        ("google", "0,,1,0,,0,u,0,0,0.1,0.1,0.1,0\n"),
    ] {
        fs::write(folder.path().join("trace.csv"), trace).unwrap();
        let options = ["simulate", "--trace", "trace.csv", "--trace-format", format];
        let told = refused(&mut guildhall(folder.path(), &options));
        said += &format!("{format} {:?}\n  {told}", trace.lines().last().unwrap_or_default());
    }
    insta::assert_snapshot!(said);
}

#[test]
fn options_that_make_no_sense_are_named() {
    let mut said = String::new();
    for arguments in [
        &["--hosts", "0"][..],
        &["--engines", "0"],
        &["--rate", "0"],
        &["--stay", "NaN"],
        &["--cpus", "0"],
        &["--until", "0"],
        &["--warm-up", "1e10"],
        &["--trace", "no-such-file.csv"],
        &["--trace", "trace.csv", "--warm"],
        &["--policy", "least-loaded={}", "--policy", r#"least-loaded={"choices": "two"}"#],
    ] {
        let told = refused(&mut guildhall(Path::new("."), &[&["simulate"][..], arguments].concat()));
        said += &format!("{}\n  {told}", arguments.join(" "));
    }
    for arguments in [
        ["--scale-out", "soon:3"],
        ["--scale-in", "600"],
        ["--scale-in", "600:-1"],
        ["--policy", "least-loaded={choices: 3}"],
        ["--trace-format", "plain"],
    ] {
        let told = guildhall(Path::new("."), &["simulate"]).args(arguments).output().unwrap();
        assert_eq!(told.status.code(), Some(2));
        let told = super::text(&told.stderr);
        said += &format!("{}\n  {}\n", arguments.join(" "), told.lines().next().unwrap_or_default());
    }
    insta::assert_snapshot!(said);
}
