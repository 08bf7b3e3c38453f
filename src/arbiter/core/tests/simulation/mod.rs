//! Whole days of a server, simulated: a clock that jumps, processes that boot slowly, hang, die and lie, and people who
//! edit, ask for more and stop. Each schedule is made from a seed, and the seed of a failure is printed; to see it again:
//! `SIMULATION_SEED=42 cargo test simulation`.
//!
//! In a *calm* schedule only new code is at fault, and then nothing may be lost; in a *wild* one everything is, and the
//! server has to recover.

mod world;

use std::panic;

use super::*;
use world::World;

const SCHEDULES: u64 = 2000;
/// People act this long; what went wrong by then has as long again to be mended.
const BUSY: Duration = Duration::from_secs(300);

#[test]
fn simulation_of_thousands_of_schedules_keeps_every_promise() {
    let seeds = match std::env::var("SIMULATION_SEED") {
        Ok(seed) => {
            let seed = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..SCHEDULES,
    };
    for seed in seeds {
        let failed = panic::catch_unwind(|| play(seed)).is_err();
        assert!(!failed, "the schedule of SIMULATION_SEED={seed} failed");
    }
}

fn play(seed: u64) {
    let mut world = World::new(seed);
    world.boot();
    while let Some(now) = world.next(BUSY * 3) {
        world.happen(now);
        world.assert_capacity();
        world.assert_deadlines();
    }
    world.assert_outcome();
}
