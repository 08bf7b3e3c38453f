//! Edits: the new beside the old, which goes only when the new has proven itself.

use super::{super::trace, trace_served};

#[test]
fn a_roll_swaps_worker_by_worker_and_drains_only_after_ready() {
    insta::assert_snapshot!(trace_served("
        edit roll; prepared 2; ready 3; exit 1 0; ready 4; exit 2 0; exit g1 0; wait 100
        "), @r#"
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w3 of g2 in slot 2
    ready 3 -> drain w1, fork w4 of g2 in slot 3
    exit 1 0 -> -
    ready 4 -> drain w2, commit g2, retire g1
    exit 2 0 -> -
    exit g1 0 -> forget g1
    "#);
}

#[test]
fn a_candidate_that_does_not_import_changes_nothing() {
    insta::assert_snapshot!(trace_served("edit roll; prepared 2; forked 3; exit 3 3; exit g2 0; wait 100"), @r#"
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w3 of g2 in slot 2
    forked 3 -> -
    exit 3 3 -> ‘w3 died’, ‘g2 undone: w3 died’, retire g2
    exit g2 0 -> forget g2
    "#);
}

#[test]
fn a_candidate_that_fails_half_way_is_undone_wholly() {
    insta::assert_snapshot!(trace_served("
        edit roll; prepared 2; ready 3; forked 4; exit 4 3
        exit 1 0; ready 5; exit 3 0; exit g2 0; wait 100
        "), @r#"
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w3 of g2 in slot 2
    ready 3 -> drain w1, fork w4 of g2 in slot 3
    forked 4 -> -
    exit 4 3 -> ‘w4 died’, ‘g2 undone: w4 died’, fork w5 of g1 in slot 3, retire g2
    exit 1 0 -> -
    ready 5 -> drain w3
    exit 3 0 -> -
    exit g2 0 -> forget g2
    "#);
}

#[test]
fn a_candidate_that_does_not_prepare_in_time_is_aborted_and_undone() {
    insta::assert_snapshot!(trace_served("edit roll; wait 33; exit g2 sig9"), @r#"
    edit roll -> spawn g2 for r1
    90.0 s -> abort g2, ‘g2 undone: not prepared in time’
    92.0 s -> kill g2
    exit g2 sig9 -> forget g2
    "#);
}

#[test]
fn the_last_of_three_edits_wins() {
    insta::assert_snapshot!(trace_served("
        edit roll; edit roll; prepared 2; prepared 3; forked 3; edit roll
        exit g2 sig9; exit 3 sig9; exit g3 0; prepared 4; ready 4 5
        "), @r#"
    edit roll -> spawn g2 for r1
    edit roll -> spawn g3 for r2, kill g2
    prepared 2 -> -
    prepared 3 -> fork w3 of g3 in slot 2
    forked 3 -> -
    edit roll -> drain w3, spawn g4 for r3, retire g3
    exit g2 sig9 -> forget g2
    exit 3 sig9 -> -
    exit g3 0 -> forget g3
    prepared 4 -> fork w4 of g4 in slot 2
    ready 4 -> drain w1, fork w5 of g4 in slot 3
    ready 5 -> drain w2, commit g4, retire g1
    "#);
}

#[test]
fn an_edit_that_is_taken_back_cancels_the_roll() {
    insta::assert_snapshot!(trace_served("edit roll; prepared 2; forked 3; edit back; exit 3 sig9; exit g2 0"), @r#"
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w3 of g2 in slot 2
    forked 3 -> -
    edit back -> drain w3, ‘g2 taken back’, retire g2
    exit 3 sig9 -> -
    exit g2 0 -> forget g2
    "#);
}

#[test]
fn a_live_edit_during_a_roll_does_not_disturb_it() {
    insta::assert_snapshot!(trace_served("edit roll; prepared 2; edit live; edit nothing; ready 3 4"), @r#"
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w3 of g2 in slot 2
    edit live -> adopt r2 for the candidate
    edit nothing -> ‘unchanged’
    ready 3 -> drain w1, fork w4 of g2 in slot 3
    ready 4 -> drain w2, commit g2, retire g1
    "#);
}

#[test]
fn what_a_superseded_candidate_serves_already_goes_on_until_it_is_replaced() {
    insta::assert_snapshot!(trace_served("
        edit roll; prepared 2; ready 3; exit 1 0; edit roll; prepared 3; exit 4 sig9; ready 5; ready 6
        "), @r#"
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w3 of g2 in slot 2
    ready 3 -> drain w1, fork w4 of g2 in slot 3
    exit 1 0 -> -
    edit roll -> spawn g3 for r2, retire g2
    prepared 3 -> fork w5 of g3 in slot 0
    exit 4 sig9 -> -
    ready 5 -> drain w3, fork w6 of g3 in slot 3
    ready 6 -> drain w2, commit g3, retire g1
    "#);
}

#[test]
fn without_a_free_slot_a_roll_waits_for_the_next_reaped_worker() {
    insta::assert_snapshot!(trace("
        boot 3; prepared 1; ready 1 2 3; edit roll; prepared 2; ready 4 5 6; edit roll; prepared 3; ready 7 8; exit 1 0
        "), @r#"
    boot 3 -> spawn g1 for r0
    prepared 1 -> fork w1 of g1 in slot 0, fork w2 of g1 in slot 1, fork w3 of g1 in slot 2
    ready 1 -> -
    ready 2 -> -
    ready 3 -> commit g1
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w4 of g2 in slot 3
    ready 4 -> drain w1, fork w5 of g2 in slot 4
    ready 5 -> drain w2, fork w6 of g2 in slot 5
    ready 6 -> drain w3, commit g2, retire g1
    edit roll -> spawn g3 for r2
    prepared 3 -> fork w7 of g3 in slot 6
    ready 7 -> drain w4, fork w8 of g3 in slot 7
    ready 8 -> drain w5
    exit 1 0 -> fork w9 of g3 in slot 0
    "#);
}
