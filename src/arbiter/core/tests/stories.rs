//! What the arbiter does, told as scripts.

use super::trace;

/// A server with two ready workers, whose own trace is cut off.
fn trace_served(script: &str) -> String {
    let prologue = "boot 2; prepared 1; ready 1 2; wait 60";
    let lines = trace(prologue).lines().count();
    let told = trace(&format!("{prologue}; {script}"));
    told.lines().skip(lines).collect::<Vec<_>>().join("\n")
}

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
fn a_dead_worker_is_replaced_and_a_crash_loop_slows_down() {
    insta::assert_snapshot!(trace_served("
        exit 1 sig11
        forked 3; exit 3 sig11
        wait 0.1
        forked 4; exit 4 sig11
        wait 0.2
        ready 5; wait 11; exit 5 sig11
        "), @r#"
    exit 1 sig11 -> ‘w1 died’, fork w3 of g1 in slot 0
    forked 3 -> -
    exit 3 sig11 -> ‘w3 died’, ‘next try in 0ns’, fork w4 of g1 in slot 0
    forked 4 -> -
    exit 4 sig11 -> ‘w4 died’, ‘next try in 100ms’
    60.2 s -> fork w5 of g1 in slot 0
    ready 5 -> -
    exit 5 sig11 -> ‘w5 died’, fork w6 of g1 in slot 0
    "#);
}

#[test]
fn a_worker_that_hangs_at_boot_is_aborted_and_killed_when_it_does_not_obey() {
    insta::assert_snapshot!(trace_served("exit 1 1; forked 3; wait 33; exit 3 sig9; wait 1"), @r#"
    exit 1 1 -> ‘w1 died’, fork w3 of g1 in slot 0
    forked 3 -> -
    90.0 s -> ‘w3 is overdue, NotReady’, abort w3, ‘next try in 0ns’, fork w4 of g1 in slot 2
    92.0 s -> ‘w3 is overdue, NotReady’, kill w3
    exit 3 sig9 -> -
    "#);
}

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
fn a_stuck_worker_is_asked_to_hand_over_then_to_write_its_stacks_then_killed() {
    insta::assert_snapshot!(trace_served("stalled 1; ready 3; wait 10; exit 1 sig9"), @r#"
    stalled 1 -> ‘w1 is stuck’, drain w1, fork w3 of g1 in slot 2
    ready 3 -> -
    60.5 s -> ‘w1 is overdue, Stuck’, abort w1
    62.5 s -> ‘w1 is overdue, Stuck’, kill w1
    exit 1 sig9 -> -
    "#);
}

#[test]
fn outworn_workers_are_replaced_one_at_a_time_each_by_a_ready_successor() {
    insta::assert_snapshot!(trace_served("outworn 1; outworn 2; ready 3; exit 1 0; ready 4; exit 2 0"), @r#"
    outworn 1 -> fork w3 of g1 in slot 2
    outworn 2 -> -
    ready 3 -> drain w1, fork w4 of g1 in slot 3
    exit 1 0 -> -
    ready 4 -> drain w2
    exit 2 0 -> -
    "#);
}

#[test]
fn when_the_process_of_the_serving_generation_dies_its_workers_go_on_until_a_new_one_is_up() {
    insta::assert_snapshot!(trace_served("exit g1 sig9; prepared 2; ready 3 4; exit 1 0; exit 2 0"), @r#"
    exit g1 sig9 -> ‘g1 died’, spawn g2 for r0
    prepared 2 -> fork w3 of g2 in slot 2
    ready 3 -> drain w1, fork w4 of g2 in slot 3
    ready 4 -> drain w2, commit g2
    exit 1 0 -> -
    exit 2 0 -> forget g1
    "#);
}

#[test]
fn a_generation_that_cannot_be_revived_is_tried_again_ever_more_slowly() {
    insta::assert_snapshot!(trace_served("exit g1 sig9; exit g2 1; wait 0.1; exit g3 1; wait 0.2; prepared 4"), @r#"
    exit g1 sig9 -> ‘g1 died’, spawn g2 for r0
    exit g2 1 -> ‘g2 undone: its process died’, ‘next try in 0ns’, spawn g3 for r0, forget g2
    exit g3 1 -> ‘g3 undone: its process died’, ‘next try in 100ms’, forget g3
    60.2 s -> spawn g4 for r0
    prepared 4 -> fork w3 of g4 in slot 2
    "#);
}

#[test]
fn a_draining_worker_that_takes_too_long_is_told_to_quit_then_killed() {
    insta::assert_snapshot!(trace_served("edit workers 1; wait 40; exit 1 sig9"), @r#"
    edit workers 1 -> adopt r1, drain w1
    90.0 s -> ‘w1 is overdue, Scaled’, quit w1
    92.0 s -> ‘w1 is overdue, Scaled’, kill w1
    exit 1 sig9 -> -
    "#);
}

#[test]
fn a_graceful_stop_drains_everything_and_leaves_with_0() {
    insta::assert_snapshot!(trace_served("term; exit 1 0; wait 30; exit 2 0; exit g1 0"), @r#"
    term -> announce the stop, drain w1, drain w2, retire g1
    exit 1 0 -> -
    90.0 s -> ‘w2 is overdue, Stopping’, quit w2
    exit 2 0 -> -
    exit g1 0 -> forget g1, leave with 0
    "#);
}

#[test]
fn a_second_signal_makes_the_stop_quick_and_a_third_kills() {
    insta::assert_snapshot!(trace_served("term; term; term; exit 1 sig9; exit 2 sig9; exit g1 sig9"), @r#"
    term -> announce the stop, drain w1, drain w2, retire g1
    term -> quit w1, quit w2
    term -> kill w1, kill w2, kill g1
    exit 1 sig9 -> -
    exit 2 sig9 -> -
    exit g1 sig9 -> forget g1, leave with 0
    "#);
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
    insta::assert_snapshot!(trace_served("
        probation 20; edit roll; prepared 2; ready 3; ready 4; exit 1 0; exit 2 0
        counted g1 0 of 500; counted g2 5 of 9; counted g2 6 of 10; ready 5; exit 3 0; ready 6; exit 4 0; exit g2 0; wait 100
        "), @r#"
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w3 of g2 in slot 2
    ready 3 -> drain w1, fork w4 of g2 in slot 3
    ready 4 -> drain w2, commit g2
    exit 1 0 -> -
    exit 2 0 -> -
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
    insta::assert_snapshot!(trace_served("
        probation 20; edit roll; prepared 2; ready 3; ready 4; exit 1 0; exit 2 0
        exit 3 sig11; wait 0.1; ready 5; exit 4 sig11; ready 6; ready 7; exit 5 0
        "), @r#"
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w3 of g2 in slot 2
    ready 3 -> drain w1, fork w4 of g2 in slot 3
    ready 4 -> drain w2, commit g2
    exit 1 0 -> -
    exit 2 0 -> -
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
    insta::assert_snapshot!(trace_served("
        probation 20; edit roll; prepared 2; ready 3; ready 4; exit 1 0; exit 2 0
        exit 3 sig9; wait 0.1; forked 5; exit 5 3; ready 6 7; exit 4 0
        "), @r#"
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w3 of g2 in slot 2
    ready 3 -> drain w1, fork w4 of g2 in slot 3
    ready 4 -> drain w2, commit g2
    exit 1 0 -> -
    exit 2 0 -> -
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
    insta::assert_snapshot!(trace_served("
        probation 20; edit roll; prepared 2; ready 3; ready 4; exit 1 0; exit 2 0; exit g2 sig9; ready 5 6; exit 3 0; exit 4 0
        "), @r#"
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w3 of g2 in slot 2
    ready 3 -> drain w1, fork w4 of g2 in slot 3
    ready 4 -> drain w2, commit g2
    exit 1 0 -> -
    exit 2 0 -> -
    exit g2 sig9 -> ‘g2 died’, ‘next try in 0ns’, ‘g1 back for g2: its process died’, fork w5 of g1 in slot 0
    ready 5 -> drain w3, fork w6 of g1 in slot 1
    ready 6 -> drain w4, commit g1, ‘g1 is back’
    exit 3 0 -> -
    exit 4 0 -> forget g2
    "#);
}

#[test]
fn an_edit_during_probation_may_be_the_mend_and_keeps_what_was_good() {
    insta::assert_snapshot!(trace_served("
        probation 20; edit roll; prepared 2; ready 3; ready 4; exit 1 0; exit 2 0
        edit roll; counted g2 9 of 10; prepared 3; ready 5; ready 6; exit 3 0; exit 4 0; exit g2 0
        counted g3 9 of 10; ready 7 8
        "), @r#"
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w3 of g2 in slot 2
    ready 3 -> drain w1, fork w4 of g2 in slot 3
    ready 4 -> drain w2, commit g2
    exit 1 0 -> -
    exit 2 0 -> -
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
    insta::assert_snapshot!(trace_served("
        probation 20; edit roll; prepared 2; ready 3; ready 4; exit 1 0; exit 2 0
        edit roll; counted g2 9 of 10; prepared 3; forked 5; exit 5 3; exit g3 0
        "), @r#"
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w3 of g2 in slot 2
    ready 3 -> drain w1, fork w4 of g2 in slot 3
    ready 4 -> drain w2, commit g2
    exit 1 0 -> -
    exit 2 0 -> -
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
    insta::assert_snapshot!(trace_served("
        probation 20; edit roll; prepared 2; ready 3; ready 4; exit 1 0; exit 2 0
        counted g2 9 of 10; forked 5; exit 5 3; exit g1 0; counted g2 99 of 100; wait 100
        "), @r#"
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w3 of g2 in slot 2
    ready 3 -> drain w1, fork w4 of g2 in slot 3
    ready 4 -> drain w2, commit g2
    exit 1 0 -> -
    exit 2 0 -> -
    counted g2 9 of 10 -> ‘g1 back for g2: 9 errors in 10’, fork w5 of g1 in slot 0
    forked 5 -> -
    exit 5 3 -> ‘w5 died’, ‘g1 undone: w5 died’, retire g1
    exit g1 0 -> forget g1
    counted g2 99 of 100 -> -
    "#);
}

#[test]
fn when_the_parked_process_dies_there_is_no_way_back() {
    insta::assert_snapshot!(trace_served("
        probation 20; edit roll; prepared 2; ready 3; ready 4; exit 1 0; exit 2 0
        exit g1 sig9; counted g2 9 of 10; wait 100
        "), @r#"
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w3 of g2 in slot 2
    ready 3 -> drain w1, fork w4 of g2 in slot 3
    ready 4 -> drain w2, commit g2
    exit 1 0 -> -
    exit 2 0 -> -
    exit g1 sig9 -> ‘g1 died parked’, forget g1
    counted g2 9 of 10 -> -
    "#);
}

#[test]
fn a_stop_on_probation_ends_the_parked_process_too() {
    insta::assert_snapshot!(trace_served("
        probation 20; edit roll; prepared 2; ready 3; ready 4; exit 1 0; exit 2 0
        term; exit 3 0; exit 4 0; exit g1 0; exit g2 0
        "), @r#"
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w3 of g2 in slot 2
    ready 3 -> drain w1, fork w4 of g2 in slot 3
    ready 4 -> drain w2, commit g2
    exit 1 0 -> -
    exit 2 0 -> -
    term -> announce the stop, drain w3, drain w4, retire g1, retire g2
    exit 3 0 -> -
    exit 4 0 -> -
    exit g1 0 -> forget g1
    exit g2 0 -> forget g2, leave with 0
    "#);
}

#[test]
fn a_stop_during_a_roll_ends_both_generations() {
    insta::assert_snapshot!(trace_served("edit roll; prepared 2; forked 3; term; exit 3 sig9; exit g2 0; exit 1 0; exit 2 0; exit g1 0"), @r#"
    edit roll -> spawn g2 for r1
    prepared 2 -> fork w3 of g2 in slot 2
    forked 3 -> -
    term -> announce the stop, drain w1, drain w2, drain w3, retire g1, retire g2
    exit 3 sig9 -> -
    exit g2 0 -> forget g2
    exit 1 0 -> -
    exit 2 0 -> -
    exit g1 0 -> forget g1, leave with 0
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

#[test]
fn a_worker_that_was_being_forked_when_its_generation_died_is_abandoned() {
    insta::assert_snapshot!(trace_served("ttin; exit g1 sig9"), @r#"
    ttin -> fork w3 of g1 in slot 2
    exit g1 sig9 -> abandon w3, ‘g1 died’, spawn g2 for r0
    "#);
}

#[test]
fn a_generation_that_does_not_answer_to_a_fork_is_killed() {
    insta::assert_snapshot!(trace_served("ttin; wait 31; exit g1 sig9"), @r#"
    ttin -> fork w3 of g1 in slot 2
    90.0 s -> kill g1
    exit g1 sig9 -> abandon w3, ‘g1 died’, spawn g2 for r0
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

#[test]
fn a_fork_that_fails_is_tried_again_later() {
    insta::assert_snapshot!(trace_served("exit 1 sig9; cannot fork 3; wait 0.1"), @r#"
    exit 1 sig9 -> ‘w1 died’, fork w3 of g1 in slot 0
    cannot fork 3 -> ‘next try in 0ns’, fork w4 of g1 in slot 0
    "#);
}

#[test]
fn a_worker_that_somebody_else_drains_is_replaced_at_once() {
    insta::assert_snapshot!(trace_served("leaves 1; exit 1 0"), @r#"
    leaves 1 -> fork w3 of g1 in slot 2
    exit 1 0 -> -
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
