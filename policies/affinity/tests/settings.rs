//! Settings that are no rules.

use guildhall_policy::Live;
use guildhall_policy_affinity::Affinity;

#[test]
fn wrong_settings_are_named() {
    let rules = vec![r#"{"key": "a", "operator": "exists"}"#; 33].join(",");
    for (settings, wanted) in [
        ("[]", "the settings must be an object"),
        (r#"{"rules": [1]}"#, "rules[0]: is not a setting of this policy"),
        (r#"{"hosts": 1}"#, "hosts: must be a list, not a number"),
        (r#"{"hosts": [{"operator": "in"}]}"#, "hosts[0].key: is missing"),
        (r#"{"hosts": [{"key": "", "operator": "in"}]}"#, "hosts[0].key: must not be empty"),
        (
            r#"{"hosts": [{"key": "a", "operator": "like"}]}"#,
            "hosts[0].operator: must be one of in, not-in, exists, not-exists, same-as-agent",
        ),
        (r#"{"hosts": [{"key": "a", "operator": "in"}]}"#, "hosts[0].values: must name one at least"),
        (
            r#"{"hosts": [{"key": "a", "operator": "exists", "values": ["b"]}]}"#,
            "hosts[0].values: are for in and not-in only",
        ),
        (
            r#"{"hosts": [{"key": "a", "operator": "exists", "weight": 101}]}"#,
            "hosts[0].weight: must be a whole number from 1 to 100",
        ),
        (
            r#"{"hosts": [{"key": "a", "operator": "exists", "required": 1}]}"#,
            "hosts[0].required: must be true or false, not a number",
        ),
        (r#"{"agents": [{"kind": "near"}]}"#, "agents[0].kind: must be one of affinity, anti-affinity"),
        (
            r#"{"agents": [{"kind": "affinity", "of": "all", "topology": "host"}]}"#,
            "agents[0].of: must be one of guild, class, name",
        ),
        (
            r#"{"agents": [{"kind": "affinity", "of": "guild", "topology": "host", "values": ["a"]}]}"#,
            "agents[0].values: are for class and name only",
        ),
        (r#"{"agents": [{"kind": "affinity", "of": "guild"}]}"#, "agents[0].topology: is missing"),
        (r#"{"spread": [{"topology": "zone", "of": "guild"}]}"#, "spread[0].max_skew: is missing"),
        (
            r#"{"spread": [{"topology": "zone", "of": "guild", "max_skew": 0.5}]}"#,
            "spread[0].max_skew: must be a whole number from 1 to 1000000",
        ),
        (
            r#"{"spread": [{"topology": "zone", "of": "name", "max_skew": 1}]}"#,
            "spread[0].of: must be one of guild, class",
        ),
        (&format!(r#"{{"hosts": [{rules}]}}"#), "hosts: must be 32 rules at most"),
    ] {
        let error = Live::<Affinity>::configure(settings).unwrap_err().to_string();
        assert_eq!(error, wanted, "{settings}");
    }
}
