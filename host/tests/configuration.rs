//! Flags and environment: what they mean, what is wrong with them, and that the page
//! which describes them is true.

use std::{fmt::Write, path::Path, time::Duration};

use clap::{CommandFactory, Parser};
use guildhall::placement::CompiledCache;
use guildhall_host::{HostArgs, HostConfig};

/// Flags that are all right, then `more`.
fn validate(more: &[&str]) -> Result<HostConfig, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let runners = dir.path().join("runners.toml");
    std::fs::write(&runners, "[runner.echo]\ncommand = \"echo\"\n").unwrap();
    let fine = ["agent-host", "--host-id", "h1", "--runners", runners.to_str().unwrap()];
    let given: Vec<_> = more.iter().map(|arg| arg.split('=').next().unwrap()).collect();
    let fine = fine[..1].iter().chain(fine[1..].chunks(2).filter(|pair| !given.contains(&pair[0])).flatten());
    let args = HostArgs::try_parse_from(fine.chain(more)).unwrap();
    args.validate().map_err(|errors| errors.messages().to_vec())
}

#[test]
fn what_is_written_is_understood() {
    let seconds = Duration::from_secs;
    let check = |more: &[&str], right: fn(&HostConfig) -> bool| {
        let config = validate(more).unwrap_or_else(|errors| panic!("{more:?}: {errors:?}"));
        assert!(right(&config), "{more:?}: {config:#?}");
    };
    check(&[], |c| c.id().as_str() == "h1" && c.supervisor.capacity == 100 && c.advertise.is_none());
    check(&["--max-processes=1"], |c| c.supervisor.capacity == 1);
    check(&["--grpc-port=0"], |c| c.listen.to_string() == "127.0.0.1:0");
    check(&["--listen-address=::1"], |c| c.listen.to_string() == "[::1]:50051");
    check(&["--insecure", "--listen-address=10.0.0.7"], |c| c.listen.ip().to_string() == "10.0.0.7");
    check(&["--insecure=true", "--listen-address=::", "--advertise-url=http://a:1"], |c| {
        c.advertise.as_deref() == Some("http://a:1")
    });
    check(&["--labels=zone=a, disk = ssd,"], |c| {
        c.labels.iter().map(|(k, v)| format!("{k}={v}")).eq(["disk=ssd", "zone=a"])
    });
    check(&["--policy-settings={\"a\": 1}"], |c| c.policy_settings["a"] == 1);
    check(&["--restart-limit=0"], |c| c.supervisor.restart.limit == 0);
    check(&["--runtime-dir=/"], |c| c.state_dir.as_deref() == Some(Path::new("/")));
    check(&["--state-dir=/"], |c| c.state_dir.as_deref() == Some(Path::new("/")));
    // An empty variable is as good as none.
    check(&["--redis-url=", "--advertise-url=", "--redis-ca=", "--record-decisions="], |c| {
        c.advertise.is_none() && c.redis_tls.ca.is_none() && c.record_decisions.is_none()
    });
    check(&["--runtime-dir=", "--state-dir="], |c| c.state_dir.as_deref() == Some(&*std::env::temp_dir()));
    check(&["--policy-cache="], |c| format!("{:?}", c.policy_cache) == format!("{:?}", CompiledCache::off()));
    for (written, meant) in
        [("5", seconds(5)), ("5s", seconds(5)), ("1m 30s", seconds(90)), ("1500ms", seconds(3) / 2)]
    {
        assert_eq!(validate(&[&format!("--lease={written}")]).unwrap().lease, meant, "{written}");
    }
}

#[test]
fn what_cannot_be_used_is_said_to_be() {
    let cases = [
        "--host-id=a*",
        "--redis-url=http://:secret@host",
        "--redis-url=redis://:secret@host:99999",
        "--redis-url=redis-sentinel://:secret@host",
        "--redis-ca=Cargo.toml",
        "--redis-replicas=some",
        "--runners=no-such-file",
        "--grpc-port=70000",
        "--listen-address=localhost",
        "--listen-address=10.0.0.7",
        "--advertise-url=10.0.0.7:50051",
        "--insecure=maybe",
        "--max-processes=0",
        "--max-processes=-3",
        "--max-processes=many",
        "--heartbeat-interval=0",
        "--lease=999ms",
        "--stop-grace=a while",
        "--policy=no-such-policy",
        "--policy=Cargo.toml",
        "--policy-sha256=abc",
        "--policy-keys=Cargo.toml",
        "--policy-fallback=nobody",
        "--policy-settings={",
        "--policy-settings=7",
        "--labels=zone",
        "--labels==a",
        "--restart-limit=ten",
        "--runtime-dir=no-such-folder",
        "--state-dir=no-such-folder",
        "--log=guildhall=loudly",
        "--log-format=xml",
    ];
    let told = cases.map(|case| {
        let errors = validate(&[case]).expect_err(case);
        assert_eq!(errors.len(), 1, "{case}: {errors:?}");
        format!("{case}\n  {}\n", errors[0])
    });
    insta::assert_snapshot!(told.concat());
}

#[test]
fn the_configuration_is_printed_without_its_secrets() {
    let config = validate(&["--redis-url=redis://:hunter2@10.0.0.1:6379"]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

const BEGIN: &str = "<!-- made from the flags: UPDATE_DOCS=1 cargo test --release -p guildhall-host --test configuration -->\n";
const END: &str = "<!-- end -->\n";

#[test]
fn the_page_about_the_configuration_is_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for the table");
    let (table, after) = rest.split_once(END).expect("the table has an end");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, [before, BEGIN, &flags(), END, after].concat()).unwrap();
    } else {
        assert_eq!(table, flags(), "make it anew with UPDATE_DOCS=1");
    }
}

/// All flags, as a table in Markdown.
fn flags() -> String {
    let mut table = "| flag | variable | unset | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for flag in HostArgs::command().get_arguments() {
        let (Some(name), Some(variable)) = (flag.get_long(), flag.get_env()) else { continue };
        let default = flag.get_default_values().first().map(|value| value.to_string_lossy());
        let default = default.filter(|value| !value.is_empty()).map(|value| format!("`{value}`"));
        let value = flag.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
        let help = flag.get_long_help().or(flag.get_help()).unwrap_or_default().to_string();
        writeln!(
            table,
            "| `--{name} {}` | `{}` | {} | {} |",
            value.replace('|', "\\|"),
            variable.to_string_lossy(),
            default.unwrap_or_default(),
            help.replace('\n', " "),
        )
        .unwrap();
    }
    table
}
