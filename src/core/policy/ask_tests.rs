use super::*;

fn faults(text: &str) -> Vec<String> {
    let faults = ask("rule", text, None).unwrap_err();
    faults.into_iter().map(|fault| fault.message).collect()
}

#[test]
fn steps_and_options_are_read() {
    let text = " 2 of dba,then 1 of  owner ; surface=own; presence = hardware; deny=2; self";
    let requirement = ask("big-writes", text, None).unwrap();
    assert_eq!(requirement.to_string(), "2 of dba, then 1 of owner");
    assert_eq!(requirement.rule, "big-writes");
    assert_eq!(requirement.surfaces, Surfaces::Own);
    assert_eq!(requirement.presence, Presence::Hardware);
    assert_eq!((requirement.deny, requirement.own_requests), (2, true));
}

#[test]
fn what_is_not_written_is_as_usual() {
    let requirement = ask("rule", "1 of anyone", None).unwrap();
    assert_eq!(requirement.surfaces, Surfaces::Any);
    assert_eq!(requirement.presence, Presence::Passphrase);
    assert_eq!((requirement.deny, requirement.own_requests), (1, false));
}

#[test]
fn every_fault_is_named() {
    assert_eq!(faults("dba"), ["`dba` is not a step"]);
    assert_eq!(faults(""), ["`` is not a step"]);
    assert_eq!(
        faults("1 of dba, 1 of owner"),
        ["`1 of owner` is not a step"]
    );
    assert_eq!(
        faults("0 of dba, then 1 of d!; surfaces=own; self=1; self"),
        [
            "`0` is not a number of persons from 1 to 32",
            "`d!` is not the name of a group",
            "`surfaces=own` is not an option",
            "`self=1` is not an option",
            "`self` stands here twice",
        ]
    );
    assert_eq!(faults("1 of dba; deny=0"), ["`deny=0` is not an option"]);
    assert_eq!(faults("+1 of dba").len(), 1);
    assert_eq!(
        faults("30 of dba, then 3 of owner"),
        ["a quorum has at most 32 persons"]
    );
}

#[test]
fn groups_are_those_of_the_trust_file() {
    let known = BTreeSet::from(["dba".to_owned()]);
    assert!(ask("rule", "1 of dba, then 1 of anyone", Some(&known)).is_ok());
    let wrong = ask("rule", "1 of dbas", Some(&known)).unwrap_err();
    assert_eq!(
        wrong[0].message,
        "nobody in the trust file is in `dbas`; its groups are `dba`"
    );
    assert!(ask("rule", "1 of dba", Some(&BTreeSet::new())).is_err());
}

#[test]
fn limits_are_read_with_their_units() {
    let limits = limit("rows=100, time=5s, bytes=64KiB").unwrap();
    assert_eq!(
        (limits.rows, limits.time_ms, limits.bytes),
        (100, 5_000, 65_536)
    );
    let rows_only = limit("rows=1").unwrap();
    assert_eq!(
        rows_only,
        Limits {
            rows: 1,
            ..Limits::MAX
        }
    );
}

#[test]
fn a_limit_out_of_range_is_a_fault() {
    for text in [
        "rows=0",
        "rows=20000",
        "time=5",
        "time=11m",
        "rows",
        "",
        "rows=1,rows=2",
        "row=1",
    ] {
        assert_eq!(limit(text).unwrap_err().len(), 1, "{text}");
    }
}
