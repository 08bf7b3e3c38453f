//! More workers and fewer, by the file, by signals and by orders.

use super::trace_served;

#[test]
fn scaling_stays_in_the_generation() {
    insta::assert_snapshot!(trace_served("edit workers 4; ready 3 4; edit workers 1"), @r#"
    edit workers 4 -> adopt r1, fork w3 of g1 in slot 2, fork w4 of g1 in slot 3
    ready 3 -> -
    ready 4 -> -
    edit workers 1 -> adopt r2, drain w1, drain w2, drain w3
    "#);
}

#[test]
fn an_order_for_more_workers_is_undone_when_one_of_them_cannot_boot() {
    insta::assert_snapshot!(trace_served("scale 4; forked 3; forked 4; exit 3 3; exit 4 0; wait 60"), @r#"
    scale 4 -> fork w3 of g1 in slot 2, fork w4 of g1 in slot 3
    forked 3 -> -
    forked 4 -> -
    exit 3 3 -> ‘w3 died’, ‘back to 2 workers: w3 died’, drain w4
    exit 4 0 -> -
    "#);
}

#[test]
fn an_order_that_was_carried_out_is_not_undone_any_more() {
    insta::assert_snapshot!(trace_served("scale 3; ready 3; exit 3 sig9; forked 4; exit 4 3"), @r#"
    scale 3 -> fork w3 of g1 in slot 2
    ready 3 -> -
    exit 3 sig9 -> ‘w3 died’, ‘next try in 0ns’, fork w4 of g1 in slot 2
    forked 4 -> -
    exit 4 3 -> ‘w4 died’, ‘next try in 100ms’
    "#);
}

#[test]
fn one_more_and_one_fewer_survive_a_reload_unless_the_file_changes_workers() {
    insta::assert_snapshot!(trace_served("
        ttin; ready 3; edit roll; prepared 2; ready 4 5 6; edit roll workers 1; prepared 3; exit 1 0; exit 2 0; ready 7; ttou
        "), @r#"
    ttin -> fork w3 of g1 in slot 2
    ready 3 -> -
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w4 of g2 in slot 3
    ready 4 -> drain w1, fork w5 of g2 in slot 4
    ready 5 -> drain w2, fork w6 of g2 in slot 5
    ready 6 -> drain w3, commit g2, retire g1
    edit roll workers 1 -> spawn g3 for r2
    prepared 3 -> fork w7 of g3 in slot 6
    exit 1 0 -> -
    exit 2 0 -> -
    ready 7 -> drain w4, drain w5, drain w6, commit g3, retire g2
    ttou -> -
    "#);
}

#[test]
fn an_order_to_scale_forks_or_drains_and_survives_a_reload() {
    insta::assert_snapshot!(trace_served("scale 4; ready 3 4; edit roll; prepared 2; scale 1"), @r#"
    scale 4 -> fork w3 of g1 in slot 2, fork w4 of g1 in slot 3
    ready 3 -> -
    ready 4 -> -
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w5 of g2 in slot 4
    scale 1 -> drain w1, drain w2, drain w3
    "#);
}
