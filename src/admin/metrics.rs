//! `/metrics` for collectors, `/metrics.json` for programs that show figures live.

use super::{
    backlogs::backlogs,
    reply::{Reply, Response},
    request::Request,
    situation::Situation,
    view::GenerationState,
};
use crate::{
    telemetry::metrics::{self, Figures, Format, Memory, Snapshot},
    wire::WorkerState,
};

/// In Prometheus' text format, or in OpenMetrics where it is asked for.
pub(super) fn text(request: &Request, situation: &mut Situation<'_>) -> Reply {
    let format = Format::negotiate(&request.accept);
    let body = metrics::render(&snapshot(situation), format).into_bytes();
    Response {
        status: 200,
        content_type: format.content_type(),
        body,
        fields: Vec::new(),
    }
    .into()
}

pub(super) fn json(_: &Request, situation: &mut Situation<'_>) -> Reply {
    let snapshot = snapshot(situation);
    let uptime_ns = situation.now_ns.saturating_sub(situation.view.started_ns);
    let figures = Figures::of(&snapshot, uptime_ns as f64 / 1e9);
    Response::json(200, &figures).into()
}

fn snapshot(situation: &mut Situation<'_>) -> Snapshot {
    let mut snapshot = Snapshot::of(situation.board);
    snapshot.workers.wanted = situation.view.workers_wanted.into();
    let serving = situation.view.generation(GenerationState::Serving);
    snapshot.generation = serving.map_or(0, |serving| serving.generation);
    snapshot.backlogs = backlogs(&situation.view);
    snapshot.memory = memory(situation);
    snapshot
}

fn memory(situation: &mut Situation<'_>) -> Memory {
    let view = std::sync::Arc::clone(&situation.view);
    let generations = view.generations.iter();
    let generations = generations.filter_map(|generation| situation.memory_of(generation.pid?));
    let generations = generations.sum();
    let slots = situation.board.slots_in_use().iter().enumerate();
    let slots = slots.filter(|(_, slot)| slot.state() != WorkerState::Free && slot.pid() != 0);
    let workers = slots
        .filter_map(|(index, slot)| Some((index, situation.memory_of(slot.pid())?)))
        .collect();
    Memory {
        arbiter: situation.memory_of(std::process::id()).unwrap_or(0),
        generations,
        workers,
    }
}
