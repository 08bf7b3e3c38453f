//! The first generation: nothing serves yet, so what goes wrong ends the server.

use super::super::trace;

#[test]
fn the_first_generation_boots_all_of_its_workers_at_once() {
    insta::assert_snapshot!(trace("boot 2; prepared 1; ready 2; ready 1; wait 100"), @r#"
    boot 2 -> spawn g1 for r0
    prepared 1 -> fork w1 of g1 in slot 0, fork w2 of g1 in slot 1
    ready 2 -> -
    ready 1 -> commit g1
    "#);
}

#[test]
fn an_app_that_cannot_boot_ends_the_first_start_with_its_code() {
    insta::assert_snapshot!(trace("boot 2; prepared 1; forked 1; forked 2; exit 1 3; exit 2 sig9; exit g1 0"), @r#"
    boot 2 -> spawn g1 for r0
    prepared 1 -> fork w1 of g1 in slot 0, fork w2 of g1 in slot 1
    forked 1 -> -
    forked 2 -> -
    exit 1 3 -> ‘w1 died’, ‘g1 undone: w1 died’, drain w2, announce the stop, quit w2, retire g1
    exit 2 sig9 -> -
    exit g1 0 -> forget g1, leave with 3
    "#);
}

#[test]
fn an_app_attribute_that_is_missing_ends_the_first_start_with_4() {
    insta::assert_snapshot!(trace("boot 1; prepared 1; forked 1; exit 1 4; exit g1 0"), @r#"
    boot 1 -> spawn g1 for r0
    prepared 1 -> fork w1 of g1 in slot 0
    forked 1 -> -
    exit 1 4 -> ‘w1 died’, ‘g1 undone: w1 died’, announce the stop, retire g1
    exit g1 0 -> forget g1, leave with 4
    "#);
}

#[test]
fn a_preloaded_app_that_does_not_import_ends_the_first_start() {
    insta::assert_snapshot!(trace("boot 1; failed 1; exit g1 3"), @r#"
    boot 1 -> spawn g1 for r0
    failed 1 -> -
    exit g1 3 -> ‘g1 undone: no module named shop’, announce the stop, forget g1, leave with 3
    "#);
}

#[test]
fn a_first_generation_that_cannot_be_started_ends_the_start_with_1() {
    insta::assert_snapshot!(trace("boot 1; failed 1; exit g1 1"), @r#"
    boot 1 -> spawn g1 for r0
    failed 1 -> -
    exit g1 1 -> ‘g1 undone: no module named shop’, announce the stop, forget g1, leave with 1
    "#);
}

#[test]
fn a_first_worker_that_hangs_is_aborted_and_ends_the_start() {
    insta::assert_snapshot!(trace("boot 1; prepared 1; forked 1; wait 30; exit 1 sig6; exit g1 0"), @r#"
    boot 1 -> spawn g1 for r0
    prepared 1 -> fork w1 of g1 in slot 0
    forked 1 -> -
    30.0 s -> ‘w1 is overdue, NotReady’, abort w1, ‘g1 undone: w1 not ready in time’, announce the stop, retire g1
    exit 1 sig6 -> -
    exit g1 0 -> forget g1, leave with 1
    "#);
}

#[test]
fn a_stop_while_the_first_generation_starts_kills_it() {
    insta::assert_snapshot!(trace("boot 1; int; exit g1 sig9"), @r#"
    boot 1 -> spawn g1 for r0
    int -> announce the stop, kill g1
    exit g1 sig9 -> forget g1, leave with 0
    "#);
}
