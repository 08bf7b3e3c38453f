//! Workers that die, hang, are worn out or leave, and the generation that forks them.

use super::trace_served;

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
fn after_two_failures_one_worker_tries_alone_and_the_others_follow_when_it_is_ready() {
    insta::assert_snapshot!(trace_served("
        edit workers 5; wait 1
        exit 3 3; exit 4 3; exit 5 3; wait 1
        exit 6 3; exit 7 3; exit 8 3; wait 1
        exit 9 3; wait 1
        ready 10
        "), @r#"
    edit workers 5 -> adopt r1, fork w3 of g1 in slot 2, fork w4 of g1 in slot 3, fork w5 of g1 in slot 4
    exit 3 3 -> ‘w3 died’, ‘next try in 0ns’, fork w6 of g1 in slot 2
    exit 4 3 -> ‘w4 died’, fork w7 of g1 in slot 3
    exit 5 3 -> ‘w5 died’, fork w8 of g1 in slot 4
    exit 6 3 -> ‘w6 died’, ‘next try in 100ms’
    exit 7 3 -> ‘w7 died’
    exit 8 3 -> ‘w8 died’
    62.1 s -> fork w9 of g1 in slot 2
    exit 9 3 -> ‘w9 died’, ‘next try in 200ms’
    63.2 s -> fork w10 of g1 in slot 2
    ready 10 -> fork w11 of g1 in slot 3, fork w12 of g1 in slot 4
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
fn a_worker_that_somebody_else_drains_is_replaced_at_once() {
    insta::assert_snapshot!(trace_served("leaves 1; exit 1 0"), @r#"
    leaves 1 -> fork w3 of g1 in slot 2
    exit 1 0 -> -
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
fn a_fork_that_fails_is_tried_again_later() {
    insta::assert_snapshot!(trace_served("exit 1 sig9; cannot fork 3; wait 0.1"), @r#"
    exit 1 sig9 -> ‘w1 died’, fork w3 of g1 in slot 0
    cannot fork 3 -> ‘next try in 0ns’, fork w4 of g1 in slot 0
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
