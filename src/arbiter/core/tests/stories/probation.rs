//! After a roll: what serves worse than its predecessor makes way for it again.

use super::{SERVED, rest_of_trace, trace_served};

/// What follows when generation 2 serves on probation, with two workers, and generation 1 is parked.
fn trace_on_probation(script: &str) -> String {
    let prologue = "probation 20; edit roll; prepared 2; ready 3 4; exit 1 0; exit 2 0";
    rest_of_trace(&format!("{SERVED}; {prologue}"), script)
}

#[test]
fn on_probation_the_process_before_is_kept_and_goes_when_the_time_is_over() {
    insta::assert_snapshot!(trace_served("
        probation 20; edit roll; prepared 2; ready 3; ready 4; exit 1 0; exit 2 0
        counted g1 0 of 500; counted g2 4 of 100; wait 20; exit g1 0
        "), @r#"
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w3 of g2 in slot 2
    ready 3 -> drain w1, fork w4 of g2 in slot 3
    ready 4 -> drain w2, commit g2
    exit 1 0 -> -
    exit 2 0 -> -
    counted g1 0 of 500 -> -
    counted g2 4 of 100 -> -
    80.0 s -> ‘g2 proven’, retire g1
    exit g1 0 -> forget g1
    "#);
}

#[test]
fn a_generation_that_answers_with_more_errors_is_rolled_back_new_before_old() {
    insta::assert_snapshot!(trace_on_probation("counted g1 0 of 500; counted g2 5 of 9; counted g2 6 of 10; ready 5; exit 3 0; ready 6; exit 4 0; exit g2 0; wait 100"), @r#"
    counted g1 0 of 500 -> -
    counted g2 5 of 9 -> -
    counted g2 6 of 10 -> ‘g1 back for g2: 6 errors in 10’, fork w5 of g1 in slot 0
    ready 5 -> drain w3, fork w6 of g1 in slot 1
    exit 3 0 -> -
    ready 6 -> drain w4, commit g1, ‘g1 is back’, retire g2
    exit 4 0 -> -
    exit g2 0 -> forget g2
    "#);
}

#[test]
fn a_generation_whose_workers_die_is_rolled_back() {
    insta::assert_snapshot!(trace_on_probation("exit 3 sig11; wait 0.1; ready 5; exit 4 sig11; ready 6; ready 7; exit 5 0"), @r#"
    exit 3 sig11 -> ‘w3 died’, ‘next try in 0ns’, fork w5 of g2 in slot 0
    ready 5 -> -
    exit 4 sig11 -> ‘w4 died’, ‘next try in 100ms’, ‘g1 back for g2: 2 died’, fork w6 of g1 in slot 1, fork w7 of g1 in slot 2
    ready 6 -> -
    ready 7 -> drain w5, commit g1, ‘g1 is back’, retire g2
    exit 5 0 -> -
    "#);
}

#[test]
fn a_generation_that_cannot_replace_a_worker_is_rolled_back() {
    insta::assert_snapshot!(trace_on_probation("exit 3 sig9; wait 0.1; forked 5; exit 5 3; ready 6 7; exit 4 0"), @r#"
    exit 3 sig9 -> ‘w3 died’, ‘next try in 0ns’, fork w5 of g2 in slot 0
    forked 5 -> -
    exit 5 3 -> ‘w5 died’, ‘next try in 100ms’, ‘g1 back for g2: w5 died’, fork w6 of g1 in slot 0, fork w7 of g1 in slot 1
    ready 6 -> -
    ready 7 -> drain w4, commit g1, ‘g1 is back’, retire g2
    exit 4 0 -> -
    "#);
}

#[test]
fn a_generation_whose_process_dies_on_probation_is_rolled_back_and_not_revived() {
    insta::assert_snapshot!(trace_on_probation("exit g2 sig9; ready 5 6; exit 3 0; exit 4 0"), @r#"
    exit g2 sig9 -> ‘g2 died’, ‘next try in 0ns’, ‘g1 back for g2: its process died’, fork w5 of g1 in slot 0
    ready 5 -> drain w3, fork w6 of g1 in slot 1
    ready 6 -> drain w4, commit g1, ‘g1 is back’
    exit 3 0 -> -
    exit 4 0 -> forget g2
    "#);
}

#[test]
fn an_edit_during_probation_may_be_the_mend_and_keeps_what_was_good() {
    insta::assert_snapshot!(trace_on_probation("
        edit roll; counted g2 9 of 10; prepared 3; ready 5; ready 6; exit 3 0; exit 4 0; exit g2 0
        counted g3 9 of 10; ready 7 8
        "), @r#"
    edit roll -> spawn g3 for r2
    counted g2 9 of 10 -> -
    prepared 3 -> fork w5 of g3 in slot 0
    ready 5 -> drain w3, fork w6 of g3 in slot 1
    ready 6 -> drain w4, commit g3, retire g2
    exit 3 0 -> -
    exit 4 0 -> -
    exit g2 0 -> forget g2
    counted g3 9 of 10 -> ‘g1 back for g3: 9 errors in 10’, fork w7 of g1 in slot 2
    ready 7 -> drain w5, fork w8 of g1 in slot 3
    ready 8 -> drain w6, commit g1, ‘g1 is back’, retire g3
    "#);
}

#[test]
fn a_mend_that_does_not_boot_leaves_the_way_back() {
    insta::assert_snapshot!(trace_on_probation("edit roll; counted g2 9 of 10; prepared 3; forked 5; exit 5 3; exit g3 0"), @r#"
    edit roll -> spawn g3 for r2
    counted g2 9 of 10 -> -
    prepared 3 -> fork w5 of g3 in slot 0
    forked 5 -> -
    exit 5 3 -> ‘w5 died’, ‘g3 undone: w5 died’, ‘g1 back for g2: 9 errors in 10’, fork w6 of g1 in slot 0, retire g3
    exit g3 0 -> forget g3
    "#);
}

#[test]
fn what_cannot_come_back_either_leaves_what_serves() {
    insta::assert_snapshot!(trace_on_probation("counted g2 9 of 10; forked 5; exit 5 3; exit g1 0; counted g2 99 of 100; wait 100"), @r#"
    counted g2 9 of 10 -> ‘g1 back for g2: 9 errors in 10’, fork w5 of g1 in slot 0
    forked 5 -> -
    exit 5 3 -> ‘w5 died’, ‘g1 undone: w5 died’, retire g1
    exit g1 0 -> forget g1
    counted g2 99 of 100 -> -
    "#);
}

#[test]
fn when_the_parked_process_dies_there_is_no_way_back() {
    insta::assert_snapshot!(trace_on_probation("exit g1 sig9; counted g2 9 of 10; wait 100"), @r#"
    exit g1 sig9 -> ‘g1 died parked’, forget g1
    counted g2 9 of 10 -> -
    "#);
}

#[test]
fn a_stop_on_probation_ends_the_parked_process_too() {
    insta::assert_snapshot!(trace_on_probation("term; exit 3 0; exit 4 0; exit g1 0; exit g2 0"), @r#"
    term -> announce the stop, drain w3, drain w4, retire g1, retire g2
    exit 3 0 -> -
    exit 4 0 -> -
    exit g1 0 -> forget g1
    exit g2 0 -> forget g2, leave with 0
    "#);
}
