//! Orders to stop: gracefully, quickly, at once.

use super::trace_served;

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
fn a_second_term_changes_nothing() {
    insta::assert_snapshot!(trace_served("term; exit 1 0; term; term; exit 2 0; exit g1 0"), @r#"
    term -> announce the stop, drain w1, drain w2, retire g1
    exit 1 0 -> -
    term -> -
    term -> -
    exit 2 0 -> -
    exit g1 0 -> forget g1, leave with 0
    "#);
}

#[test]
fn int_makes_a_stop_quick_and_a_second_one_kills() {
    insta::assert_snapshot!(trace_served("term; int; term; int; exit 1 sig9; exit 2 sig9; exit g1 sig9"), @r#"
    term -> announce the stop, drain w1, drain w2, retire g1
    int -> quit w1, quit w2
    term -> -
    int -> kill w1, kill w2, kill g1
    exit 1 sig9 -> -
    exit 2 sig9 -> -
    exit g1 sig9 -> forget g1, leave with 0
    "#);
}

#[test]
fn a_generation_that_does_not_reap_its_killed_workers_is_killed() {
    insta::assert_snapshot!(trace_served("term; exit 1 0; wait 60; exit g1 sig9; exit 2 sig9"), @r#"
    term -> announce the stop, drain w1, drain w2, retire g1
    exit 1 0 -> -
    90.0 s -> ‘w2 is overdue, Stopping’, quit w2
    92.0 s -> ‘w2 is overdue, Stopping’, kill w2
    102.0 s -> kill g1
    exit g1 sig9 -> -
    exit 2 sig9 -> forget g1, leave with 0
    "#);
}

#[test]
fn a_generation_has_time_to_leave_as_long_as_its_hooks_end() {
    insta::assert_snapshot!(trace_served("term; exit 1 0; exit 2 0; wait 8; hook g1; wait 8; hook g1; wait 11; exit g1 sig9"), @r#"
    term -> announce the stop, drain w1, drain w2, retire g1
    exit 1 0 -> -
    exit 2 0 -> -
    hook g1 -> -
    hook g1 -> -
    86.0 s -> kill g1
    exit g1 sig9 -> forget g1, leave with 0
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
