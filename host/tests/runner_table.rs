//! Everything that can be wrong with a runner table, as the operator reads it.

use std::{fmt::Write, time::Duration};

use guildhall_host::runner::{Delivery, RestartPolicy, RunnerTable};

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let cases = [
        "",
        "[runner]",
        "[runner.a",
        "[runner.a]",
        "[runner.a]\ncommand = 3",
        "[runner.a]\ncommand = \"\"",
        "[runner.a]\ncommand = \"x\"\ncomand = \"y\"",
        "[runners.a]\ncommand = \"x\"",
        "[runner.a]\ncommand = \"x\"\n[runner.a]\ncommand = \"y\"",
        "[runner.a]\ncommand = \"x\"\nclass_name = \"\"",
        "[runner.a]\ncommand = \"x\"\ndelivery = \"arguments\"",
        "[runner.a]\ncommand = \"x\"\nrestart = \"sometimes\"",
        "[runner.a]\ncommand = \"x\"\nready_timeout = \"soon\"",
        "[runner.a]\ncommand = \"x\"\nwatchdog = \"0s\"",
        "[runner.a]\ncommand = \"x\"\nstop_grace = 10",
        "[runner.a]\ncommand = \"x\"\nenv = { SPEC = \"{{agent_spce}}\" }",
        "[runner.a]\ncommand = \"x\"\nenv = { SPEC = \"{{agent_spec\" }",
        "[runner.a]\ncommand = \"x\"\nenv = { \"A=B\" = \"c\" }",
        "[runner.a]\ncommand = \"x\"\nstart = \"thread\"",
        "[runner.a]\ncommand = \"x\"\nwarm = 3\nwarm_max = 2",
        "[runner.a]\ncommand = \"x\"\nwarm = -1",
        "[runner.a]\ncommand = \"x\"\nwarm_max = 1001",
        "[runner.a]\ncommand = \"x\"\nwarm = 1\ndelivery = \"env\"",
        "[runner.a]\ncommand = \"x\"\nready_output = \"\"",
        "[runner.a]\ncommand = \"x\"\nready_output = \"ready\"\nwarm = 1",
        "[runner.a]\ncommand = \"x\"\nenv = { WHO = \"{{agent_id.name}}\" }",
        "[runner.a]\ncommand = \"x\"\nstart = \"fork\"\nenv = { WHO = \"{{agent_id}}\" }",
    ];
    let mut report = String::new();
    for case in cases {
        let error = RunnerTable::parse(case).unwrap_err();
        writeln!(report, "{case}\n  => {}\n", error.to_string().trim_end().replace('\n', "\n     ")).unwrap();
    }
    insta::assert_snapshot!(report);
    let error = RunnerTable::read("/no/such/table.toml").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the runner table /no/such/table.toml cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn every_key_is_read_and_the_order_of_the_file_is_kept() {
    let table = RunnerTable::parse(
        r#"
        [runner.zebra]
        command = "/usr/bin/zebra"
        args = ["-v", "--stripes"]
        env = { A = "1", B = "{{epoch}}" }
        class_name = "zoo.*"
        delivery = "env"
        ready_output = "up and running"
        restart = "on-failure"
        ready_timeout = "1m 30s"
        stop_grace = "500ms"
        watchdog = "10s"

        [runner.ant]
        command = "ant"

        [runner.mole]
        command = "mole"
        class_name = "*"
        start = "fork"
        warm = 2
        warm_max = 9
        env = { WHERE = "on {{host_id}}" }
        restart = "never"
        "#,
    )
    .unwrap();
    assert_eq!(table.names(), ["zebra", "ant", "mole"]);
    let [zebra, ant, mole] = &table.iter().collect::<Vec<_>>()[..] else { panic!("three") };
    assert_eq!(zebra.args, ["-v", "--stripes"]);
    assert_eq!(
        (zebra.env.len(), zebra.delivery, zebra.restart),
        (2, Delivery::Env, RestartPolicy::OnFailure)
    );
    assert_eq!(zebra.ready_timeout, Some(Duration::from_secs(90)));
    assert_eq!(zebra.stop_grace, Some(Duration::from_millis(500)));
    assert_eq!(zebra.watchdog, Some(Duration::from_secs(10)));
    assert_eq!((&ant.class_name, ant.delivery, ant.ready_timeout), (&None, Delivery::Stdin, None));
    assert_eq!(mole.restart, RestartPolicy::Never);
    assert_eq!(mole.class_name.as_ref().unwrap().to_string(), "*");
}
